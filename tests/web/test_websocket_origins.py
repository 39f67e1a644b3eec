"""Whose pages may open a WebSocket with a session: a page of another site reads nothing."""

import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from pyfly_session import ConfigurationError, enable_sessions
from pyfly_session.config import bind_properties
from pyfly_session.web import SessionCookie, SessionHeader, WebSocketRules
from tests.support.cases import for_each
from tests.support.types import Log
from tests.web.conftest import Site
from tests.web.driver import Answer, Connection, ask

KNOWN = "a" * 32
DENIAL: dict[str, Any] = {"websocket.http.response": {}}
FOREIGN = "https://evil.example"


class Service:
    """A WebSocket that tells what it has seen of the application."""

    def __init__(self, site: Site, **rules: Any) -> None:
        self.opened = 0
        self.app = site.configure(websocket=WebSocketRules(**rules)).socket(self.serve)

    async def serve(self, websocket: WebSocket) -> None:
        self.opened += 1
        await websocket.accept()

    async def open(
        self, origin: str | None, *, host: str | None = None, cookie: str | None = KNOWN,
        **more: Any,
    ) -> Answer:  # fmt: skip
        headers = [] if origin is None else [("Origin", origin)]
        socket = Connection(
            self.app, kind="websocket", cookie=cookie, headers=headers + more.pop("headers", []),
            **more,
        )  # fmt: skip
        if host is not None:
            socket.scope["headers"][0] = (b"host", host.encode())
        return await socket.run()


def is_open(answer: Answer) -> bool:
    return bool(answer.messages[0]["type"] == "websocket.accept")


async def test_id_that_comes_over_https_alone_opens_nothing_for_foreign_page(site: Site) -> None:
    plain = SessionCookie("sid")

    class TwoCookies:
        over_https = SessionCookie("__Secure-sid", secure=True)
        vary = plain.vary
        candidates, issue, expire = plain.candidates, plain.issue, plain.expire

    await site.seed(KNOWN, user="alice")
    site.configure(resolver=TwoCookies())
    service = Service.__new__(Service)
    service.opened, service.app = 0, site.socket(service.serve)
    for origin, opened in ((FOREIGN, 0), ("https://example.test", 1)):
        socket = Connection(
            service.app, kind="websocket", cookie=None,
            headers=[("Origin", origin), ("Cookie", f"__Secure-sid={KNOWN}")],
        )  # fmt: skip
        socket.scope["scheme"] = "wss"
        socket.scope["headers"][0] = (b"host", b"example.test")
        await socket.run()
        assert service.opened == opened


@for_each(
    ("origin", "host"),
    [
        ("https://example.test", "example.test"), ("http://example.test", "example.test"),
        ("HTTPS://Example.Test", "EXAMPLE.test"), ("https://example.test", "example.test:443"),
        ("https://example.test:443", "example.test"), ("http://example.test:80", "example.test"),
        ("http://localhost:8000", "localhost:8000"), ("http://[::1]:8000", "[::1]:8000"),
    ],
)  # fmt: skip
async def test_page_of_the_same_host_may(site: Site, origin: str, host: str) -> None:
    assert is_open(await Service(site).open(origin, host=host))


@for_each(
    ("origin", "host"),
    [
        (FOREIGN, "example.test"),
        ("https://www.example.test", "example.test"),
        ("https://example.test.evil.example", "example.test"),
        ("http://localhost:3000", "localhost:8000"),
        ("https://example.test:8443", "example.test"),
        ("null", "example.test"),
        ("", "example.test"),
        ("example.test", "example.test"),
        ("chrome-extension://example.test", "example.test"),
        ("https://", ""),
        ("https://evil.example/https://example.test", "example.test"),
    ],
)
async def test_page_of_another_may_not_and_the_application_sees_nothing(
    site: Site, origin: str, host: str, caplog: Log
) -> None:
    await site.seed(KNOWN, user="alice")
    service = Service(site)
    with caplog.at_level(logging.WARNING):
        answer = await service.open(origin, host=host)
    assert [(each["type"], each["code"]) for each in answer.messages] == [("websocket.close", 1008)]
    assert (service.opened, site.probe.calls) == (0, [])
    assert "pyfly.session.websocket.allowed-origins" in caplog.text


