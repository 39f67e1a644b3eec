"""A cookie that is set over HTTPS goes over HTTPS only, whatever the properties say."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from pyfly_session.auto_configuration import enable_sessions
from pyfly_session.web import SessionCookie, SessionHeader, SessionIdResolvers
from tests.web.conftest import Site
from tests.web.driver import Answer, App, Connection
from tests.web.pages import Page, invalidate

KNOWN = "a" * 32
RESOLVERS: list[dict[str, Any]] = [
    {},
    {"resolver": SessionIdResolvers(SessionHeader(), SessionCookie())},
]


async def page(session: Any) -> None:
    session.set_attribute("seen", True)


async def send(app: App, scheme: str, path: str = "/page", **options: Any) -> Answer:
    connection = Connection(app, path, **options)
    connection.scope["scheme"] = scheme
    return await connection.run()


@pytest.mark.parametrize("foreign", [False, True], ids=["our chain", "foreign chain"])
@pytest.mark.parametrize("options", RESOLVERS, ids=["cookie", "header or cookie"])
class TestEveryChain:
    async def test_it_is_secure_over_https_and_not_over_http(
        self, site: Site, options: dict[str, Any], foreign: bool
    ) -> None:
        await site.configure(**options).seed(KNOWN)
        app = site.app(foreign=foreign, page=page, leave=invalidate)
        for scheme, secure in (("https", True), ("http", False), ("https", True)):
            cookie = (await send(app, scheme, cookie=KNOWN)).own_cookie
            assert cookie.value == KNOWN
            assert ("secure" in cookie.attributes) is secure

    async def test_deletion_too(self, site: Site, options: dict[str, Any], foreign: bool) -> None:
        await site.configure(**options).seed(KNOWN)
        app = site.app(foreign=foreign, page=page, leave=invalidate)
        cookie = (await send(app, "https", "/leave", cookie=KNOWN)).own_cookie
        assert cookie.is_deletion
        assert "secure" in cookie.attributes


async def test_a_handshake_over_tls_sets_a_secure_cookie(site: Site) -> None:
    async def socket(websocket: Any) -> None:
        await websocket.accept()

    app = site.socket(socket)
    for scheme, secure in (("wss", True), ("ws", False)):
        cookie = (await send(app, scheme, "/", kind="websocket")).own_cookie
        assert ("secure" in cookie.attributes) is secure


async def test_a_cookie_that_is_always_secure_is_so_over_http(site: Site) -> None:
    app = site.configure(secure=True).app(page=page)
    assert "secure" in (await send(app, "http")).own_cookie.attributes


async def test_the_scheme_is_the_one_that_the_server_heard_from_its_proxy() -> None:
    config = {"pyfly": {"session": {"enabled": True}}}
    app: Any = enable_sessions(Starlette(routes=[Page("/page", page)]), config=config)
    behind: App = ProxyHeadersMiddleware(app, trusted_hosts="*")
    for forwarded, secure in (("https", True), ("http", False)):
        answer = await send(behind, "http", headers=[("x-forwarded-proto", forwarded)])
        assert ("secure" in answer.own_cookie.attributes) is secure


async def test_a_request_of_another_kind_tells_its_scheme_by_its_url(site: Site) -> None:
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

    response = await site.filter.do_filter(Foreign(), call_next)
    assert "; Secure" in response.headers["set-cookie"]
