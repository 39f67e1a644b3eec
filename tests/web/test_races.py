"""Requests that meet: logins, logouts and writes of one browser at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests.web.conftest import EACH_NATIVE_STORE, EACH_STORE, EACH_TIMED_STORE, Site
from tests.web.driver import Browser, Connection, ask

KNOWN = "a" * 32


class Desk:
    """Handlers of which one waits until the test lets it go on."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.loaded = asyncio.Event()
        self.go_on = asyncio.Event()

    async def _wait(self) -> None:
        self.loaded.set()
        await self.go_on.wait()

    async def slow_read(self, request: Request) -> Response:
        user = request.state.session.get_attribute("user")
        await self._wait()
        return JSONResponse(user)

    async def slow_write(self, request: Request) -> Response:
        await self._wait()
        request.state.session.set_attribute("slow", 1)
        return PlainTextResponse("ok")

    async def slow_rotate(self, request: Request) -> Response:
        await self._wait()
        request.state.session.rotate_id()
        return PlainTextResponse("ok")

    async def slow_logout(self, request: Request) -> Response:
        await self._wait()
        request.state.session.invalidate()
        return PlainTextResponse("bye")

    async def write(self, request: Request) -> Response:
        request.state.session.set_attribute("quick", 1)
        return PlainTextResponse("ok")

    async def rotate(self, request: Request) -> Response:
        request.state.session.rotate_id()
        return PlainTextResponse("ok")

    async def logout(self, request: Request) -> Response:
        request.state.session.invalidate()
        return PlainTextResponse("bye")

    def app(self, site: Site | None = None) -> Starlette:
        quick = ("write", "rotate", "logout")
        names = ("slow_read", "slow_write", "slow_rotate", "slow_logout", *quick)
        handlers: dict[str, Any] = {name: getattr(self, name) for name in names}
        return (site or self.site).app(**handlers)

    async def start(self, path: str) -> Connection:
        """Start the slow request and wait until its handler runs."""
        connection = Connection(self.app(), path, cookie=KNOWN).start()
        await self.loaded.wait()
        return connection


@pytest.fixture
async def desk(site: Site) -> Desk:
    await site.seed(KNOWN, user="alice")
    return Desk(site)


@pytest.fixture(params=["same process", "another process"])
def elsewhere(request: pytest.FixtureRequest, desk: Desk) -> Starlette:
    """Return the application that the quick request meets."""
    if request.param == "same process":
        return desk.app()
    return desk.app(desk.site.another_node())


@EACH_STORE
async def test_logout_beats_a_slow_writer(desk: Desk, elsewhere: Starlette) -> None:
    slow = await desk.start("/slow_write")
    await ask(elsewhere, "/logout", cookie=KNOWN)
    desk.go_on.set()
    answer = await slow.end()
    assert answer.status == 200
    assert answer.cookie() is None
    assert await desk.site.stored(KNOWN) is None


@EACH_STORE
async def test_logout_beats_a_slow_login(desk: Desk, elsewhere: Starlette) -> None:
    slow = await desk.start("/slow_rotate")
    await ask(elsewhere, "/logout", cookie=KNOWN)
    desk.go_on.set()
    answer = await slow.end()
    assert answer.cookie() is None
    assert await desk.site.stored(KNOWN) is None


@pytest.mark.parametrize("path", ["/rotate", "/logout"])
@EACH_STORE
async def test_slow_reader_never_sends_a_dead_id_again(
    desk: Desk, elsewhere: Starlette, path: str
) -> None:
    slow = await desk.start("/slow_read")
    browser = Browser(elsewhere, cookie=KNOWN)
    await browser.get(path)
    newer = browser.cookie
    assert newer != KNOWN
    desk.site.clock.advance(1)
    desk.go_on.set()
    answer = await slow.end()
    assert answer.text == '"alice"'
    assert answer.cookie() is None
    browser.take(answer)
    assert browser.cookie == newer


@pytest.mark.parametrize("path", ["/rotate", "/logout"])
async def test_reader_in_the_same_instant_does_not_send_an_id_that_this_process_ended(
    desk: Desk, path: str
) -> None:
    slow = await desk.start("/slow_read")
    await ask(desk.app(), path, cookie=KNOWN)
    desk.go_on.set()
    assert (await slow.end()).cookie() is None


async def test_slow_reader_of_a_live_session_keeps_its_cookie(desk: Desk) -> None:
    slow = await desk.start("/slow_read")
    desk.site.clock.advance(60)
    desk.go_on.set()
    assert (await slow.end()).session_id == KNOWN


async def test_quick_reader_costs_no_second_look(desk: Desk) -> None:
    reads = len(desk.site.probe.calls)
    slow = await desk.start("/slow_read")
    loaded = len(desk.site.probe.calls)
    desk.go_on.set()
    await slow.end()
    assert loaded > reads
    assert len(desk.site.probe.calls) == loaded


