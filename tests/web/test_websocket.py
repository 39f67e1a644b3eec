"""Sessions over WebSocket: the handshake carries the cookie, the end keeps the changes."""

from typing import Any

from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from pyfly_session import SessionReadOnlyError, SessionStoreError, WebFilterChainMiddleware
from tests.support.cases import for_each
from tests.web.conftest import EACH_STORE, Site
from tests.web.driver import Answer, Connection, ask

KNOWN = "a" * 32
DENIAL: dict[str, Any] = {"websocket.http.response": {}}


async def connect(site: Site, handler: Any, **options: Any) -> Answer:
    return await ask(site.socket(handler), kind="websocket", **options)


def kinds(answer: Answer) -> list[str]:
    return [each["type"] for each in answer.messages]


async def test_session_is_there_and_the_cookie_comes_with_accept(site: Site) -> None:
    async def handler(websocket: WebSocket) -> None:
        websocket.state.session.set_attribute("user", "alice")
        await websocket.accept(headers=[(b"x-mine", b"1")])
        await websocket.close()

    answer = await connect(site, handler)
    assert kinds(answer) == ["websocket.accept", "websocket.close"]
    assert await site.stored(answer.session_id) == {"user": "alice"}
    assert (answer.get("vary"), answer.get("x-mine")) == ("Cookie", "1")


async def test_socket_reads_what_a_request_stored(site: Site) -> None:
    seen = []

    async def handler(websocket: WebSocket) -> None:
        seen.append((websocket.state.session.get_attribute("user"), websocket.session["user"]))
        await websocket.accept()

    await site.seed(KNOWN, user="alice")
    answer = await connect(site, handler, cookie=KNOWN)
    assert (seen, answer.session_id) == ([("alice", "alice")], KNOWN)


async def test_changes_before_the_client_hung_up_are_kept(site: Site) -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        websocket.state.session.set_attribute("late", 1)
        await websocket.receive_text()

    await site.seed(KNOWN)
    answer = await connect(site, handler, cookie=KNOWN, swallow=True)
    assert (type(answer.error), await site.stored(KNOWN)) == (WebSocketDisconnect, {"late": 1})


@EACH_STORE
async def test_open_socket_does_not_revive_a_session_that_was_logged_out(site: Site) -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()
        websocket.state.session.set_attribute("late", 1)

    await site.seed(KNOWN)
    app = site.app(WebSocketRoute("/", handler), logout=lambda session: session.invalidate())
    incoming = [{"type": "websocket.connect"}]
    socket = Connection(app, kind="websocket", cookie=KNOWN, incoming=incoming).start()
    await socket.started()
    await ask(app, "/logout", cookie=KNOWN)
    socket.receive({"type": "websocket.receive", "text": "go"})
    await socket.end()
    assert await site.stored(KNOWN) is None


async def test_rotation_before_accept_reaches_the_browser(site: Site) -> None:
    async def handler(websocket: WebSocket) -> None:
        websocket.state.session.rotate_id()
        await websocket.accept()

    await site.seed(KNOWN, user="alice")
    answer = await connect(site, handler, cookie=KNOWN)
    assert await site.stored(KNOWN) is None
    assert await site.stored(answer.session_id) == {"user": "alice"}


async def test_rotation_after_accept_raises_and_changes_nothing(site: Site) -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        websocket.state.session.rotate_id()

    await site.seed(KNOWN, user="alice")
    answer = await connect(site, handler, cookie=KNOWN, swallow=True)
    assert isinstance(answer.error, SessionReadOnlyError)
    assert await site.stored(KNOWN) == {"user": "alice"}


@for_each("ending", ["close", "raise", "nothing"])
async def test_rotation_without_accept_logs_nobody_out(site: Site, ending: str) -> None:
    async def handler(websocket: WebSocket) -> None:
        websocket.state.session.rotate_id()
        if ending == "close":
            await websocket.close(1008)
        elif ending == "raise":
            raise ValueError("mine")

    await site.seed(KNOWN, user="alice")
    answer = await connect(site, handler, cookie=KNOWN, swallow=True)
    assert isinstance(answer.error, ValueError) == (ending == "raise")
    assert await site.stored(KNOWN) == {"user": "alice"}


