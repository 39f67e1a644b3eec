"""Fixtures of the fault tests: servers, proxies and applications, all closed at the end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import Proxy
from tests.faults.servers import Server
from tests.faults.shop import Shop

OpenShop = Callable[..., Shop]
StartServer = Callable[..., Awaitable[Server]]


@pytest.fixture
async def closing() -> AsyncIterator[AsyncExitStack]:
    """Return what closes everything, the latest first."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def start_server(closing: AsyncExitStack, tmp_path: Path) -> StartServer:
    """Return a function that starts a server with further options."""

    async def start(*options: str, **settings: Any) -> Server:
        server = Server(tmp_path, *options, **settings)
        closing.push_async_callback(server.close)
        return await server.start()

    return start


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    """Return an empty server of the test's own."""
    return await start_server()


@pytest.fixture
async def proxy(server: Server, closing: AsyncExitStack) -> Proxy:
    """Return a proxy in front of the server."""
    made = await Proxy(server.port).start()
    closing.push_async_callback(made.close)
    return made


@pytest.fixture
def open_shop(closing: AsyncExitStack) -> OpenShop:
    """Return a function that makes an application with sessions behind a URL."""

    def make(url: str, **options: Any) -> Shop:
        shop = Shop(url, **options)
        closing.push_async_callback(shop.close)
        return shop

    return make
