"""A client that reads nothing keeps neither a socket whose session has ended nor the process."""

import asyncio
import importlib.util
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from pyfly_session.core.metadata import PRINCIPAL
from pyfly_session.web import WebSocketRules
from pyfly_session.web import websocket as module
from tests.needs import lacks
from tests.support import serving
from tests.web.conftest import Site
from tests.web.driver import Connection, ask
from tests.web.pages import invalidate

# One of uvicorn's three servers is on its way out.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:websockets.*"),
    pytest.mark.filterwarnings("ignore:The `websockets` implementation"),
    pytest.mark.filterwarnings("ignore:.*websockets-sansio"),
]
KNOWN = "a" * 32
LONG = "x" * 65_536
HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    f"Cookie: PYFLY_SESSION={KNOWN}\r\n\r\n"
)


class Talker:
    """A WebSocket application that sends and never receives.

    Attributes:
        stuck: Set when a message waits for the client to read.
        ended: The code with which the application saw the end.
    """

    def __init__(self, site: Site) -> None:
        self.stuck = asyncio.Event()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.app: Starlette = site.app(WebSocketRoute("/", self.talk), logout=invalidate)

    async def talk(self, websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                waiting = asyncio.get_running_loop().call_later(0.2, self.stuck.set)
                await websocket.send_text(LONG)
                waiting.cancel()
        except WebSocketDisconnect as error:
            self.ended.set_result(error.code)


@pytest.fixture(params=["websockets", "websockets-sansio", "wsproto"])
async def served(
    request: pytest.FixtureRequest, site: Site, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Talker, socket.socket]]:
    """Return the application, and a client that has opened a socket and reads no more."""
    if request.param == "wsproto" and importlib.util.find_spec("wsproto") is None:
        lacks("wsproto")
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 0.05)
    await site.seed(KNOWN, **{PRINCIPAL: "alice"})
    site.configure(websocket=WebSocketRules(check_interval=3600))
    talker = Talker(site)
    async with serving.served(talker.app, ws=request.param) as port:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, HANDSHAKE.encode())
        await talker.stuck.wait()
        yield talker, client
        client.close()


async def test_the_waiting_sender_is_told_when_the_session_ends(served: Any) -> None:
    talker, _ = served
    await ask(talker.app, "/logout", cookie=KNOWN)
    assert await talker.ended == 1006


async def test_a_shutdown_does_not_wait_for_the_client(served: Any, site: Site) -> None:
    talker, _ = served
    await ask(talker.app, "/logout", cookie=KNOWN)
    await site.filter.repository.drain()
    assert await talker.ended == 1006


async def test_a_cancelled_sender_stays_cancelled(site: Site) -> None:
    """The end of the session is no reason for a task to go on that its server has stopped."""
    await site.seed(KNOWN, **{PRINCIPAL: "alice"})
    site.configure(websocket=WebSocketRules(check_interval=3600))
    waiting = asyncio.Event()

    async def talk(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "more"})

    class NeverReads(Connection):
        async def _send(self, message: Any) -> None:
            if message["type"] == "websocket.send":
                waiting.set()
                await asyncio.Event().wait()
            await super()._send(message)

    app = site.filter.around(talk)
    connection = NeverReads(app, kind="websocket", cookie=KNOWN).start()
    await waiting.wait()
    assert connection.task is not None
    connection.task.cancel()
    await ask(site.app(logout=invalidate), "/logout", cookie=KNOWN)
    await asyncio.wait({connection.task})
    assert connection.task.cancelled()
