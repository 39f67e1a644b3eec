"""``on_store_error="anonymous"``: pages go on without their session when the store is down."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.websockets import WebSocket

from pyfly_session import SessionStoreError
from tests.web.conftest import Site
from tests.web.driver import ask

KNOWN = "a" * 32


async def read(request: Request) -> Response:
    session = request.state.session
    return JSONResponse([session.get_attribute("user"), session.transient])


async def write(request: Request) -> Response:
    request.state.session.set_attribute("user", "bob")
    return PlainTextResponse("written")


async def rotate(request: Request) -> Response:
    request.state.session.rotate_id()
    return PlainTextResponse("ok")


async def logout(request: Request) -> Response:
    request.state.session.invalidate()
    return PlainTextResponse("bye")


async def fail(request: Request) -> Response:
    request.state.session.set_attribute("user", "bob")
    raise ValueError("mine")


HANDLERS: dict[str, Any] = {
    "read": read,
    "write": write,
    "rotate": rotate,
    "logout": logout,
    "fail": fail,
}


@pytest.fixture
async def tolerant(site: Site) -> Site:
    await site.seed(KNOWN, user="alice")
    return site.configure(on_store_error="anonymous")


async def test_reader_with_a_dead_store_is_anonymous_and_keeps_the_cookie(tolerant: Site) -> None:
    tolerant.probe.fail()
    answer = await ask(tolerant.app(**HANDLERS), "/read", cookie=KNOWN)
    assert (answer.status, answer.text) == (200, "[null,true]")
    assert answer.cookie() is None
    assert answer.get("vary") == "Cookie"


async def test_session_is_back_with_the_store(tolerant: Site) -> None:
    app = tolerant.app(**HANDLERS)
    tolerant.probe.fail()
    await ask(app, "/write", cookie=KNOWN)
    await ask(app, "/rotate", cookie=KNOWN)
    tolerant.probe.recover()
    answer = await ask(app, "/read", cookie=KNOWN)
    assert answer.text == '["alice",false]'
    assert answer.session_id == KNOWN


async def test_new_visitor_is_served_without_a_session(tolerant: Site) -> None:
    tolerant.probe.fail()
    for path in ("/read", "/write"):
        answer = await ask(tolerant.app(**HANDLERS), path)
        assert answer.status == 200
        assert answer.cookie() is None


async def test_nothing_is_saved_even_if_the_store_recovers_meanwhile(tolerant: Site) -> None:
    async def page(request: Request) -> Response:
        tolerant.probe.recover()
        request.state.session.set_attribute("user", "bob")
        return PlainTextResponse("ok")

    tolerant.probe.fail()
    tolerant.probe.calls.clear()
    answer = await ask(tolerant.app(page=page), "/page", cookie=KNOWN)
    assert (answer.status, answer.cookie()) == (200, None)
    assert len(tolerant.probe.calls) == 1
    assert await tolerant.stored(KNOWN) == {"user": "alice"}


async def test_logout_that_cannot_reach_the_session_is_no_200(tolerant: Site) -> None:
    """Else the browser would read "bye" while whoever has the id stays logged in."""
    tolerant.probe.fail()
    answer = await ask(tolerant.app(**HANDLERS), "/logout", cookie=KNOWN)
    assert answer.status == 503
    assert answer.get("retry-after") == "5"
    assert await tolerant.stored(KNOWN) == {"user": "alice"}


async def test_logout_of_a_visitor_without_a_session_is_fine(tolerant: Site) -> None:
    tolerant.probe.fail()
    assert (await ask(tolerant.app(**HANDLERS), "/logout")).status == 200


async def test_loaded_session_that_cannot_be_saved_is_no_200(tolerant: Site) -> None:
    async def page(request: Request) -> Response:
        request.state.session.set_attribute("user", "bob")
        tolerant.probe.fail()
        return PlainTextResponse("ok")

    answer = await ask(tolerant.app(page=page), "/page", cookie=KNOWN)
    assert answer.status == 503
    assert await tolerant.stored(KNOWN) == {"user": "alice"}


async def test_error_of_the_handler_is_what_surfaces(tolerant: Site) -> None:
    tolerant.probe.fail()
    answer = await ask(tolerant.app(**HANDLERS), "/fail", cookie=KNOWN, swallow=True)
    assert answer.status == 500
    assert isinstance(answer.error, ValueError)


async def test_socket_is_anonymous_too(tolerant: Site) -> None:
    seen = []

    async def handler(websocket: WebSocket) -> None:
        seen.append(websocket.state.session.get_attribute("user"))
        await websocket.accept()
        websocket.state.session.set_attribute("late", 1)

    tolerant.probe.fail()
    answer = await ask(tolerant.socket(handler), kind="websocket", cookie=KNOWN)
    assert [each["type"] for each in answer.messages] == ["websocket.accept"]
    assert answer.cookie() is None
    assert seen == [None]


async def test_logout_after_the_head_is_reported(tolerant: Site) -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        websocket.state.session.invalidate()

    tolerant.probe.fail()
    answer = await ask(tolerant.socket(handler), kind="websocket", cookie=KNOWN, swallow=True)
    assert isinstance(answer.error, SessionStoreError)
