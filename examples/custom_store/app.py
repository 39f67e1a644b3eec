"""A counter whose sessions outlive the process: they are in a SQLite file."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlite_store import SqliteSessionStore
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pyfly_session.auto_configuration import SessionContainer, enable_sessions


async def visits(request: Request) -> PlainTextResponse:
    count = request.state.session.update_attribute("visits", lambda visits: (visits or 0) + 1)
    return PlainTextResponse(f"visit {count}\n")


def create_app(path: str | Path) -> Starlette:
    """Return the application, whose sessions are in the file at ``path``."""
    store = SqliteSessionStore(str(path))

    @asynccontextmanager
    async def closing(app: Starlette) -> AsyncIterator[None]:
        yield
        store.close()

    app = Starlette(routes=[Route("/", visits)], lifespan=closing)
    config = {"pyfly": {"session": {"enabled": True, "ttl": 3600}}}
    return enable_sessions(app, SessionContainer(session_store=store, config=config))


if __name__ == "__main__":
    import uvicorn

    file = sys.argv[1] if sys.argv[1:] else "sessions.db"
    uvicorn.run(create_app(file), port=int(os.environ.get("PORT", "8000")))
