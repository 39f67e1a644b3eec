"""The session among other people's code: FastAPI, other middleware, a client with a cookie jar."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pyfly_session import HttpSession, WebFilterChainMiddleware
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Browser, Connection, ask
from tests.web.pages import Page

KNOWN = "a" * 32


def current_session(request: Request) -> HttpSession:
    session: HttpSession = request.state.session
    return session


async def counting(request: Request) -> AsyncIterator[None]:
    yield
    request.state.session.set_attribute("cleaned", 1)


# FastAPI resolves annotations when the route is made, in the module's own names.
CurrentSession = Annotated[HttpSession, Depends(current_session)]
Counting = Annotated[None, Depends(counting)]


def fastapi_app(site: Site) -> FastAPI:
    app = FastAPI(middleware=[Middleware(WebFilterChainMiddleware, filters=[site.filter])])

    @app.post("/login")
    async def login(session: CurrentSession) -> dict[str, bool]:
        session.set_attribute("user", "alice")
        session.rotate_id()
        return {"ok": True}

    @app.get("/who")
    async def who(session: CurrentSession) -> dict[str, Any]:
        return {"user": session.get_attribute("user")}

    @app.get("/threaded")
    def threaded(session: CurrentSession) -> dict[str, Any]:
        session.set_attribute("thread", 1)
        return {"user": session.get_attribute("user")}

    @app.get("/cleanup")
    async def cleanup(session: CurrentSession, _: Counting) -> dict[str, Any]:
        return {"user": session.get_attribute("user")}

    @app.get("/job")
    async def job(session: CurrentSession, tasks: BackgroundTasks) -> dict[str, Any]:
        tasks.add_task(session.set_attribute, "job", "done")
        return {"user": session.get_attribute("user")}

    return app


async def test_fastapi_reads_and_writes_the_session_by_a_dependency(site: Site) -> None:
    browser = Browser(fastapi_app(site))
    await browser.get("/login", method="POST")
    assert (await browser.get("/who")).text == '{"user":"alice"}'


@for_each(("path", "name"), [("/threaded", "thread"), ("/cleanup", "cleaned"), ("/job", "job")])
async def test_fastapi_writes_from_wherever_are_kept(site: Site, path: str, name: str) -> None:
    await site.seed(KNOWN, user="alice")
    assert (await ask(fastapi_app(site), path, cookie=KNOWN)).text == '{"user":"alice"}'
    stored = await site.stored(KNOWN)
    assert stored is not None
    assert name in stored


def with_others(site: Site, handler: Any) -> Starlette:
    """Put buffering and task-starting middleware between the chain and the handler."""

    async def dispatch(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-other"] = str(request.session.get("user"))
        return response

    return Starlette(
        routes=[Page("/", handler)],
        middleware=[
            Middleware(WebFilterChainMiddleware, filters=[site.filter]),
            Middleware(BaseHTTPMiddleware, dispatch=dispatch),
            Middleware(GZipMiddleware, minimum_size=1),
        ],
    )


async def test_session_works_through_other_middleware(site: Site) -> None:
    async def page(request: Request) -> Response:
        async def work() -> None:
            request.session["job"] = "done"

        request.session["user"] = "alice"
        return PlainTextResponse("ok" * 100, background=BackgroundTask(work))

    answer = await ask(with_others(site, page), headers=[("accept-encoding", "gzip")])
    assert answer.get("content-encoding") == "gzip"
    assert (answer.get("vary"), answer.get("x-other")) == ("Accept-Encoding, Cookie", "alice")
    assert await site.stored(answer.session_id) == {"user": "alice", "job": "done"}


async def test_client_that_hangs_up_loses_no_write_behind_other_middleware(site: Site) -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def page(request: Request) -> None:
        request.session["user"] = "bob"
        waiting.set()
        await go_on.wait()

    await site.seed(KNOWN, user="alice")
    connection = Connection(with_others(site, page), cookie=KNOWN).start()
    await waiting.wait()
    connection.receive({"type": "http.disconnect"})
    go_on.set()
    await connection.end()
    assert await site.stored(KNOWN) == {"user": "bob"}