async def test_refusal_is_403_where_the_server_can(site: Site) -> None:
    answer = await Service(site).open(FOREIGN, extensions=DENIAL)
    assert (answer.status, answer.cookie()) == (403, None)


async def test_client_that_is_no_browser_sends_no_origin_and_may(site: Site) -> None:
    assert is_open(await Service(site).open(None))


async def test_visitor_without_a_session_may_come_from_anywhere(site: Site) -> None:
    """There is nothing yet that a foreign page could use."""
    answer = await Service(site).open(FOREIGN, cookie=None)
    assert is_open(answer)
    assert answer.session_id != KNOWN


async def test_id_by_header_counts_as_well(site: Site) -> None:
    service = Service(site)
    service.app = site.configure(resolver=SessionHeader()).socket(service.serve)
    answer = await service.open(FOREIGN, cookie=None, headers=[("X-Auth-Token", KNOWN)])
    assert not is_open(answer)


@for_each(
    ("allowed", "origin", "may"),
    [
        (["https://app.example.org"], "https://app.example.org", True),
        (["https://App.example.org"], "https://app.EXAMPLE.org", True),
        (["https://app.example.org"], "https://example.test", True),
        (["https://app.example.org"], "http://app.example.org", False),
        (["https://app.example.org"], FOREIGN, False),
        (["capacitor://localhost"], "capacitor://localhost", True),
        (["*"], FOREIGN, True),
        (["https://*.example.org"], "https://app.example.org", True),
        (["https://*.Example.org"], "https://a.b.EXAMPLE.org", True),
        (["https://*.example.org:8443"], "https://app.example.org:8443", True),
        (["https://*.example.org"], "https://example.org", False),
        (["https://*.example.org"], "http://app.example.org", False),
        (["https://*.example.org"], "https://app.example.org:8443", False),
        (["https://*.example.org"], "https://appexample.org", False),
        (["https://*.example.org"], "https://app.example.org.evil.example", False),
        (["https://*.example.org"], "https://evil.example/.example.org", False),
        (["https://*.example.org"], "https://evil.example#.example.org", False),
        (["https://*.example.org"], "https://user@app.example.org", False),
        (["https://*.example.org"], "https://.example.org", False),
        (["https://*.example.org"], "https://..example.org", False),
        (["https://*.example.org"], "null", False),
    ],
)
async def test_properties_allow_others(allowed: list[str], origin: str, may: bool) -> None:
    async def serve(websocket: WebSocket) -> None:
        await websocket.accept()

    config: Any = {
        "pyfly": {"session": {"enabled": True, "websocket": {"allowed-origins": allowed}}}
    }
    app = enable_sessions(Starlette(routes=[WebSocketRoute("/", serve)]), config=config)
    headers = [("Origin", origin)]
    assert is_open(await ask(app, kind="websocket", cookie=KNOWN, headers=headers)) is may


@for_each(
    "value",
    [
        *("example.org", "https://", "https://a/b", ["*.example.org"], ["https://a*.example.org"]),
        *(["https://*"], ["https://*.*.example.org"], ["https://app.*.org"], ["https://*.a b"]),
    ],
)
def test_what_is_no_origin_is_refused(value: Any) -> None:
    tree: Any = {"pyfly": {"session": {"websocket": {"allowed-origins": value}}}}
    with pytest.raises(ConfigurationError, match="a list of origins"):
        bind_properties(tree)
    if isinstance(value, list):
        with pytest.raises(ConfigurationError, match="allowed_origins must be like"):
            WebSocketRules(allowed_origins=value)


@for_each(
    ("wrong", "message"),
    [
        ({"close_on_session_end": "maybe"}, "close_on_session_end must be 'authenticated'"),
        ({"check_interval": 0}, "check_interval must be more than 0"),
        ({"allowed_origins": "https://shop.example"}, "allowed_origins must be a list"),
        ({"allowed_origins": ["shop.example"]}, "allowed_origins must be like https://host"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"WebSocketRules: {message}") as caught:
        WebSocketRules(**wrong)
    assert caught.value.key in wrong