@for_each("ending", ["close", "raise"])
@for_each("rotated", [True, False])
async def test_logout_without_accept_holds(site: Site, ending: str, rotated: bool) -> None:
    async def handler(websocket: WebSocket) -> None:
        if rotated:
            websocket.state.session.rotate_id()
        websocket.state.session.invalidate()
        if ending == "raise":
            raise ValueError("mine")
        await websocket.close(1008)

    await site.seed(KNOWN, user="alice")
    await connect(site, handler, cookie=KNOWN, swallow=True)
    assert await site.stored(KNOWN) is None


async def test_socket_that_is_refused_creates_no_session(site: Site) -> None:
    async def handler(websocket: WebSocket) -> None:
        websocket.state.session.set_attribute("user", "alice")
        await websocket.close(1008)

    answer = await connect(site, handler)
    assert (kinds(answer), site.probe.calls) == (["websocket.close"], [])


async def test_denial_response_carries_the_cookie(site: Site) -> None:
    async def handler(websocket: WebSocket) -> None:
        websocket.state.session.set_attribute("tried", 1)
        await websocket.send_denial_response(PlainTextResponse("no", status_code=403))

    answer = await connect(site, handler, extensions=DENIAL)
    assert kinds(answer) == ["websocket.http.response.start", "websocket.http.response.body"]
    assert (answer.status, await site.stored(answer.session_id)) == (403, {"tried": 1})


async def untouched(websocket: WebSocket) -> None:
    await websocket.accept()


async def written(websocket: WebSocket) -> None:
    websocket.state.session.set_attribute("user", "alice")
    await websocket.accept()


async def stubborn(websocket: WebSocket) -> None:
    websocket.state.session.set_attribute("user", "alice")
    try:
        await websocket.accept()
    except SessionStoreError:
        return


@for_each("handler", [untouched, written, stubborn])
@for_each("cookie", [None, KNOWN])
async def test_dead_store_closes_the_socket_with_1013_or_denies_with_503(
    site: Site, handler: Any, cookie: str | None
) -> None:
    site.probe.fail()
    answer = await connect(site, handler, cookie=cookie)
    assert (kinds(answer), answer.messages[0]["code"]) == (["websocket.close"], 1013)
    answer = await connect(site, handler, cookie=cookie, extensions=DENIAL)
    assert (answer.status, answer.get("retry-after"), answer.cookie()) == (503, "5", None)


async def test_handler_that_closes_by_itself_is_not_closed_twice(site: Site) -> None:
    async def handler(websocket: WebSocket) -> None:
        websocket.state.session.set_attribute("user", "alice")
        try:
            await websocket.accept()
        except SessionStoreError:
            # Its own state machine believes that the socket was accepted.
            await websocket.send({"type": "websocket.close", "code": 1011})

    site.probe.fail()
    answer = await connect(site, handler)
    assert kinds(answer) == ["websocket.close"]


async def test_refused_socket_with_a_dead_store_is_closed_once(site: Site) -> None:
    async def handler(websocket: WebSocket) -> None:
        websocket.state.session.set_attribute("user", "alice")
        site.probe.fail()
        await websocket.close(1008)

    await site.seed(KNOWN)
    answer = await connect(site, handler, cookie=KNOWN)
    assert [each.get("code") for each in answer.messages] == [1008]


async def test_write_that_fails_after_accept_is_reported(site: Site) -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        websocket.state.session.set_attribute("late", 1)
        site.probe.fail()

    await site.seed(KNOWN)
    answer = await connect(site, handler, cookie=KNOWN, swallow=True)
    assert isinstance(answer.error, SessionStoreError)


async def test_application_may_receive_after_disconnect_as_often_as_it_likes(site: Site) -> None:
    """What the server allows, the chain allows: it does not watch over the protocol."""
    received = []

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            received.append((await receive())["type"])  # noqa: PERF401 - one after the other

    gone = {"type": "websocket.disconnect", "code": 1001}
    incoming = [{"type": "websocket.connect"}, gone, gone]
    app = WebFilterChainMiddleware(bare, [site.filter])
    await ask(app, kind="websocket", incoming=incoming)
    assert received == ["websocket.connect", "websocket.disconnect", "websocket.disconnect"]
