"""An application behind a real server, on a port of loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


@asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncIterator[int]:
    """Serve an application from the event loop of the test, until the block ends; give the port."""
    given: dict[str, Any] = {"lifespan": "off", "log_level": "error", **options}
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, **given))
    # Without the signal handlers that serve() would put over those of the tests.
    serving = asyncio.ensure_future(server._serve())
    while not server.started:
        assert not serving.done(), serving
        await asyncio.sleep(0.001)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving
