"""Requests that are cancelled, at every call of the store that they make."""

import asyncio
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from tests.support.cases import for_each
from tests.web.conftest import EACH_STORE, Site
from tests.web.driver import Connection

KNOWN = "a" * 32
Where = Literal["before", "after"]


async def logout_and_fail(session: Any) -> Response:
    session.invalidate()
    raise ValueError("mine")


async def rotate_and_logout(session: Any) -> None:
    session.rotate_id()
    session.invalidate()


async def rotate_and_fail(session: Any) -> Response:
    session.rotate_id()
    raise ValueError("mine")


HANDLERS: dict[str, Any] = {
    "write": lambda session: session.set_attribute("user", "bob"),
    "logout": lambda session: session.invalidate(),
    "logout_and_fail": logout_and_fail,
    "rotate": lambda session: session.rotate_id(),
    "rotate_and_logout": rotate_and_logout,
    "rotate_and_fail": rotate_and_fail,
}


async def calls_of(site: Site, path: str) -> int:
    """Count the calls that the request makes if nobody disturbs it."""
    other = "b" * 32
    await site.seed(other, user="alice")
    site.probe.calls.clear()
    await Connection(site.app(**HANDLERS), path, cookie=other, swallow=True).run()
    return len(site.probe.calls)


async def cancel_at(site: Site, path: str, number: int, where: Where) -> None:
    """Cancel the request at its n-th call, then let what goes on without it end."""
    hold = site.probe.hold(number, where)
    connection = Connection(site.app(**HANDLERS), path, cookie=KNOWN, swallow=True).start()
    await hold.reached.wait()
    await connection.cancel()
    hold.release.set()
    await site.filter.repository.drain()


@for_each("where", ["before", "after"])
@for_each("path", ["/logout", "/logout_and_fail", "/rotate_and_logout"])
@EACH_STORE
async def test_logout_holds_wherever_the_request_is_cancelled(
    site: Site, path: str, where: Where
) -> None:
    for number in range(site.probe.loads + 1, await calls_of(site, path) + 1):
        await site.seed(KNOWN, user="alice")
        await cancel_at(site, path, number, where)
        assert await site.stored(KNOWN) is None, f"call {number}"


@for_each("where", ["before", "after"])
@EACH_STORE
async def test_write_is_kept_wherever_the_request_is_cancelled(site: Site, where: Where) -> None:
    for number in range(site.probe.loads + 1, await calls_of(site, "/write") + 1):
        await site.seed(KNOWN, user="alice")
        await cancel_at(site, "/write", number, where)
        assert await site.stored(KNOWN) == {"user": "bob"}, f"call {number}"


@for_each("path", ["/write", "/logout", "/rotate"])
async def test_request_cancelled_while_loading_changes_nothing(site: Site, path: str) -> None:
    await site.seed(KNOWN, user="alice")
    await cancel_at(site, path, 1, "before")
    assert await site.stored(KNOWN) == {"user": "alice"}


@for_each("path", ["/rotate", "/rotate_and_fail"])
async def test_cancelled_before_its_rotation_leaves_user_logged_in(site: Site, path: str) -> None:
    await site.seed(KNOWN, user="alice")
    await cancel_at(site, path, site.probe.loads + 1, "before")
    assert await site.stored(KNOWN) == {"user": "alice"}


@for_each("where", ["before", "after"])
@EACH_STORE
async def test_rotation_cut_off_never_leaves_user_without_data(site: Site, where: Where) -> None:
    """Either id may be the living one, depending on how far it got; never none."""
    total = await calls_of(site, "/rotate")
    for number in range(site.probe.loads + 1, total + 1):
        await site.seed(KNOWN, user="alice")
        await cancel_at(site, "/rotate", number, where)
        ids = [KNOWN, *site.probe.new_ids]
        living = [each for each in ids if await site.stored(each) == {"user": "alice"}]
        assert living, f"call {number}"


async def cancel_in_the_handler(site: Site, act: Any, cookie: str | None = KNOWN) -> None:
    """Cancel a request while its handler, which has changed the session, waits for ever."""
    waiting = asyncio.Event()

    async def page(session: Any) -> None:
        act(session)
        waiting.set()
        await asyncio.Event().wait()

    connection = Connection(site.app(page=page), "/page", cookie=cookie).start()
    await waiting.wait()
    await connection.cancel()
    await site.filter.repository.drain()


async def test_rotation_before_a_cancelled_wait_is_dropped_with_its_writes(site: Site) -> None:
    def rotate(session: Any) -> None:
        session.rotate_id()
        session.set_attribute("role", "admin")

    await site.seed(KNOWN, user="alice")
    await cancel_in_the_handler(site, rotate)
    assert await site.stored(KNOWN) == {"user": "alice"}


async def test_cancelled_request_without_a_session_stores_nothing(site: Site) -> None:
    await cancel_in_the_handler(site, HANDLERS["write"], cookie=None)
    assert site.probe.calls == []


async def test_store_dying_under_cancelled_request_is_logged(site: Site, caplog: Any) -> None:
    def end(session: Any) -> None:
        session.invalidate()
        site.probe.fail()

    await site.seed(KNOWN, user="alice")
    await cancel_in_the_handler(site, end)
    assert "could not be saved" in caplog.text
    assert KNOWN not in caplog.text


@for_each("moment", range(1, 40))
async def test_cancelled_at_any_step_no_logout_is_undone(site: Site, moment: int) -> None:
    """Cancel after so many steps of the event loop, whatever runs there."""

    async def page(request: Request) -> Response:
        request.state.session.rotate_id()
        request.state.session.invalidate()
        for _ in range(5):
            await asyncio.sleep(0)
        raise ValueError("mine")

    await site.seed(KNOWN, user="alice")
    ran = []

    async def noting(request: Request) -> Response:
        ran.append(True)
        return await page(request)

    connection = Connection(site.app(page=noting), "/page", cookie=KNOWN, swallow=True).start()
    assert connection.task is not None
    for _ in range(moment):
        await asyncio.sleep(0)
    connection.task.cancel()
    await asyncio.wait({connection.task})
    await site.filter.repository.drain()
    assert (await site.stored(KNOWN) is None) == bool(ran)


async def test_session_with_longer_idle_time_keeps_it_when_cancelled(site: Site) -> None:
    await site.seed(KNOWN, _max_inactive_interval=7200, user="alice")
    hold = site.probe.hold(site.probe.loads + 1)
    connection = Connection(site.app(**HANDLERS), "/write", cookie=KNOWN).start()
    await hold.reached.wait()
    await connection.cancel()
    hold.release.set()
    await site.filter.repository.drain()
    site.clock.advance(7199)
    assert await site.stored(KNOWN) == {"user": "alice"}
