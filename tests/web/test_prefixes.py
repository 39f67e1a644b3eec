"""Guards and exclusions see the path that routes see, below whatever an application is served."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from dependency_injector import providers
from fastapi import FastAPI
from starlette._utils import get_route_path
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from pyfly_session.auto_configuration import enable_sessions
from pyfly_session.management import Management
from pyfly_session.web import (
    HIGHEST_PRECEDENCE,
    CallNext,
    OncePerRequestFilter,
    WebFilterChainMiddleware,
    route_path,
)
from pyfly_session.web.paths import browser_path
from tests.support.cases import for_each
from tests.web.driver import Answer, App, Connection

WAGES = "wages of everybody"


class StaffOnly(OncePerRequestFilter):
    """A guard as the docs show it; everybody is kept out."""

    __pyfly_order__ = HIGHEST_PRECEDENCE + 200
    url_patterns = ("/staff", "/staff/*")

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        return PlainTextResponse("no", 401)


async def wages(request: Request) -> Response:
    return PlainTextResponse(WAGES)


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(WAGES)


def routes() -> list[Any]:
    return [
        *(Route(path, wages) for path in ("/staff", "/staff/all", "/ping", "/staff/{rest:path}")),
        WebSocketRoute("/staff/live", socket),
    ]


def guarded(app: Any) -> Any:
    session = {"enabled": True, "exclude-patterns": ["/ping"]}
    app = enable_sessions(app, config={"pyfly": {"session": session}})
    box = app.state.session_container
    box.web_filters.override(providers.List(box.session_filter, providers.Object(StaffOnly())))
    return app


def fastapi(**options: Any) -> FastAPI:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FastAPI(routes=routes(), **options)


def starlette() -> Any:
    return guarded(Starlette(routes=routes()))


def with_root(app: App, root: str) -> App:
    async def served(scope: Any, receive: Any, send: Any) -> None:
        scope["root_path"] = root
        await app(scope, receive, send)

    return served


# An application, and what a browser puts before the path.
SERVED: dict[str, tuple[Callable[[], App], str]] = {
    "alone": (starlette, ""),
    "mounted": (lambda: Starlette(routes=[Mount("/shop", starlette())]), "/shop"),
    "mounted twice": (
        lambda: Starlette(routes=[Mount("/eu", Starlette(routes=[Mount("/shop", starlette())]))]),
        "/eu/shop",
    ),
    "mounted below a root": (
        lambda: with_root(Starlette(routes=[Mount("/shop", starlette())]), "/eu"),
        "/eu/shop",
    ),
    "guarded outside of the mount": (
        lambda: guarded(Starlette(routes=[Mount("/", Starlette(routes=routes()))])),
        "",
    ),
    "--root-path": (lambda: with_root(starlette(), "/shop"), "/shop"),
    "--root-path, stripped": (lambda: with_root(starlette(), "/shop"), ""),
    "FastAPI(root_path=)": (lambda: guarded(fastapi(root_path="/api")), "/api"),
    "FastAPI(root_path=), stripped": (lambda: guarded(fastapi(root_path="/api")), ""),
    "FastAPI(root_path=) in a chain": (
        lambda: WebFilterChainMiddleware(fastapi(root_path="/api"), [StaffOnly()]),
        "/api",
    ),
    "FastAPI(root_path=) in a chain, stripped": (
        lambda: WebFilterChainMiddleware(fastapi(root_path="/api"), [StaffOnly()]),
        "",
    ),
}
served = for_each(("make", "prefix"), SERVED.values())


async def ask(app: App, path: str, *, kind: str = "http") -> Answer:
    return await Connection(app, path, kind=kind, swallow=True).run()


@served
async def test_a_guard_holds(make: Callable[[], App], prefix: str) -> None:
    """Whatever gets to the page gets past the guard first."""
    app = make()
    assert (await ask(app, f"{prefix}/ping")).text == WAGES, "else this test would show nothing"
    for path in ("/staff", "/staff/all", "/staff/x/y"):
        assert (await ask(app, prefix + path)).status == 401, path


async def test_a_line_end_behind_a_path_gets_around_no_guard() -> None:
    """Starlette's routes match such a path, too."""
    assert (await ask(Starlette(routes=routes()), "/staff\n")).text == WAGES
    assert (await ask(starlette(), "/staff\n")).status == 401


@for_each("path", ["/shop//staff\n", "/shop//staff/all\n", "/shop/staff\n", "/shop/\n/staff"])
async def test_a_line_end_gets_around_no_guard_outside_of_a_mount(path: str) -> None:
    """A Mount does not count it, and hands on what is the path of the page."""
    mounted = Starlette(routes=[Mount("/shop", Starlette(routes=routes()))])
    assert (await ask(mounted, "/shop//staff\n")).text == WAGES, "else this test would show nothing"
    guard = StaffOnly()
    guard.url_patterns = ("/shop/staff", "/shop/staff/*")
    assert (await ask(WebFilterChainMiddleware(mounted, [guard]), path)).status == 401


@served
@for_each(
    "path",
    [
        "{0}{0}/staff", "/{0}/staff", "{0}//staff", "{0}/staff/", "{0}/Staff", "{0}/./staff",
        "{0}/ping/../staff", "{0}/staff;x", "{0}x/staff", "{0}\n/staff", "{0}/staff\n\n",
        "/shop/staff", "/api/staff", "/eu/staff", "/staff", "/staff\n", "{0}/staff/\n\n",
    ],
)  # fmt: skip
async def test_no_spelling_passes_a_guard(make: Callable[[], App], prefix: str, path: str) -> None:
    answer = await ask(make(), path.format(prefix))
    assert WAGES not in answer.text


@served
async def test_a_guard_holds_for_websockets(make: Callable[[], App], prefix: str) -> None:
    answer = await ask(make(), f"{prefix}/staff/live", kind="websocket")
    assert all(WAGES not in str(each) for each in answer.messages)


@served
async def test_an_excluded_path_has_no_session(make: Callable[[], App], prefix: str) -> None:
    answer = await ask(make(), f"{prefix}/ping")
    assert (answer.text, answer.cookie()) == (WAGES, None)


@for_each("root", ["", "/", "/eu", "/eu/", "/eu/shop", "eu"])
@for_each(
    "path", ["/", "/eu", "/eu/", "/eux", "/eu/shop", "/eu/shop/a", "/eu/eu/a", "/shop", "//eu/a"]
)
def test_the_path_is_that_of_starlettes_routes(root: str, path: str) -> None:
    """An empty one is the application's first page, however its framework calls it."""
    scope = {"type": "http", "path": path, "root_path": root}
    assert route_path(scope) == (get_route_path(scope) or "/")


@for_each(
    ("path", "root", "asked"),
    [
        ("/a", "", "/a"), ("/eu/a", "/eu", "/eu/a"), ("/a", "/eu", "/eu/a"), ("/eu", "/eu", "/eu"),
        ("/eu/", "/eu", "/eu/"), ("/", "/eu", "/eu/"),
    ],
)  # fmt: skip
def test_the_browser_sees_what_a_proxy_stripped(path: str, root: str, asked: str) -> None:
    assert browser_path({"path": path, "root_path": root}) == asked


@for_each("root", ["", "/eu"])
async def test_the_health_of_a_mounted_endpoint_is_open_to_everybody(root: str) -> None:
    app = starlette()
    management = Management(app.state.session_container, open_health=True)
    mounted = with_root(Starlette(routes=[Mount("/manage", management)]), root)
    assert (await ask(mounted, f"{root}/manage/health")).status == 200
    assert (await ask(mounted, f"{root}/manage/counts")).status == 404
