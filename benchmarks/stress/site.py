"""The application under stress, and a client that counts."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.stress.report import Tally
from pyfly_session.auto_configuration import close_sessions, create_container, enable_sessions
from tests.web.driver import Answer, Connection

DEADLINE_SECONDS = 3.0
# A request loads and commits; the rest is for a machine with more processes than cores.
LONGEST_SECONDS = 2 * DEADLINE_SECONDS + 2.0
_PATIENCE = {"timeout": 1.0, "connect-timeout": 1.0, "deadline": DEADLINE_SECONDS}


class Site:
    """The application of one process, over the store that the properties name.

    Args:
        redis: Properties under ``pyfly.session.redis``; None for the memory store.
    """

    def __init__(self, redis: dict[str, Any] | None) -> None:
        store = {"store": "memory"} if redis is None else {"store": "redis"}
        given = {**store, "enabled": True, "creation": "if-required"}
        if redis is not None:
            given["redis"] = {**_PATIENCE, "circuit-pause": 0.2, **redis}
        self.container = create_container({"pyfly": {"session": given}})
        routes = [Route(f"/{each.__name__}", each) for each in (read, add, rotate, logout)]
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
            answer = await Connection(self.app, path, cookie=cookie).run()
            status = answer.status
        except Exception as error:  # noqa: BLE001 - it is what we count
            tally.odd.append(f"{path.partition('?')[0]}: {error!r}")
            return None
        seconds = time.monotonic() - began
        tally.slowest = max(tally.slowest, seconds)
        tally.late += seconds > LONGEST_SECONDS
        if status == 200:
            tally.acknowledged += 1
        elif 500 <= status < 600:
            tally.failed += 1
        else:
            tally.odd.append(f"{path}: {status}")
        return answer

    async def late(self, path: str, cookie: str, gate: str) -> asyncio.Task[Answer | None]:
        """Start a request that has loaded its session; `open_gate` lets it do the rest."""
        loaded, _ = self._gates[gate] = asyncio.Event(), asyncio.Event()
        task = asyncio.ensure_future(self.ask(f"/late?gate={gate}&do={path}", cookie))
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
        actions = {"add": add, "rotate": rotate, "logout": logout}
        return await actions[request.query_params["do"]](request)

    async def close(self) -> None:
        """Close the connections."""
        await close_sessions(self.container)


async def read(request: Request) -> JSONResponse:
    """Return all attributes."""
    session = request.state.session
    return JSONResponse({name: session.get_attribute(name) for name in session.attribute_names()})


async def add(request: Request) -> JSONResponse:
    """Set one attribute, and count up another."""
    session, query = request.state.session, request.query_params
    session.set_attribute(query.get("name", "written"), 1)
    if counter := query.get("counter"):
        session.set_attribute(counter, (session.get_attribute(counter) or 0) + 1)
    return JSONResponse(None)


async def rotate(request: Request) -> JSONResponse:
    """Change the id, as a login does."""
    request.state.session.rotate_id()
    return JSONResponse(None)


async def logout(request: Request) -> JSONResponse:
    """End the session."""
    request.state.session.invalidate()
    return JSONResponse(None)