@EACH_STORE
async def test_slow_writer_follows_a_rotation(desk: Desk, elsewhere: Starlette) -> None:
    slow = await desk.start("/slow_write")
    newer = (await ask(elsewhere, "/rotate", cookie=KNOWN)).session_id
    desk.go_on.set()
    answer = await slow.end()
    # The id belongs to whoever logged in; the former cookie may be in other hands.
    assert answer.cookie() is None
    assert await desk.site.stored(KNOWN) is None
    if hasattr(desk.site.probe, "rename"):
        assert await desk.site.stored(newer) == {"user": "alice", "slow": 1}
    else:
        assert await desk.site.stored(newer) == {"user": "alice"}


@EACH_STORE
async def test_slow_logout_follows_a_rotation(desk: Desk, elsewhere: Starlette) -> None:
    slow = await desk.start("/slow_logout")
    newer = (await ask(elsewhere, "/rotate", cookie=KNOWN)).session_id
    desk.go_on.set()
    answer = (await slow.end()).cookie()
    assert answer is not None
    assert answer.is_deletion
    if hasattr(desk.site.probe, "delete_moved"):
        assert await desk.site.stored(newer) is None


@EACH_STORE
async def test_of_two_changes_of_id_at_once_the_first_wins(
    desk: Desk, elsewhere: Starlette
) -> None:
    slow = await desk.start("/slow_rotate")
    first = (await ask(elsewhere, "/rotate", cookie=KNOWN)).session_id
    desk.go_on.set()
    # Whoever comes later presented an id that this one had replaced already.
    assert (await slow.end()).cookie() is None
    assert await desk.site.stored(KNOWN) is None
    assert await desk.site.stored(first) == {"user": "alice"}


@EACH_STORE
async def test_two_parallel_writers_both_survive(desk: Desk, elsewhere: Starlette) -> None:
    slow = await desk.start("/slow_write")
    await ask(elsewhere, "/write", cookie=KNOWN)
    desk.go_on.set()
    assert (await slow.end()).session_id == KNOWN
    assert await desk.site.stored(KNOWN) == {"user": "alice", "quick": 1, "slow": 1}


@EACH_STORE
async def test_rotation_carries_what_others_wrote_meanwhile(
    desk: Desk, elsewhere: Starlette
) -> None:
    slow = await desk.start("/slow_rotate")
    await ask(elsewhere, "/write", cookie=KNOWN)
    desk.go_on.set()
    answer = await slow.end()
    assert await desk.site.stored(KNOWN) is None
    assert await desk.site.stored(answer.session_id) == {"user": "alice", "quick": 1}


@EACH_TIMED_STORE
async def test_session_that_expires_under_a_slow_request_stays_dead(timed_site: Site) -> None:
    await timed_site.seed(KNOWN, user="alice")
    desk = Desk(timed_site)
    slow = await desk.start("/slow_write")
    timed_site.clock.advance(1801)
    desk.go_on.set()
    assert (await slow.end()).cookie() is None
    assert await timed_site.stored(KNOWN) is None


@EACH_NATIVE_STORE
async def test_fifty_parallel_writers_all_survive(native_site: Site) -> None:
    site = native_site
    await site.seed(KNOWN)
    everybody = asyncio.Barrier(50)

    async def write(request: Request) -> Response:
        await everybody.wait()
        request.state.session.set_attribute(request.query_params["name"], 1)
        return PlainTextResponse("ok")

    app = site.app(write=write)
    answers = await asyncio.gather(
        *(ask(app, f"/write?name=n{number}", cookie=KNOWN) for number in range(50))
    )
    assert {answer.status for answer in answers} == {200}
    assert await site.stored(KNOWN) == {f"n{number}": 1 for number in range(50)}


@EACH_NATIVE_STORE
async def test_logout_among_many_writers_and_rotations_is_final(native_site: Site) -> None:
    site = native_site
    await site.seed(KNOWN, user="alice")
    everybody = asyncio.Barrier(31)
    seen: set[str] = {KNOWN}

    async def write(request: Request) -> Response:
        await everybody.wait()
        request.state.session.set_attribute(request.query_params["name"], 1)
        return PlainTextResponse("ok")

    async def rotate(request: Request) -> Response:
        await everybody.wait()
        request.state.session.rotate_id()
        seen.add(request.state.session.id)
        return PlainTextResponse("ok")

    async def logout(request: Request) -> Response:
        await everybody.wait()
        request.state.session.invalidate()
        return PlainTextResponse("bye")

    app = site.app(write=write, rotate=rotate, logout=logout)
    paths = [f"/write?name=n{number}" for number in range(26)]
    paths += ["/rotate", "/logout", "/rotate", "/rotate", "/rotate"]
    answers = await asyncio.gather(*(ask(app, path, cookie=KNOWN) for path in paths))
    assert {answer.status for answer in answers} == {200}
    for session_id in seen:
        assert await site.stored(session_id) is None
