"""A cookie that is set over HTTPS goes over HTTPS only, whatever the properties say."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from pyfly_session.auto_configuration import enable_sessions
from pyfly_session.web import SessionCookie, SessionHeader, SessionIdResolvers
from tests.web.conftest import Site
from tests.web.driver import Answer, App, Connection, SetCookie

KNOWN = "a" * 32
RESOLVERS: list[dict[str, Any]] = [
    {},
    {"resolver": SessionIdResolvers(SessionHeader(), SessionCookie())},
]


async def page(request: Request) -> Response:
    request.state.session.set_attribute("seen", True)
    return PlainTextResponse("ok")


async def leave(request: Request) -> Response:
    request.state.session.invalidate()
    return PlainTextResponse("bye")


async def send(app: App, scheme: str, path: str = "/page", **options: Any) -> Answer:
    connection = Connection(app, path, **options)
    connection.scope["scheme"] = scheme
    return await connection.run()


def application(site: Site, *, foreign: bool) -> App:
    if not foreign:
        return site.app(page=page, leave=leave)
    app = Starlette(routes=[Route("/page", page), Route("/leave", leave)])
    app.add_middleware(BaseHTTPMiddleware, dispatch=site.filter.do_filter)
    return app


def cookie_of(answer: Answer) -> SetCookie:
    cookie = answer.cookie()
    assert cookie is not None
    return cookie


@pytest.mark.parametrize("foreign", [False, True], ids=["our chain", "foreign chain"])
@pytest.mark.parametrize("options", RESOLVERS, ids=["cookie", "header or cookie"])
class TestEveryChain:
    async def test_it_is_secure_over_https_and_not_over_http(
        self, memory_site: Site, options: dict[str, Any], foreign: bool
    ) -> None:
        await memory_site.configure(**options).seed(KNOWN)
        app = application(memory_site, foreign=foreign)
        for scheme, secure in (("https", True), ("http", False), ("https", True)):
            cookie = cookie_of(await send(app, scheme, cookie=KNOWN))
            assert cookie.value == KNOWN
            assert ("secure" in cookie.attributes) is secure

    async def test_its_deletion_is_so_too(
        self, memory_site: Site, options: dict[str, Any], foreign: bool
    ) -> None:
        await memory_site.configure(**options).seed(KNOWN)
        app = application(memory_site, foreign=foreign)
        cookie = cookie_of(await send(app, "https", "/leave", cookie=KNOWN))
        assert cookie.is_deletion
        assert "secure" in cookie.attributes


async def test_a_handshake_over_tls_sets_a_secure_cookie(memory_site: Site) -> None:
    async def socket(websocket: Any) -> None:
        await websocket.accept()

    app = memory_site.socket(socket)
    for scheme, secure in (("wss", True), ("ws", False)):
        cookie = cookie_of(await send(app, scheme, "/", kind="websocket"))
        assert ("secure" in cookie.attributes) is secure


async def test_a_cookie_that_is_always_secure_is_so_over_http(memory_site: Site) -> None:
    app = memory_site.configure(secure=True).app(page=page)
    assert "secure" in cookie_of(await send(app, "http")).attributes


async def test_the_scheme_is_the_one_that_the_server_heard_from_its_proxy() -> None:
    config = {"pyfly": {"session": {"enabled": True}}}
    app: Any = enable_sessions(Starlette(routes=[Route("/page", page)]), config=config)
    behind: App = ProxyHeadersMiddleware(app, trusted_hosts="*")
    for forwarded, secure in (("https", True), ("http", False)):
        answer = await send(behind, "http", headers=[("x-forwarded-proto", forwarded)])
        assert ("secure" in cookie_of(answer).attributes) is secure


async def test_a_request_of_another_kind_tells_its_scheme_by_its_url(memory_site: Site) -> None:
    class Url:
        scheme = "https"
        path = "/"

    class Foreign:
        method = "GET"
        url = Url()
        headers: dict[str, str] = {}  # noqa: RUF012 - not changed
        cookies: dict[str, str] = {}  # noqa: RUF012 - not changed

        class state:  # noqa: N801 - an attribute
            pass

    async def call_next(request: Any) -> Response:
        return PlainTextResponse("ok")

    response = await memory_site.filter.do_filter(Foreign(), call_next)
    assert "; Secure" in response.headers["set-cookie"]
