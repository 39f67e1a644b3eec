"""The application that the tests of this folder use, and what they find out about it."""

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pyfly_session import SecurityContext, login
from pyfly_session.auto_configuration import create_container, enable_sessions
from tests.web.driver import Answer, Browser, Connection

# Longer than any wait on a busy machine, so that only the server can end one.
_PATIENCE = {"timeout": 20.0, "connect-timeout": 20.0, "pool-timeout": 40.0, "deadline": 60.0}
# Short, so that a request during a failover gets its answer while the test waits.
IMPATIENT = {"timeout": 1.0, "connect-timeout": 1.0, "pool-timeout": 5.0, "deadline": 3.0}
# A request loads and commits, each within the deadline; the rest is a busy machine.
LONGEST_REQUEST_SECONDS = 2 * IMPATIENT["deadline"] + 2.0


class Shop:
    """One process of an application with sessions, as far as another one can tell.

    Args:
        redis: The properties under ``pyfly.session.redis``.
        session: More properties under ``pyfly.session``.
    """

    def __init__(self, redis: Mapping[str, Any], **session: Any) -> None:
        redis = {**_PATIENCE, "circuit-pause": 0.2, **redis}
        given = {"enabled": True, "store": "redis", **session, "redis": redis}
        self.container = create_container({"pyfly": {"session": given}})
        routes = [
            Route(f"/{each.__name__}", each) for each in (read, names, write, rotate, enter, logout)
        ]
        self.app = enable_sessions(
            Starlette(routes=[*routes, Route("/late", self._late)]), self.container
        )
        self._arrived = asyncio.Event()
        self._go = asyncio.Event()

    def browser(self, cookie: str | None = None) -> Browser:
        """Return a visitor."""
        return Browser(self.app, cookie)

    async def visitor(self, **attributes: Any) -> Browser:
        """Return a visitor whose session holds these attributes."""
        browser = self.browser()
        query = "&".join(f"{name}={value}" for name, value in attributes.items())
        answer = await browser.get(f"/write?{query}")
        assert answer.status == 200, answer.text
        return browser

    async def late_writer(self, browser: Browser, query: str) -> Connection:
        """Start a request that has loaded its session and writes when it is let go."""
        self._arrived.clear()
        self._go.clear()
        request = browser.open(f"/late?{query}")
        await self._arrived.wait()
        return request

    async def let_go(self, request: Connection) -> Answer:
        """Let the late writer write, and return its answer."""
        self._go.set()
        return await request.end()

    async def _late(self, request: Request) -> JSONResponse:
        self._arrived.set()
        await self._go.wait()
        return await write(request)

    async def close(self) -> None:
        """Start and end the application's lifespan, as a server does; it may be used again."""
        incoming = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> dict[str, str]:
            return {"type": next(incoming)}

        async def send(message: MutableMapping[str, Any]) -> None:
            assert message["type"].endswith(".complete"), message

        await self.app({"type": "lifespan", "state": {}}, receive, send)


async def read(request: Request) -> JSONResponse:
    """Return all attributes."""
    session = request.state.session
    return JSONResponse({name: session.get_attribute(name) for name in session.attribute_names()})


async def names(request: Request) -> JSONResponse:
    """Return the names of all attributes."""
    return JSONResponse(request.state.session.attribute_names())


async def write(request: Request) -> JSONResponse:
    """Set the attributes that the query names."""
    for name, value in request.query_params.items():
        request.state.session.set_attribute(name, value)
    return JSONResponse(None)


async def rotate(request: Request) -> JSONResponse:
    """Change the id, as a login does."""
    request.state.session.rotate_id()
    return await write(request)


async def enter(request: Request) -> JSONResponse:
    """Log the user in whom the query names."""
    await login(request, SecurityContext(user_id=request.query_params["user"]))
    return JSONResponse(None)


async def logout(request: Request) -> JSONResponse:
    """End the session."""
    request.state.session.invalidate()
    return JSONResponse(None)
