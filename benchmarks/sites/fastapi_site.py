"""FastAPI: bare, and with the sessions of the Redis SDK."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse

from benchmarks import work


def _site(
    session_of: Callable[[Request], Any], actions: dict[str, Callable[[Any], str]] | None = None
) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/untouched")
    async def untouched() -> PlainTextResponse:
        return PlainTextResponse(work.untouched(None))

    def add(name: str, action: Callable[[Any], str]) -> None:
        @app.get(f"/{name}")
        async def handle(request: Request) -> PlainTextResponse:
            return PlainTextResponse(action(session_of(request)))

    for name, action in {**work.ACTIONS, **(actions or {})}.items():
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
    return _site(lambda request: data, {"logout": lambda session: work.USER})


def redis_sdk(url: str, lifetime: int | None = None) -> FastAPI:
    """Return the site with the sessions of ``fastapi-redis-sdk``."""
    os.environ["REDIS_URL"] = url
    from redis_fastapi import FastAPIRedis

    app = _site(lambda request: request.session)
    FastAPIRedis(app).lifespan().sessions()
    return app
