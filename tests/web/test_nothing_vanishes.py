"""What is written to a session is saved, or whoever wrote it is told that it is not."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio as aioredis
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.websockets import WebSocket

from pyfly_session import HttpSession, SessionReadOnlyError
from pyfly_session.adapters.redis import RedisSessionStore
from pyfly_session.web import SessionMapping
from tests.conftest import Clock
from tests.faults.proxy import Fault, Proxy, Where
from tests.web.conftest import Site
from tests.web.driver import Connection, ask
from tests.web.stores import Probe

KNOWN = "a" * 32
DAY = 86400


def by_item(session: HttpSession) -> None:
    SessionMapping(session)["late"] = 1


def by_del(session: HttpSession) -> None:
    del SessionMapping(session)["user"]


MUTATORS: dict[str, Callable[[HttpSession], object]] = {
    "set_attribute": lambda session: session.set_attribute("late", 1),
    "remove_attribute": lambda session: session.remove_attribute("user"),
    "update_attribute": lambda session: session.update_attribute("late", lambda value: 1),
    "clear": lambda session: session.clear(),
    "rotate_id": lambda session: session.rotate_id(),
    "invalidate": lambda session: session.invalidate(),
    "authenticate": lambda session: session.authenticate("bob"),
    "set_max_inactive_interval": lambda session: session.set_max_inactive_interval(60),
    "request.session[...] =": by_item,
    "del request.session[...]": by_del,
}


def try_all(session: HttpSession) -> dict[str, type[Exception] | None]:
    """Call every mutator; return what each of them raised."""
    raised: dict[str, type[Exception] | None] = {}
    for name, mutate in MUTATORS.items():
        try:
            mutate(session)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            raised[name] = type(error)
        else:
            raised[name] = None
    return raised


ALL_REFUSED: dict[str, type[Exception] | None] = dict.fromkeys(MUTATORS, SessionReadOnlyError)


class Desk:
    """An application whose requests end in every way, and the sessions that they leave behind.

    Attributes:
        kept: The session of the latest request.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.kept: HttpSession
        self.waiting = asyncio.Event()
        self.app = site.app(
            answer=self.answer, fail=self.fail, stream=self.stream, wait=self.wait, work=self.work
        )

    def _keep(self, request: Request) -> HttpSession:
        self.kept = request.state.session
        return self.kept

    async def answer(self, request: Request) -> None:
        self._keep(request)

    async def fail(self, request: Request) -> Response:
        self._keep(request)
        raise ValueError("mine")

    async def stream(self, request: Request) -> Response:
        session = self._keep(request)

        async def body() -> AsyncIterator[str]:
            yield "a"
            session.set_attribute("streamed", 1)

        return StreamingResponse(body())

    async def wait(self, request: Request) -> Response:
        self._keep(request)
        self.waiting.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def work(self, request: Request) -> Response:
        session = self._keep(request)

        async def work() -> None:
            await asyncio.sleep(0)
            session.set_attribute("set", 1)
            request.session["mapped"] = 1
            session.update_attribute("updated", lambda value: (value or 0) + 1)
            del request.session["user"]

        return PlainTextResponse("ok", background=BackgroundTask(work))

    async def end(self, path: str) -> HttpSession:
        """Have a request run to its end, and return its session."""
        if path == "/wait":
            connection = Connection(self.app, path, cookie=KNOWN).start()
            await self.waiting.wait()
            await connection.cancel()
            await self.site.filter.repository.drain()
        else:
            await ask(self.app, path, cookie=KNOWN, swallow=True)
        return self.kept


@pytest.fixture
async def desk(site: Site) -> Desk:
    await site.seed(KNOWN, user="ada")
    return Desk(site)


