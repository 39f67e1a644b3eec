"""The application under stress, and a client that counts."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.stress.report import Tally
from pyfly_session import SecurityContext
from pyfly_session.auto_configuration import close_sessions, create_container, enable_sessions
from pyfly_session.errors import TooManySessionsError
from pyfly_session.security import SECURITY_CONTEXT, context_of, login
from tests.web.driver import Answer, Connection

DEADLINE_SECONDS = 3.0
# That of the SQL store, which has no property for it.
_SQL_DEADLINE_SECONDS = 5.0
_PATIENCE = {"timeout": 1.0, "connect-timeout": 1.0, "deadline": DEADLINE_SECONDS}
_heads = itertools.count()


def store_at(place: dict[str, Any] | None) -> dict[str, Any]:
    """Return the properties of the store at a place: that of a database has a driver in its URL."""
    if place is None:
        return {"store": "memory"}
    if "+" in place["url"].partition("://")[0]:
        return {"store": "sql", "sql": {"url": place["url"], "create-table": True}}
    return {"store": "redis", "redis": {**_PATIENCE, "circuit-pause": 0.2, **place}}


class Site:
    """The application of one process, over the store that the properties name.

    Args:
        redis: Properties under ``pyfly.session.redis``, or the URL of a database; None for the
            memory store.
        **settings: Further properties under ``pyfly.session``, ``_`` for ``-``.
    """

    def __init__(self, redis: dict[str, Any] | None, **settings: Any) -> None:
        store = store_at(redis)
        deadline = _SQL_DEADLINE_SECONDS if store["store"] == "sql" else DEADLINE_SECONDS
        # A request loads and commits; the rest is for a machine with more processes than cores.
        self._longest = 2 * deadline + 2.0
        given = {**store, "enabled": True, "creation": "if-required"}
        given |= {name.replace("_", "-"): value for name, value in settings.items()}
        self.container = create_container({"pyfly": {"session": given}})
        routes = [Route(f"/{name}", page) for name, page in PAGES.items()]
        self.app = enable_sessions(
            Starlette(routes=[*routes, Route("/late", self._late)]), self.container
        )
        self._gates: dict[str, tuple[asyncio.Event, asyncio.Event]] = {}

    async def ask(self, path: str, cookie: str | None, tally: Tally | None = None) -> Answer | None:
        """Send a request, and count how it ended; None if there was no proper answer."""
        tally = Tally() if tally is None else tally
        began = time.monotonic()
        tally.tried += 1
        try:
            answer = await Connection(self._numbered, path, cookie=cookie).run()
            status = answer.status
        except Exception as error:  # noqa: BLE001 - it is what we count
            tally.odd.append(f"{path.partition('?')[0]}: {error!r}")
            return None
        seconds = time.monotonic() - began
        tally.slowest = max(tally.slowest, seconds)
        tally.late += seconds > self._longest
        if status == 200:
            tally.acknowledged += 1
        elif 500 <= status < 600:
            tally.failed += 1
        else:
            tally.odd.append(f"{path}: {status}")
        return answer

    async def late(self, path: str, cookie: str, gate: str) -> asyncio.Task[Answer | None]:
        """Start a request that has loaded its session; `open_gate` lets it do the rest.

        Args:
            path: Which page, and what it is told: ``add&name=cart``.
            cookie: The id that is presented.
            gate: A name for it.
        """
        loaded, _ = self._gates[gate] = asyncio.Event(), asyncio.Event()
        task = asyncio.ensure_future(self.ask(f"/late?gate={gate}&do={path}", cookie))
        waiting = asyncio.ensure_future(loaded.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return task

    def open_gate(self, gate: str) -> None:
        """Let a late request go on."""
        self._gates.pop(gate)[1].set()

    async def count(self, user: str) -> int:
        """Return how many sessions a user has."""
        count: int = await self.container.principal_sessions().count(user)
        return count

    async def _late(self, request: Request) -> JSONResponse:
        loaded, opened = self._gates[request.query_params["gate"]]
        loaded.set()
        await opened.wait()
        return await PAGES[request.query_params["do"]](request)

    async def _numbered(self, scope: Any, receive: Any, send: Any) -> None:
        """Number the heads of all answers, in the order in which they are sent."""

        async def numbered(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["number"] = next(_heads)
            await send(message)

        await self.app(scope, receive, numbered)

    async def close(self) -> None:
        """Close the connections."""
        await close_sessions(self.container)


async def read(request: Request) -> JSONResponse:
    """Return all attributes."""
    session = request.state.session
    return JSONResponse(
        {name: session.get_attribute(name) for name in session.get_attribute_names()}
    )


async def look(request: Request) -> JSONResponse:
    """Return who is logged in, all attributes, and whether none of it is going to be saved."""
    session = request.state.session
    names = [name for name in session.get_attribute_names() if name != SECURITY_CONTEXT]
    user = context_of(session).user_id
    attributes = {name: session.get_attribute(name) for name in names}
    return JSONResponse({"user": user, "attributes": attributes, "unsaved": session.transient})


async def news(request: Request) -> JSONResponse:
    """Look at nothing in the session, but tell whether it is going to be saved."""
    unsaved = request.state.session.transient
    return JSONResponse({"user": None, "attributes": {}, "unsaved": unsaved})


async def add(request: Request) -> JSONResponse:
    """Set one attribute, and count up another."""
    session, query = request.state.session, request.query_params
    session.set_attribute(query.get("name", "written"), 1)
    if counter := query.get("counter"):
        session.set_attribute(counter, (session.get_attribute(counter) or 0) + 1)
    return await news(request)


async def count_up(request: Request) -> JSONResponse:
    """Count one attribute up, by a function of its value."""
    name = request.query_params["name"]
    return JSONResponse(request.state.session.update_attribute(name, lambda n: (n or 0) + 1))


async def rotate(request: Request) -> JSONResponse:
    """Change the id, as a login does."""
    request.state.session.rotate_id()
    if name := request.query_params.get("name"):
        request.state.session.set_attribute(name, 1)
    return await look(request)


async def enter(request: Request) -> JSONResponse:
    """Log a user in; 409 if there is no room for one more session of theirs."""
    query = request.query_params
    try:
        await login(request, SecurityContext(user_id=query["user"]))
    except TooManySessionsError as error:
        return JSONResponse(str(error), status_code=409)
    request.state.session.set_attribute(query.get("name", "entered"), 1)
    return await look(request)


async def logout(request: Request) -> JSONResponse:
    """End the session."""
    request.state.session.invalidate()
    return JSONResponse(None)


PAGES = {page.__name__: page for page in (read, look, news, add, count_up, rotate, enter, logout)}
