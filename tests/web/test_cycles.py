"""A request leaves nothing behind for the garbage collector."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket

from pyfly_session import SessionStoreError, WebFilterChainMiddleware
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import COOKIE
from tests.web.pages import invalidate, rotate

KNOWN = "a" * 32


@pytest.fixture
def collector_off() -> Iterator[None]:
    # A log record that pytest keeps would keep the error, and hide what hangs on it.
    logging.disable()
    gc.disable()
    # What was there before is not looked at: by now that may be a million objects.
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()
    logging.disable(logging.NOTSET)


async def read(session: Any) -> None:
    session.get_attribute("user")


async def write(session: Any) -> None:
    session.set_attribute("user", ["bob"])


async def fail(session: Any) -> None:
    session.set_attribute("user", "bob")
    raise ValueError("mine")


async def rotate_and_fail(session: Any) -> None:
    session.rotate_id()
    raise ValueError("mine")


async def unencodable(session: Any) -> None:
    session.set_attribute("broken", object())


HANDLERS = [read, write, invalidate, rotate, fail, rotate_and_fail, unencodable]


def scope_of(kind: str, *, known: bool) -> dict[str, Any]:
    headers = [(b"cookie", f"{COOKIE}={KNOWN}".encode())] if known else []
    return {
        "type": kind, "method": "GET", "path": "/", "query_string": b"", "headers": headers,
        "subprotocols": [],
    }  # fmt: skip


async def receive() -> dict[str, Any]:
    return {"type": "websocket.connect"}


async def send(message: Any) -> None:
    await asyncio.sleep(0)


async def garbage_of(run: Callable[[], Awaitable[None]]) -> int:
    """Count the objects that only the collector can free after some requests."""
    await run()
    gc.collect()
    for _ in range(5):
        await run()
    return gc.collect()


@pytest.mark.usefixtures("collector_off")
@for_each("known", [True, False])
@for_each("handler", HANDLERS)
async def test_request_leaves_no_cycle(site: Site, handler: Any, known: bool) -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        await handler(scope["state"]["session"])
        await PlainTextResponse("ok")(scope, receive, send)

    app = WebFilterChainMiddleware(page, [site.filter])

    async def run() -> None:
        await site.seed(KNOWN, user=["alice"])
        try:
            await app(scope_of("http", known=known), receive, send)
        except (ValueError, TypeError):
            return

    assert await garbage_of(run) == 0


@pytest.mark.usefixtures("collector_off")
@for_each("handler", [read, write, invalidate, fail])
async def test_socket_leaves_no_cycle(site: Site, handler: Any) -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        await handler(socket.state.session)

    app = WebFilterChainMiddleware(page, [site.filter])

    async def run() -> None:
        await site.seed(KNOWN, user=["alice"])
        try:
            await app(scope_of("websocket", known=True), receive, send)
        except ValueError:
            return

    assert await garbage_of(run) == 0


@pytest.mark.usefixtures("collector_off")
@for_each("policy", ["fail", "anonymous"])
@for_each("when", ["load", "commit", "late", "update"])
async def test_dead_store_leaves_no_cycle(site: Site, when: str, policy: str) -> None:
    site.configure(on_store_error=policy)

    async def page(scope: Any, receive: Any, send: Any) -> None:
        site.probe.fail()
        if when == "update":
            Request(scope).state.session.update_attribute("visits", lambda n: (n or 0) + 1)
        else:
            Request(scope).state.session.set_attribute("user", "bob")
        if when == "late":
            site.probe.recover()
        await PlainTextResponse("ok")(scope, receive, send)
        site.probe.fail()
        Request(scope).state.session.invalidate()

    app = WebFilterChainMiddleware(page, [site.filter])

    async def run() -> None:
        site.probe.recover()
        site.probe.calls.clear()
        await site.seed(KNOWN, user=["alice"])
        if when == "load":
            site.probe.fail()
        try:
            await app(scope_of("http", known=True), receive, send)
        except SessionStoreError:
            return

    assert await garbage_of(run) == 0


@pytest.mark.usefixtures("collector_off")
async def test_nested_chains_leave_no_cycle(site: Site) -> None:
    inner = WebFilterChainMiddleware(PlainTextResponse("ok"), [site.filter])
    app = WebFilterChainMiddleware(inner, [site.filter])

    async def run() -> None:
        await app(scope_of("http", known=False), receive, send)

    assert await garbage_of(run) == 0


@pytest.mark.usefixtures("collector_off")
async def test_cancelled_request_leaves_no_cycle(site: Site) -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["session"].invalidate()
        await asyncio.Event().wait()

    app = WebFilterChainMiddleware(page, [site.filter])

    async def run() -> None:
        await site.seed(KNOWN, user=["alice"])
        task = asyncio.ensure_future(app(scope_of("http", known=True), receive, send))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        await site.filter.repository.drain()

    assert await garbage_of(run) == 0