class TestAfterTheEnd:
    @pytest.mark.parametrize("name", MUTATORS)
    async def test_every_mutator_tells_the_remedy(self, desk: Desk, name: str) -> None:
        session = await desk.end("/answer")
        with pytest.raises(SessionReadOnlyError) as caught:
            MUTATORS[name](session)
        # For a new id a background task is too late as well.
        assert "BackgroundTask" in str(caught.value) or name == "rotate_id"
        assert await desk.site.stored(KNOWN) == {"user": "ada"}

    async def test_the_session_can_still_be_read(self, desk: Desk) -> None:
        session = await desk.end("/answer")
        try_all(session)
        assert (session.id, session.get_attribute("user")) == (KNOWN, "ada")
        assert session.get_attribute_names() == ["user"]
        assert dict(SessionMapping(session)) == {"user": "ada"}
        assert not session.invalidated

    @pytest.mark.parametrize("path", ["/answer", "/fail", "/stream", "/wait"])
    async def test_however_the_request_ended(self, desk: Desk, path: str) -> None:
        assert try_all(await desk.end(path)) == ALL_REFUSED
        expected = {"user": "ada", "streamed": 1} if path == "/stream" else {"user": "ada"}
        assert await desk.site.stored(KNOWN) == expected

    async def test_a_thread_is_told(self, desk: Desk) -> None:
        session = await desk.end("/answer")
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(try_all(session)))
        thread.start()
        thread.join()
        assert found == [ALL_REFUSED]

    async def test_a_task_that_outlived_its_request_is_told(self, site: Site) -> None:
        over = asyncio.Event()
        tasks: list[asyncio.Task[Any]] = []

        async def page(session: Any) -> None:
            async def later() -> dict[str, type[Exception] | None]:
                await over.wait()
                return try_all(session)

            tasks.append(asyncio.create_task(later()))

        await site.visit(page, user="ada")
        over.set()
        assert await tasks[0] == ALL_REFUSED
        assert await site.stored(KNOWN) == {"user": "ada"}

    async def test_a_request_that_was_refused_is_over_as_well(self, desk: Desk) -> None:
        async def write(session: Any) -> None:
            desk.kept = session
            desk.kept.set_attribute("early", 1)
            desk.site.probe.fail()

        answer = await ask(desk.site.app(write=write), "/write", cookie=KNOWN)
        desk.site.probe.recover()
        assert answer.status == 503
        with pytest.raises(SessionReadOnlyError):
            desk.kept.set_attribute("late", 1)

    async def test_an_open_socket_may_write_and_a_closed_one_is_told(self, desk: Desk) -> None:
        async def talk(websocket: WebSocket) -> None:
            desk.kept = websocket.state.session
            await websocket.accept()
            desk.kept.set_attribute("said", "hello")
            await websocket.receive()

        await Connection(desk.site.socket(talk), kind="websocket", cookie=KNOWN).run()
        assert try_all(desk.kept) == ALL_REFUSED
        assert await desk.site.stored(KNOWN) == {"user": "ada", "said": "hello"}

    async def test_a_background_task_may_still_write(self, desk: Desk) -> None:
        session = await desk.end("/work")
        assert await desk.site.stored(KNOWN) == {"set": 1, "mapped": 1, "updated": 1}
        with pytest.raises(SessionReadOnlyError):
            session.set_attribute("late", 1)


async def look(session: Any) -> str:
    return str(session.get_attribute("user"))


class Cutting(Proxy):
    """Cuts the connection once, when so many groups of commands have passed, or their answer."""

    def __init__(self, target: int, passing: int, where: Where) -> None:
        super().__init__(target)
        self.passing = passing
        self._where: Where = where

    def fault_for(self, commands: list[str]) -> Fault | None:
        if any(each not in ("HELLO", "CLIENT") for each in commands):
            self.passing -= 1
            if self.passing == -1:
                return Fault("", 1, self._where, None, None)
        return None


class TestIdleTimeOfItsOwn:
    """A session that lives for 30 days does so, whatever fails on the way."""

    @staticmethod
    async def remember(session: Any) -> None:
        session.set_max_inactive_interval(30 * DAY)

    async def test_no_failure_of_a_load_shortens_it(self, site: Site) -> None:
        for number in range(4):
            session_id = await site.seed(f"{number}" * 32, user="ada")
            app = site.app(remember=self.remember, look=look)
            await ask(app, "/remember", cookie=session_id)
            hold = site.probe.hold(number + 1)
            connection = Connection(app, "/look", cookie=session_id).start()
            assert connection.task is not None
            reached = asyncio.ensure_future(hold.reached.wait())
            await asyncio.wait({reached, connection.task}, return_when=asyncio.FIRST_COMPLETED)
            reached.cancel()
            site.probe.fail(times=1)
            hold.release.set()
            await connection.end()
            site.probe.recover()
            site.clock.advance(29 * DAY)
            assert await site.stored(session_id) == {"user": "ada"}, f"call {number + 1}"

    @pytest.mark.parametrize("where", ["before", "after"])
    async def test_no_connection_that_breaks_shortens_it_on_a_server(
        self, valkey: aioredis.Redis, make_store: Any, clock: Clock, where: Where
    ) -> None:
        port = valkey.connection_pool.connection_kwargs["port"]
        site = Site(Probe(make_store("valkey")), clock)
        for passing in range(3):
            await site.visit(self.remember, user="ada")
            assert await valkey.ttl(f"pyfly:session:{KNOWN}") > 29 * DAY
            proxy = await Cutting(port, passing, where).start()
            client: aioredis.Redis = aioredis.from_url(proxy.url)
            try:
                cut = Site(Probe(RedisSessionStore(client=client)), clock)
                await ask(cut.app(look=look), "/look", cookie=KNOWN)
            finally:
                await client.aclose()
                await proxy.close()
            left = await valkey.ttl(f"pyfly:session:{KNOWN}")
            assert left > 29 * DAY, f"{left} seconds, cut {where} command {passing + 1}"
