"""Requests that meet: logins, logouts and writes of one browser at the same time."""

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.web.conftest import EACH_NATIVE_STORE, EACH_STORE, Site
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

    async def slow_read(self, session: Any) -> Response:
        user = session.get_attribute("user")
        await self._wait()
        return JSONResponse(user)

    async def slow_write(self, session: Any) -> None:
        await self._wait()
        session.set_attribute("slow", 1)

    async def slow_rotate(self, session: Any) -> None:
        await self._wait()
        session.rotate_id()

    async def slow_logout(self, session: Any) -> None:
        await self._wait()
        session.invalidate()

    async def write(self, session: Any) -> None:
        session.set_attribute("quick", 1)

    async def rotate(self, session: Any) -> None:
        session.rotate_id()

    async def logout(self, session: Any) -> None:
        session.invalidate()

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
    assert (answer.status, answer.cookie(), await desk.site.stored(KNOWN)) == (200, None, None)


@pytest.mark.parametrize("path", ["/rotate", "/logout"])
@EACH_STORE
async def test_slow_reader_never_sends_dead_id(desk: Desk, elsewhere: Starlette, path: str) -> None:
    slow = await desk.start("/slow_read")
    browser = Browser(elsewhere, cookie=KNOWN)
    await browser.get(path)
    newer = browser.cookie
    assert newer != KNOWN
    desk.site.clock.advance(1)
    desk.go_on.set()
    answer = await slow.end()
    assert (answer.text, answer.cookie()) == ('"alice"', None)
    browser.take(answer)
    assert browser.cookie == newer


@pytest.mark.parametrize("path", ["/rotate", "/logout"])
async def test_reader_in_same_instant_sends_no_id_that_ended_here(desk: Desk, path: str) -> None:
    slow = await desk.start("/slow_read")
    await ask(desk.app(), path, cookie=KNOWN)
    desk.go_on.set()
    assert (await slow.end()).cookie() is None


async def test_slow_reader_of_a_live_session_keeps_its_cookie(desk: Desk) -> None:
    slow = await desk.start("/slow_read")
    desk.site.clock.advance(60)
    desk.go_on.set()
    assert (await slow.end()).session_id == KNOWN


@EACH_STORE
async def test_slow_writer_follows_a_rotation(desk: Desk, elsewhere: Starlette) -> None:
    slow = await desk.start("/slow_write")
    newer = (await ask(elsewhere, "/rotate", cookie=KNOWN)).session_id
    desk.go_on.set()
    answer = await slow.end()
    # The id belongs to whoever logged in; the former cookie may be in other hands.
    assert (answer.cookie(), await desk.site.stored(KNOWN)) == (None, None)
    if hasattr(desk.site.probe, "rename"):
        assert await desk.site.stored(newer) == {"user": "alice", "slow": 1}
    else:
        assert await desk.site.stored(newer) == {"user": "alice"}


@EACH_STORE
async def test_rotation_carries_others_writes(desk: Desk, elsewhere: Starlette) -> None:
    slow = await desk.start("/slow_rotate")
    await ask(elsewhere, "/write", cookie=KNOWN)
    desk.go_on.set()
    answer = await slow.end()
    assert await desk.site.stored(KNOWN) is None
    assert await desk.site.stored(answer.session_id) == {"user": "alice", "quick": 1}


@EACH_NATIVE_STORE
async def test_logout_among_many_writers_and_rotations_is_final(site: Site) -> None:
    await site.seed(KNOWN, user="alice")
    everybody = asyncio.Barrier(31)
    seen: set[str] = {KNOWN}

    async def write(request: Request) -> None:
        await everybody.wait()
        request.state.session.set_attribute(request.query_params["name"], 1)

    async def rotate(session: Any) -> None:
        await everybody.wait()
        session.rotate_id()
        seen.add(session.id)

    async def logout(session: Any) -> None:
        await everybody.wait()
        session.invalidate()

    app = site.app(write=write, rotate=rotate, logout=logout)
    paths = [f"/write?name=n{number}" for number in range(26)]
    paths += ["/rotate", "/logout", "/rotate", "/rotate", "/rotate"]
    answers = await asyncio.gather(*(ask(app, path, cookie=KNOWN) for path in paths))
    assert {answer.status for answer in answers} == {200}
    for session_id in seen:
        assert await site.stored(session_id) is None
