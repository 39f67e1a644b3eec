"""Clients that leave, seen by a real server: the session survives them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from tests.faults.conftest import OpenShop
from tests.faults.servers import Server
from tests.faults.waiting import eventually
from tests.support.serving import served

KNOWN = "a" * 32


class Web:
    """An application behind uvicorn, on a real socket."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def open(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a request with the known cookie."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: shop.test\r\nCookie: PYFLY_SESSION={KNOWN}\r\n"
            "Content-Length: 4\r\n\r\n".encode()
        )
        await writer.drain()
        return reader, writer


@pytest.fixture
def serve(open_shop: OpenShop, server: Server, closing: AsyncExitStack) -> Any:
    """Return a function that serves a handler under ``/page``, with alice's session stored."""

    async def start(page: Any) -> Web:
        await server.seed(KNOWN, user="alice")
        shop = open_shop(server.url, page=page)
        return Web(await closing.enter_async_context(served(shop.app)))

    return start


async def leave(writer: asyncio.StreamWriter) -> None:
    """Reset the connection, as a browser that is closed."""
    writer.transport.abort()
    await asyncio.sleep(0)


async def test_client_leaving_stream_loses_no_late_write(server: Server, serve: Any) -> None:
    finished = asyncio.Event()

    async def page(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            try:
                request.state.session.set_attribute("cart", ["rope"])
                while True:
                    yield b"x" * 10_000
                    await asyncio.sleep(0.005)
            finally:
                finished.set()

        return StreamingResponse(body())

    web = await serve(page)
    reader, writer = await web.open("/page")
    await reader.read(10)
    await leave(writer)
    await finished.wait()
    await until_stored(server, {"user": "alice", "cart": ["rope"]})


async def test_client_leaving_early_has_its_write_kept(server: Server, serve: Any) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def page(request: Request) -> Response:
        request.state.session.set_attribute("cart", ["rope"])
        arrived.set()
        await go_on.wait()
        return PlainTextResponse("nobody reads this")

    web = await serve(page)
    _, writer = await web.open("/page")
    await arrived.wait()
    await leave(writer)
    go_on.set()
    await until_stored(server, {"user": "alice", "cart": ["rope"]})


async def test_client_leaving_sending_has_logout_kept(server: Server, serve: Any) -> None:
    errors: list[BaseException] = []
    arrived = asyncio.Event()

    async def page(request: Request) -> Response:
        request.state.session.invalidate()
        arrived.set()
        try:
            await request.body()
        except ClientDisconnect as error:
            errors.append(error)
            raise
        raise AssertionError("unreachable")

    web = await serve(page)
    _, writer = await web.open("/page")
    await arrived.wait()
    await leave(writer)
    await until_stored(server, None)
    assert len(errors) == 1


async def until_stored(server: Server, expected: dict[str, Any] | None) -> None:
    """Wait until the request has come to its end, which nobody tells."""

    async def is_stored() -> bool:
        return await server.stored(KNOWN) == expected

    await eventually(is_stored)
