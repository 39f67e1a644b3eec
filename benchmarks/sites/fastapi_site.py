"""FastAPI: bare, and with the sessions of the Redis SDK."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse

from benchmarks import work


def _site(session_of: Callable[[Request], Any], **actions: Callable[[Any], str]) -> FastAPI:
    app = FastAPI(openapi_url=None)

    def add(name: str, action: Callable[[Any], str]) -> None:
        @app.get(f"/{name}")
        async def handle(request: Request) -> PlainTextResponse:
            return PlainTextResponse(action(None if name == "untouched" else session_of(request)))

    for name, action in {**work.ACTIONS, "untouched": lambda _: work.USER, **actions}.items():
        add(name, action)

    @app.get("/mark/{name}")
    async def mark(request: Request, name: str) -> PlainTextResponse:
        session = session_of(request)
        await work.gate.wait()
        return PlainTextResponse(work.mark(session, name))

    return app


def bare(url: str, lifetime: int | None = None) -> FastAPI:
    """Return the site without sessions."""
    data = work.session_data("small")
    return _site(lambda request: data, logout=lambda session: work.USER)


def redis(url: str, lifetime: int | None = None) -> Any:
    """Return the site with the sessions of ``fastapi-redis-sdk``."""
    os.environ["REDIS_URL"] = url
    from redis_fastapi import FastAPIRedis

    app = _site(lambda request: request.session)
    FastAPIRedis(app).lifespan().sessions()
    started: Any = None

    async def site(scope: Any, receive: Any, send: Any) -> None:
        # It needs its lifespan, which is left out where applications are called directly.
        nonlocal started
        if started is None:
            started = app.router.lifespan_context(app)
            if scope["type"] != "lifespan":
                await started.__aenter__()
        await app(scope, receive, send)

    return site
