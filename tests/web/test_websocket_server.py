"""WebSockets behind a real server, with a real client: what goes over the wire."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pyfly_session.core.metadata import PRINCIPAL
from pyfly_session.web import WebSocketRules
from tests.support.serving import served
from tests.web.conftest import Site
from tests.web.driver import SetCookie, ask
from tests.web.pages import invalidate

KNOWN = "a" * 32


class Service:
    """A counter over WebSocket, served on a port.

    Attributes:
        disconnects: The codes that the application saw.
    """

    def __init__(self, site: Site) -> None:
        self.disconnects: list[int] = []
        self.ticking = asyncio.Event()
        self.app = site.app(
            WebSocketRoute("/", self.count), WebSocketRoute("/ticks", self.tick), logout=invalidate
        )
        self._stack = contextlib.AsyncExitStack()

    async def count(self, websocket: WebSocket) -> None:
        await websocket.accept()
        session = websocket.state.session
        try:
            while True:
                await websocket.receive_text()
                if session.stored:
                    session.set_attribute("count", (session.get_attribute("count") or 0) + 1)
                await websocket.send_text(str(session.get_attribute("count")))
        except WebSocketDisconnect as error:
            self.disconnects.append(error.code)

    async def tick(self, websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text("tick")
                await asyncio.sleep(0)
        except WebSocketDisconnect as error:
            self.disconnects.append(error.code)

    async def start(self) -> Service:
        self.port = await self._stack.enter_async_context(served(self.app))
        return self

    async def close(self) -> None:
        await self._stack.aclose()

    def open(self, path: str = "/", *, cookie: str | None = KNOWN, **options: Any) -> connect:
        headers = {} if cookie is None else {"Cookie": f"PYFLY_SESSION={cookie}"}
        uri = f"ws://127.0.0.1:{self.port}{path}"
        return connect(uri, additional_headers=headers, **options)


@pytest.fixture
async def serve(site: Site) -> AsyncIterator[Callable[..., Awaitable[Service]]]:
    """Return a function that starts the service, alice being logged in."""
    services = []

    async def start(check_interval: float = 3600) -> Service:
        await site.seed(KNOWN, count=1, **{PRINCIPAL: "alice"})
        rules = WebSocketRules(check_interval=check_interval)
        services.append(await Service(site.configure(websocket=rules)).start())
        return services[-1]

    yield start
    for service in services:
        await service.close()


async def end_of(client: ClientConnection) -> tuple[int, str]:
    """Read to the end; return code and reason of the close."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await client.recv()
    assert client.close_code is not None
    return client.close_code, str(client.close_reason)


async def test_count_goes_on_in_the_session_of_the_cookie(serve: Any, site: Site) -> None:
    service = await serve()
    async with service.open() as client:
        await client.send("more")
        assert await client.recv() == "2"
    await service.close()
    assert await site.stored(KNOWN) == {"count": 2}


async def test_new_visitor_gets_the_cookie_with_the_handshake(serve: Any, site: Site) -> None:
    service = await serve()
    async with service.open(cookie=None) as client:
        assert client.response is not None
        cookie = SetCookie.parse(client.response.headers["Set-Cookie"])
        await client.send("more")
        assert await client.recv() == "1"
    async with service.open(cookie=cookie.value) as client:
        await client.send("more")
        assert await client.recv() in ("1", "2")
    await service.close()
    assert await site.stored(cookie.value) is not None


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_idle_client_is_told_when_its_session_ends(
    serve: Any, site: Site, where: str
) -> None:
    service = await serve(check_interval=3600 if where == "here" else 0.01)
    async with service.open() as client:
        await client.send("more")
        await client.recv()
        other = service.app if where == "here" else Service(site.another_node()).app
        await ask(other, "/logout", cookie=KNOWN)
        assert await end_of(client) == (1008, "the session has ended")
    await service.close()
    assert service.disconnects == [1008]


async def test_application_that_only_sends_is_stopped_too(serve: Any) -> None:
    service = await serve()
    async with service.open("/ticks") as client:
        assert await client.recv() == "tick"
        await ask(service.app, "/logout", cookie=KNOWN)
        assert await end_of(client) == (1008, "the session has ended")
    await service.close()
    assert service.disconnects == [1006]


async def test_page_of_another_site_gets_403_and_one_of_ours_is_served(serve: Any) -> None:
    service = await serve()
    with pytest.raises(InvalidStatus) as caught:
        await service.open(origin="https://evil.example")
    assert caught.value.response.status_code == 403
    async with service.open(origin=f"http://127.0.0.1:{service.port}") as client:
        await client.send("more")
        assert await client.recv() == "2"
