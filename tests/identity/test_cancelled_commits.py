"""A request that is cancelled while others commit the same session harms none of them."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.identity.conftest import MakeSite
from tests.identity.site import Held, Process, Site
from tests.identity.watched import Call
from tests.support.cases import for_each
from tests.support.serving import served
from tests.web.driver import COOKIE, SetCookie

# Before Python 3.12 asyncio.wait_for, which the driver of the real server uses, can lose one.
LOSES_CANCELLATIONS = sys.version_info < (3, 12)
# Who of three is cancelled; the other one of them changes the id.
WRITERS = {0: "/write?n0=1", 2: "/write?n2=1"}


async def pass_ticks(count: int = 50) -> None:
    """Let everybody go on who waits for nothing but their turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def yields(call: Call) -> None:
    """Give the event loop several chances to cancel the caller."""
    await pass_ticks(3)


async def three_of_one_session(process: Process) -> tuple[str, list[Held]]:
    former = await process.visit("/write?n=0")
    paths = [WRITERS[0], "/renew?n1=1", WRITERS[2]]
    return former, [await process.begin(path, former) for path in paths]


async def require_others_unharmed(
    site: Site, former: str, held: list[Held], cancelled: int
) -> None:
    """Fail unless the two others are answered and stored, and the session goes on as usual."""
    others = [each for number, each in enumerate(held) if number != cancelled]
    async with asyncio.timeout(10):
        answers = [await each.connection.end() for each in others]
        assert [answer.status for answer in answers] == [200, 200]
        current = (await held[1].connection.end()).session_id
        attributes = (await site.here.opens(current)).attributes
        expected = {"n": "0", "n1": "1", f"n{2 - cancelled}": "1"}
        assert attributes.items() >= expected.items()
        assert (await site.here.opens(former)).attributes == {}
        assert (await site.here.ask("/write?after=1", current)).session_id == current


@for_each("cancelled", WRITERS)
async def test_commit_that_is_cancelled_at_any_step_harms_no_other(
    make_memory_site: MakeSite, cancelled: int
) -> None:
    """One of three requests is cancelled after any number of steps; it ends, two are stored."""
    for steps in itertools.count():
        site = await make_memory_site(watched=True)
        former, held = await three_of_one_session(site.here)
        site.here.watch.before = site.here.watch.after = yields
        for each in held:
            each.let_go()
        await pass_ticks(steps)
        task = held[cancelled].connection.task
        assert task is not None
        if task.done():
            break
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), f"after {steps} steps: {task}"
        await require_others_unharmed(site, former, held, cancelled)
    assert steps > 5, "the requests were over before any of them could be cancelled"


class Cancelling:
    """Cancels a request at one of the moments before and after the store's calls.

    Args:
        target: The request.
        moment: Which one; all of them give the event loop to others for a while.

    Attributes:
        was_over: None until then; True if the request had ended before.
    """

    def __init__(self, target: asyncio.Task[object], moment: int) -> None:
        self._target = target
        self._left = moment
        self.was_over: bool | None = None

    async def __call__(self, call: Call) -> None:
        self._left -= 1
        if self._left == -1:
            self.was_over = self._target.done()
            self._target.cancel()
        await pass_ticks(3)


@for_each("cancelled", WRITERS)
async def test_commit_that_is_cancelled_at_any_call_of_the_store_harms_no_other(
    make_native_site: MakeSite, cancelled: int
) -> None:
    """One of three requests is cancelled before or after any call that any of them makes."""
    for moment in itertools.count():
        site = await make_native_site(watched=True)
        former, held = await three_of_one_session(site.here)
        task = held[cancelled].connection.task
        assert task is not None
        cancelling = Cancelling(task, moment)
        site.here.watch.before = site.here.watch.after = cancelling
        for each in held:
            each.let_go()
        await asyncio.wait([each.connection.task for each in held if each.connection.task])
        site.here.watch.recover()
        if cancelling.was_over is None:
            break
        ended = task.cancelled() or cancelling.was_over or LOSES_CANCELLATIONS
        assert ended, f"moment {moment}: {task}"
        await require_others_unharmed(site, former, held, cancelled)
    assert moment > 3, "the requests made no call of the store in which they could be cancelled"


class Turnstile:
    """Lets writes to the store pass one at a time, when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self._open = True

    async def __call__(self, call: Call) -> None:
        if self._open or not call.stores_a_session:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            await turn
        finally:
            if turn in self.waiting:
                self.waiting.remove(turn)

    def close(self) -> None:
        self._open = False

    def let_one_pass(self) -> None:
        self.waiting.pop(0).set_result(None)

    def open(self) -> None:
        self._open = True
        while self.waiting:
            self.let_one_pass()


class Disconnects:
    """ASGI middleware that tells when the application was told that its client has left."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.heard = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.heard.set()
            return message

        await self._app(scope, listen, send)


class Client:
    """One request on a socket of its own."""

    async def send(self, port: int, path: str, cookie: str) -> Client:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET {path} HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n"
        self._writer.write(f"{head}Cookie: {COOKIE}={cookie}\r\n\r\n".encode())
        return self

    async def answer(self) -> tuple[str, str | None]:
        """Return the status line and the id that the answer tells."""
        lines = (await self._reader.read()).decode().split("\r\n")
        self.leave()
        told = [line[12:] for line in lines if line.lower().startswith("set-cookie: ")]
        return lines[0], SetCookie.parse(told[0]).value if told else None

    def leave(self) -> None:
        self._writer.close()


async def test_client_that_leaves_costs_no_other_its_new_id(make_memory_site: MakeSite) -> None:
    """Over real sockets: a stream lines up behind a login, its client leaves; the login is told."""
    site = await make_memory_site(watched=True)
    turnstile = Turnstile()
    site.here.watch.before = turnstile
    reached = asyncio.Event()

    async def change(request: Request) -> Response:
        request.state.session.rotate_id()
        request.state.session.set_attribute("user", "alice")
        reached.set()
        return PlainTextResponse("ok")

    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"x"

        request.state.session.set_attribute("seen", "1")
        reached.set()
        return StreamingResponse(body())

    site.here.app.router.routes += [Route("/change", change), Route("/stream", stream)]
    cookie = await site.here.visit("/write?cart=tea")
    listener = Disconnects(site.here.app)
    async with served(listener) as port, asyncio.timeout(10):
        turnstile.close()
        first = await Client().send(port, "/write?first=1", cookie)
        while not turnstile.waiting:  # noqa: ASYNC110 - the call of the store tells of it
            await asyncio.sleep(0.001)
        others = []
        for path in ("/change", "/stream"):
            reached.clear()
            others.append(await Client().send(port, path, cookie))
            await reached.wait()
            await pass_ticks()
        while len(turnstile.waiting) > 1:
            # Until all others have met the first write, and wait for the one that is left.
            turnstile.let_one_pass()
            await pass_ticks()
        others[1].leave()
        await listener.heard.wait()
        await pass_ticks()
        turnstile.open()
        assert await first.answer() == ("HTTP/1.1 200 OK", cookie)
        status, current = await others[0].answer()
    assert status == "HTTP/1.1 200 OK"
    assert current is not None
    attributes = (await site.here.opens(current)).attributes
    assert attributes.items() >= {"cart": "tea", "first": "1", "user": "alice"}.items()
