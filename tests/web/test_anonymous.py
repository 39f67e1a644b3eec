"""``on_store_error="anonymous"``: pages go on without their session when the store is down."""

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.websockets import WebSocket

from pyfly_session import SessionStoreError
from tests.web.conftest import Site
from tests.web.driver import ask

KNOWN = "a" * 32


async def logout(session: Any) -> Response:
    session.invalidate()
    return PlainTextResponse("bye")


async def fail(request: Request) -> Response:
    request.state.session.set_attribute("user", "bob")
    raise ValueError("mine")


HANDLERS: dict[str, Any] = {
    "read": lambda session: JSONResponse([session.get_attribute("user"), session.transient]),
    "write": lambda session: session.set_attribute("user", "bob"),
    "rotate": lambda session: session.rotate_id(),
    "logout": logout,
    "fail": fail,
}


@pytest.fixture
async def tolerant(site: Site) -> Site:
    await site.seed(KNOWN, user="alice")
    return site.configure(on_store_error="anonymous")


async def test_reader_with_a_dead_store_is_anonymous_and_keeps_the_cookie(
    tolerant: Site, caplog: Any
) -> None:
    tolerant.probe.fail()
    answer = await ask(tolerant.app(**HANDLERS), "/read", cookie=KNOWN)
    assert (answer.status, answer.text, answer.cookie()) == (200, "[null,true]", None)
    assert answer.get("vary") == "Cookie"
    assert "a request goes on without its session" in caplog.text
    assert KNOWN not in caplog.text


async def test_session_is_back_with_the_store(tolerant: Site) -> None:
    app = tolerant.app(**HANDLERS)
    tolerant.probe.fail()
    await ask(app, "/write", cookie=KNOWN)
    await ask(app, "/rotate", cookie=KNOWN)
    tolerant.probe.recover()
    answer = await ask(app, "/read", cookie=KNOWN)
    assert (answer.text, answer.session_id) == ('["alice",false]', KNOWN)


async def test_new_visitor_is_served_without_a_session(tolerant: Site) -> None:
    tolerant.probe.fail()
    for path in ("/read", "/write"):
        answer = await ask(tolerant.app(**HANDLERS), path)
        assert (answer.status, answer.cookie()) == (200, None)


async def test_nothing_is_saved_even_if_the_store_recovers_meanwhile(tolerant: Site) -> None:
    async def page(session: Any) -> None:
        tolerant.probe.recover()
        session.set_attribute("user", "bob")

    tolerant.probe.fail()
    tolerant.probe.calls.clear()
    answer = await ask(tolerant.app(page=page), "/page", cookie=KNOWN)
    assert (answer.status, answer.cookie(), len(tolerant.probe.calls)) == (200, None, 1)
    assert await tolerant.stored(KNOWN) == {"user": "alice"}


async def test_logout_that_cannot_reach_the_session_is_no_200(tolerant: Site) -> None:
    """Else the browser would read "bye" while whoever has the id stays logged in."""
    tolerant.probe.fail()
    answer = await ask(tolerant.app(**HANDLERS), "/logout", cookie=KNOWN)
    assert (answer.status, answer.get("retry-after")) == (503, "5")
    assert await tolerant.stored(KNOWN) == {"user": "alice"}


async def test_logout_of_a_visitor_without_a_session_is_fine(tolerant: Site) -> None:
    tolerant.probe.fail()
    assert (await ask(tolerant.app(**HANDLERS), "/logout")).status == 200


async def test_loaded_session_that_cannot_be_saved_is_no_200(tolerant: Site) -> None:
    async def page(session: Any) -> None:
        session.set_attribute("user", "bob")
        tolerant.probe.fail()

    answer = await ask(tolerant.app(page=page), "/page", cookie=KNOWN)
    assert (answer.status, await tolerant.stored(KNOWN)) == (503, {"user": "alice"})


async def test_error_of_the_handler_is_what_surfaces(tolerant: Site) -> None:
    tolerant.probe.fail()
    answer = await ask(tolerant.app(**HANDLERS), "/fail", cookie=KNOWN, swallow=True)
    assert (answer.status, type(answer.error)) == (500, ValueError)


async def test_socket_is_anonymous_too(tolerant: Site) -> None:
    seen = []

    async def handler(websocket: WebSocket) -> None:
        seen.append(websocket.state.session.get_attribute("user"))
        await websocket.accept()
        websocket.state.session.set_attribute("late", 1)

    tolerant.probe.fail()
    answer = await ask(tolerant.socket(handler), kind="websocket", cookie=KNOWN)
    assert [each["type"] for each in answer.messages] == ["websocket.accept"]
    assert (answer.cookie(), seen) == (None, [None])


async def test_logout_after_the_head_is_reported(tolerant: Site) -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        websocket.state.session.invalidate()

    tolerant.probe.fail()
    answer = await ask(tolerant.socket(handler), kind="websocket", cookie=KNOWN, swallow=True)
    assert isinstance(answer.error, SessionStoreError)
