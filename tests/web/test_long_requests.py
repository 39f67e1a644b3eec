"""A request that takes longer than the idle time: its session is in use, and lives."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from contextvars import Context
from typing import Any

import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.websockets import WebSocket

from pyfly_session import SecurityContext, SessionFilter
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.security import end_other_sessions, login
from tests.conftest import Clock
from tests.support.cases import for_each
from tests.web.conftest import EACH_TIMED_STORE, Site
from tests.web.driver import Browser, Connection, ask
from tests.web.stores import Probe

KNOWN = "a" * 32
TICK = 2**-10
TTL = 100


class Travel:
    """Moves the clock of the sessions and the time of the event loop together."""

    def __init__(self, clock: Clock, patch: pytest.MonkeyPatch) -> None:
        self._clock = clock
        self._ahead = 0.0
        loop = asyncio.get_running_loop()
        real = loop.time
        patch.setattr(loop, "time", lambda: real() + self._ahead)

    async def on(self, seconds: float, *, step: float = TTL / 20) -> None:
        """Let time pass, in steps between which everything that is due runs."""
        for _ in range(round(seconds / step)):
            self._clock.advance(step)
            self._ahead += step
            for _ in range(20):
                await asyncio.sleep(0)


@pytest.fixture
async def travel(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Travel:
    return Travel(clock, monkeypatch)


async def look(request: Request) -> Response:
    return PlainTextResponse(str(request.state.session.get_attribute("user")))


async def lives_for(site: Site, session_id: str, seconds: float) -> None:
    """Assert that the session ends in so many seconds, and not before."""
    site.clock.advance(seconds - TICK)
    assert await site.stored(session_id) is not None
    site.clock.advance(TICK)
    assert await site.stored(session_id) is None


@for_each("where", ["handler", "stream", "background"])
@EACH_TIMED_STORE
async def test_what_a_long_request_writes_is_saved(site: Site, travel: Travel, where: str) -> None:
    async def report(request: Request) -> Response:
        async def work() -> None:
            await travel.on(3 * TTL)
            request.state.session.set_attribute("report", "ready")

        async def body() -> AsyncIterator[str]:
            yield "a"
            await work()
            yield "b"

        if where == "stream":
            return StreamingResponse(body())
        if where == "background":
            return PlainTextResponse("ab", background=BackgroundTask(work))
        await work()
        return PlainTextResponse("ab")

    app = site.configure(ttl=TTL).app(report=report)
    await site.seed(KNOWN, user="ada")
    answer = await ask(app, "/report", cookie=KNOWN)
    assert (answer.status, answer.text, answer.session_id) == (200, "ab", KNOWN)
    assert await site.stored(KNOWN) == {"user": "ada", "report": "ready"}
    await lives_for(site, KNOWN, TTL)


async def test_long_reader_stays_logged_in(site: Site, travel: Travel) -> None:
    async def report(request: Request) -> Response:
        await travel.on(3 * TTL)
        return await look(request)

    browser = Browser(site.configure(ttl=TTL).app(report=report, look=look), KNOWN)
    await site.seed(KNOWN, user="ada")
    assert (await browser.get("/report")).text == "ada"
    assert ((await browser.get("/look")).text, browser.cookie) == ("ada", KNOWN)


@for_each("own", [TTL // 10, TTL * 10])
async def test_session_with_an_idle_time_of_its_own_lives_exactly_so_long_after(
    site: Site, travel: Travel, own: int
) -> None:
    async def report(request: Request) -> Response:
        await travel.on(3 * own, step=own / 20)
        request.state.session.set_attribute("report", "ready")
        return PlainTextResponse("ready")

    app = site.configure(ttl=TTL).app(report=report)
    await site.seed(KNOWN, _max_inactive_interval=own)
    answer = await ask(app, "/report", cookie=KNOWN)
    cookie = answer.own_cookie
    assert (cookie.value, cookie.max_age) == (KNOWN, own)
    assert await site.stored(KNOWN) == {"report": "ready"}
    await lives_for(site, KNOWN, own)


async def test_nothing_is_kept_alive_once_the_request_is_over(site: Site, travel: Travel) -> None:
    async def report(request: Request) -> Response:
        await travel.on(2 * TTL)
        return PlainTextResponse("ready")

    app = site.configure(ttl=TTL).app(report=report)
    await site.seed(KNOWN)
    await ask(app, "/report", cookie=KNOWN)
    assert await site.stored(KNOWN) is not None
    site.probe.calls.clear()
    await travel.on(2 * TTL)
    assert (site.probe.calls, await site.stored(KNOWN)) == ([], None)


async def test_no_request_outlives_the_absolute_lifetime(site: Site, travel: Travel) -> None:
    async def report(request: Request) -> Response:
        await travel.on(4 * TTL)
        request.state.session.set_attribute("report", "ready")
        return PlainTextResponse("ready")

    app = site.configure(ttl=TTL, max_lifetime=3 * TTL).app(report=report)
    await site.seed(KNOWN)
    answer = await ask(app, "/report", cookie=KNOWN)
    assert (answer.cookie(), await site.stored(KNOWN)) == (None, None)


async def test_store_that_fails_once_meanwhile_ends_no_session(site: Site, travel: Travel) -> None:
    """What keeps the session alive tries again in time."""

    async def report(request: Request) -> Response:
        site.probe.fail(times=1)
        await travel.on(3 * TTL)
        request.state.session.set_attribute("report", "ready")
        return PlainTextResponse("ready")

    app = site.configure(ttl=TTL).app(report=report)
    await site.seed(KNOWN)
    assert (await ask(app, "/report", cookie=KNOWN)).status == 200
    assert await site.stored(KNOWN) == {"report": "ready"}


async def test_user_with_long_request_stays_in_list_of_sessions(site: Site, travel: Travel) -> None:
    async def enter(request: Request) -> None:
        await login(request, SecurityContext(user_id="ada"))

    async def report(request: Request) -> Response:
        await travel.on(3 * TTL)
        return PlainTextResponse("ready")

    async def others(request: Request) -> Response:
        return PlainTextResponse(str(await end_other_sessions(request)))

    app = site.configure(ttl=TTL).app(enter=enter, report=report, others=others)
    browser, phone = Browser(app), Browser(app)
    await browser.get("/enter")
    await browser.get("/report")
    await phone.get("/enter")
    assert (await phone.get("/others")).text == "1"


async def test_handshake_of_a_websocket_is_a_request_as_well(site: Site, travel: Travel) -> None:
    async def talk(websocket: WebSocket) -> None:
        await travel.on(3 * TTL)
        websocket.state.session.set_attribute("met", True)
        await websocket.accept()
        await websocket.receive()

    app = site.configure(ttl=TTL).socket(talk)
    await site.seed(KNOWN)
    await Connection(app, kind="websocket", cookie=KNOWN).run()
    assert await site.stored(KNOWN) == {"met": True}


async def test_idle_time_that_a_request_gives_holds_for_the_rest_of_it(
    site: Site, travel: Travel
) -> None:
    """It is a tenth of what it was when the request began, and the body takes longer than that."""

    async def report(session: Any) -> Response:
        session.set_max_inactive_interval(TTL // 10)

        async def body() -> AsyncIterator[str]:
            yield "coming"
            await travel.on(TTL // 2, step=1)
            session.set_attribute("report", "ready")
            yield "ready"

        return StreamingResponse(body())

    app = site.configure(ttl=TTL).app(report=report)
    await site.seed(KNOWN)
    await ask(app, "/report", cookie=KNOWN)
    assert await site.stored(KNOWN) == {"report": "ready"}


async def test_short_idle_time_of_one_visitor_costs_others_nothing_for_good(
    site: Site, travel: Travel
) -> None:
    async def report(request: Request) -> Response:
        await travel.on(float(request.query_params["takes"]), step=1)
        return PlainTextResponse("ready")

    async def hurry(session: Any) -> None:
        session.set_max_inactive_interval(TTL // 10)

    app = site.configure(ttl=TTL).app(report=report, hurry=hurry)
    await site.seed(KNOWN)
    other = "b" * 32
    await site.seed(other)
    await ask(app, "/hurry", cookie=other)
    await ask(app, "/report?takes=5", cookie=other)
    site.probe.calls.clear()
    await ask(app, f"/report?takes={TTL}", cookie=KNOWN)
    assert len(site.probe.calls) < 10


async def test_open_websocket_that_is_silent_is_no_request_that_runs(
    site: Site, travel: Travel
) -> None:
    """A tab that was forgotten logs nobody in for ever; the messages of the client count."""

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await travel.on(3 * TTL)

    app = site.configure(ttl=TTL).socket(talk)
    await site.seed(KNOWN)
    await Connection(app, kind="websocket", cookie=KNOWN).run()
    assert await site.stored(KNOWN) is None


@pytest.fixture(params=["memory", "valkey"])
def store_with_real_time(request: pytest.FixtureRequest, make_store: Any) -> Any:
    return InMemorySessionStore() if request.param == "memory" else make_store(request.param)


async def test_session_of_one_second_outlives_a_longer_request(store_with_real_time: Any) -> None:
    async def start(request: Request) -> Response:
        session = request.state.session
        session.set_attribute("user", "ada")
        if "own" in request.query_params:
            session.set_max_inactive_interval(1)
        return PlainTextResponse("ok")

    async def report(request: Request) -> Response:
        await asyncio.sleep(1.3)
        request.state.session.set_attribute("report", "ready")
        return PlainTextResponse("ready")

    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "a"
            await report(request)
            yield "b"

        return StreamingResponse(body())

    async def visit(ttl: int, begin: str, path: str) -> tuple[int, dict[str, Any] | None]:
        site = Site(Probe(store_with_real_time), Clock())
        site.filter = SessionFilter(site.probe.store, ttl=ttl)
        browser = Browser(site.app(start=start, report=report, stream=stream))
        started = (await browser.get(begin)).session_id
        return (await browser.get(path)).status, await site.stored(started)

    found = await asyncio.gather(
        visit(1, "/start", "/report"),
        visit(1, "/start", "/stream"),
        visit(60, "/start?own", "/report"),
    )
    assert list(found) == [(200, {"user": "ada", "report": "ready"})] * 3


async def test_requests_of_another_event_loop_leave_timer_of_first_alone(site: Site) -> None:
    """A loop is not safe for other threads; in debug mode it says so."""

    async def page(request: Request) -> Response:
        return PlainTextResponse("ok")

    app = site.app(page=page)
    other = asyncio.new_event_loop()
    other.set_debug(True)
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    try:
        there = asyncio.run_coroutine_threadsafe(ask(app, "/page"), other)
        assert (await asyncio.wrap_future(there)).status == 200
        await site.seed(KNOWN, _max_inactive_interval=30)
        # Its own idle time is shorter, so it has to be looked after sooner.
        assert (await ask(app, "/page", cookie=KNOWN)).session_id == KNOWN
    finally:
        other.call_soon_threadsafe(other.stop)
        thread.join()
        other.close()


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts the timers that look after the sessions of long requests."""

    watches = 0

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self.watches += delay == 1800 / 3
        return super().call_later(delay, callback, *args, context=context)


def test_event_loops_that_alternate_have_one_timer_each(site: Site) -> None:
    async def page(request: Request) -> Response:
        return PlainTextResponse("ok")

    app = site.app(page=page)
    loops = [CountingLoop() for _ in range(2)]
    try:
        for loop in loops * 3:
            assert loop.run_until_complete(ask(app, "/page")).status == 200
    finally:
        for loop in loops:
            loop.close()
    assert [loop.watches for loop in loops] == [1, 1]


def test_nothing_is_kept_of_event_loops_that_were_closed(site: Site) -> None:
    """One loop a job: the next one takes the place of all that are over."""

    async def page(request: Request) -> Response:
        return PlainTextResponse("ok")

    app, gone = site.app(page=page), []
    for _ in range(3):
        loop = CountingLoop()
        loop.run_until_complete(ask(app, "/page"))
        loop.close()
        gone.append(weakref.ref(loop))
        del loop
    gc.collect()
    assert [each() is None for each in gone[:-1]] == [True, True]
