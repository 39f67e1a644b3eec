"""The application under stress, and a client that counts."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.stress.report import Result
from pyfly_session import SecurityContext
from pyfly_session.auto_configuration import close_sessions, create_container, enable_sessions
from pyfly_session.errors import TooManySessionsError
from pyfly_session.security import SECURITY_CONTEXT, context_of, login
from tests.web.driver import Answer, Connection

REFUSED = 409
# Nobody harms the server: what is slow is the machine.
_REDIS = {"timeout": 5.0, "deadline": 30.0}
_LONGEST_SECONDS = 62.0


class Site:
    """The application of one process, over the store that the properties name.

    Args:
        place: Properties of Redis, the URL of a database, or None for the memory store.
        **settings: Further properties under ``pyfly.session``, ``_`` for ``-``.
    """

    def __init__(self, place: dict[str, Any] | None, **settings: Any) -> None:
        store: dict[str, Any] = {"store": "memory"}
        if place is not None:
            store = {"store": "redis", "redis": _REDIS | place}
            if "+" in place["url"].partition("://")[0]:
                store = {"store": "sql", "sql": {"url": place["url"], "create-table": True}}
        given = {**store, "enabled": True, "creation": "if-required"}
        given |= {name.replace("_", "-"): value for name, value in settings.items()}
        self._container = create_container({"pyfly": {"session": given}})
        routes = [Route(f"/{name}", page) for name, page in PAGES.items()]
        self._app = enable_sessions(
            Starlette(routes=[*routes, Route("/late", self._late)]), self._container
        )
        self._gates: dict[str, tuple[asyncio.Event, asyncio.Event]] = {}

    async def __aenter__(self) -> Site:
        return self

    async def __aexit__(self, *_: object) -> None:
        await close_sessions(self._container)

    async def ask(self, path: str, cookie: str | None, result: Result) -> Answer | None:
        """Send a request, and count how it ended; None if there was no proper answer."""
        began = time.monotonic()
        result.tried += 1
        try:
            answer = await Connection(self._app, path, cookie=cookie).run()
            status = answer.status
        except Exception as error:  # noqa: BLE001 - it is what we count
            result.odd.append(f"{path.partition('?')[0]}: {error!r}")
            return None
        seconds = time.monotonic() - began
        result.slowest = max(result.slowest, seconds)
        result.late += seconds > _LONGEST_SECONDS
        if status in (200, REFUSED):
            result.acknowledged += 1
        elif 500 <= status < 600:
            result.failed += 1
        else:
            result.odd.append(f"{path}: {status}")
        return answer if status == 200 else None

    async def late(
        self, path: str, cookie: str, gate: str, result: Result
    ) -> asyncio.Task[Answer | None]:
        """Start a request that has loaded its session; `open_gate` lets it do the rest."""
        loaded, _ = self._gates[gate] = asyncio.Event(), asyncio.Event()
        task = asyncio.ensure_future(self.ask(f"/late?gate={gate}&do={path}", cookie, result))
        waiting = asyncio.ensure_future(loaded.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return task

    def open_gate(self, gate: str) -> None:
        """Let a late request go on."""
        self._gates.pop(gate)[1].set()

    async def _late(self, request: Request) -> JSONResponse:
        loaded, opened = self._gates[request.query_params["gate"]]
        loaded.set()
        await opened.wait()
        return await PAGES[request.query_params["do"]](request)


async def read(request: Request) -> JSONResponse:
    """Return who is logged in, and all attributes."""
    session = request.state.session
    attributes = {name: session[name] for name in session.get_attribute_names()}
    attributes.pop(SECURITY_CONTEXT, None)
    return JSONResponse({"user": context_of(session).user_id, "attributes": attributes})


async def add(request: Request) -> JSONResponse:
    """Set one attribute, and count up another."""
    session, query = request.state.session, request.query_params
    session.set_attribute(query.get("name", "written"), 1)
    if counter := query.get("counter"):
        session.set_attribute(counter, session.get(counter, 0) + 1)
    return JSONResponse(None)


async def count_up(request: Request) -> JSONResponse:
    """Count one attribute up, by a function of its value."""
    name = request.query_params["name"]
    return JSONResponse(request.state.session.update_attribute(name, lambda n: (n or 0) + 1))


async def rotate(request: Request) -> JSONResponse:
    """Change the id, as a login does."""
    request.state.session.rotate_id()
    return JSONResponse(None)


async def enter(request: Request) -> JSONResponse:
    """Log a user in; 409 if there is no room for one more session of theirs."""
    try:
        await login(request, SecurityContext(user_id=request.query_params["user"]))
    except TooManySessionsError as error:
        return JSONResponse(str(error), status_code=REFUSED)
    return JSONResponse(None)


async def logout(request: Request) -> JSONResponse:
    """End the session."""
    request.state.session.invalidate()
    return JSONResponse(None)


PAGES = {page.__name__: page for page in (read, add, count_up, rotate, enter, logout)}
