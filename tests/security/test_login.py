"""`login`, `logout` and the filter that restores the context, over every store."""

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from pyfly_session import (
    ConfigurationError,
    HttpSession,
    SecurityContext,
    SessionReadOnlyError,
    SessionStoreUnavailableError,
    WebFilterChainMiddleware,
)
from pyfly_session.security import SecurityContextFilter, login, logout
from pyfly_session.security.oauth2 import OAuth2SessionSecurityFilter
from pyfly_session.web import HIGHEST_PRECEDENCE
from tests.support.cases import for_each
from tests.web.conftest import EACH_STORE, Site
from tests.web.driver import Browser, Connection, ask
from tests.web.pages import Page


async def enter(request: Request) -> PlainTextResponse:
    user = request.query_params["user"]
    await login(request, SecurityContext(user_id=user, roles=["USER"]))
    return PlainTextResponse(request.state.security_context.user_id)


async def leave(request: Request) -> PlainTextResponse:
    await logout(request)
    return PlainTextResponse(str(request.state.security_context.user_id))


async def put(request: Request) -> None:
    session: HttpSession = request.state.session
    for name, value in request.query_params.items():
        session.set_attribute(name, value)


async def who(request: Request) -> PlainTextResponse:
    context: SecurityContext = request.state.security_context
    session: HttpSession = request.state.session
    return PlainTextResponse(f"{context.user_id} {session.get_attribute('cart')}")


async def who_on_socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(str(socket.state.security_context.user_id))
    await socket.close()


def application(site: Site, security: SecurityContextFilter | None = None) -> Starlette:
    filters = [security or SecurityContextFilter(), site.filter]
    return Starlette(
        routes=[
            Page("/", who), Page("/enter", enter), Page("/leave", leave), Page("/put", put),
            WebSocketRoute("/socket", who_on_socket),
        ],
        middleware=[Middleware(WebFilterChainMiddleware, filters=filters)],
    )  # fmt: skip


def test_it_has_the_order_and_the_name_of_the_original() -> None:
    assert OAuth2SessionSecurityFilter is SecurityContextFilter
    assert SecurityContextFilter.__pyfly_order__ == HIGHEST_PRECEDENCE + 225


async def test_a_login_holds_from_request_to_request_until_the_logout(site: Site) -> None:
    browser = Browser(application(site))
    assert (await browser.get("/")).text == "None None"
    assert (await browser.get("/enter?user=alice")).text == "alice"
    assert (await browser.get("/")).text == "alice None"
    assert ((await browser.get("/leave")).text, browser.cookie) == ("None", None)
    assert (await browser.get("/")).text == "None None"


@EACH_STORE
async def test_a_login_changes_the_id_and_ends_the_former_one(site: Site) -> None:
    app = application(site)
    browser = Browser(app)
    await browser.get("/")
    planted = browser.cookie
    await browser.get("/enter?user=alice")
    assert browser.cookie != planted
    assert (await ask(app, "/", cookie=planted)).text == "None None"
    assert await site.stored(planted) is None


async def test_a_second_login_of_the_same_user_changes_the_id_too(site: Site) -> None:
    browser = Browser(application(site))
    await browser.get("/enter?user=alice")
    await browser.get("/put?cart=lamp")
    first = browser.cookie
    await browser.get("/enter?user=alice")
    assert browser.cookie != first
    assert (await browser.get("/")).text == "alice lamp"


async def test_login_as_another_user_leaves_nothing_of_the_former_one(site: Site) -> None:
    browser = Browser(application(site))
    await browser.get("/enter?user=alice")
    await browser.get("/put?cart=lamp&_internal=1")
    await browser.get("/enter?user=bob")
    assert (await browser.get("/")).text == "bob None"
    stored = await site.probe.inner.get(browser.cookie)
    assert set(stored) <= {
        "SECURITY_CONTEXT", "_principal", "_authenticated_at", "_logged_in_from", "_created_at",
        "_last_accessed", "_version",
    }  # fmt: skip
    assert "alice" not in str(stored)


async def test_a_login_that_only_the_context_tells_of_counts_too(site: Site) -> None:
    alice = SecurityContext("alice")
    browser = Browser(application(site), await site.seed(SECURITY_CONTEXT=alice, cart="lamp"))
    assert (await browser.get("/")).text == "alice lamp"
    await browser.get("/enter?user=bob")
    assert (await browser.get("/")).text == "bob None"


async def test_what_an_unreadable_login_left_is_dropped(site: Site) -> None:
    browser = Browser(application(site), await site.seed(SECURITY_CONTEXT="?", cart="lamp"))
    await browser.get("/enter?user=bob")
    assert (await browser.get("/")).text == "bob None"


async def test_principal_and_time_are_recorded_and_go_with_clear(site: Site) -> None:
    async def forget(session: Any) -> None:
        session.clear()

    app = application(site)
    app.router.routes.append(Page("/forget", forget))
    browser = Browser(app)
    await browser.get("/")
    site.clock.advance(5)
    await browser.get("/enter?user=alice")
    stored = await site.probe.inner.get(browser.cookie)
    assert (stored["_principal"], stored["_authenticated_at"]) == ("alice", site.clock())
    await browser.get("/forget")
    stored = await site.probe.inner.get(browser.cookie)
    assert "_principal" not in stored
    assert "_authenticated_at" not in stored


@for_each(
    "garbage",
    [
        {"user_id": "alice", "roles": ["ADMIN"]}, {"is_authenticated": True, "user_id": "alice"},
        "alice", ["alice"], True, SecurityContext(), SecurityContext(user_id=""),
    ],
)  # fmt: skip
async def test_garbage_is_anonymous(site: Site, garbage: Any) -> None:
    browser = Browser(application(site), await site.seed(SECURITY_CONTEXT=garbage))
    assert (await browser.get("/")).text.startswith("None ")


@for_each("user", ["alice", None])
async def test_a_websocket_has_the_context(site: Site, user: str | None) -> None:
    session_id = await site.seed(SECURITY_CONTEXT=SecurityContext(user))
    answer = await Connection(
        application(site), "/socket", kind="websocket", cookie=session_id
    ).run()
    assert answer.messages[1]["text"] == str(user)


async def test_without_sessions_the_error_names_the_property() -> None:
    app = Starlette(
        routes=[Page("/", who)],
        middleware=[Middleware(WebFilterChainMiddleware, filters=[SecurityContextFilter()])],
    )
    with pytest.raises(ConfigurationError, match=r"set pyfly\.session\.enabled to true") as caught:
        await ask(app)
    assert caught.value.key == "pyfly.session.enabled"


@for_each("call", [logout, lambda request: login(request, SecurityContext("a"))])
async def test_login_and_logout_without_a_session_say_what_to_do(call: Any) -> None:
    request = SimpleNamespace(state=SimpleNamespace())
    with pytest.raises(ConfigurationError, match=r"pyfly\.session\.enabled"):
        await call(request)


async def test_paths_without_a_session_are_anonymous(site: Site) -> None:
    async def health(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.state.security_context.is_authenticated))

    site.configure(exclude_patterns=["/health"])
    app = application(site, SecurityContextFilter(without_session=["/health"]))
    app.router.routes.append(Page("/health", health))
    assert (await ask(app, "/health")).text == "False"


async def test_what_an_earlier_filter_found_stays_unless_somebody_is_logged_in() -> None:
    token = SecurityContext("machine")
    for stored, expected in ((None, "machine"), (SecurityContext("alice"), "alice")):
        session = HttpSession("a" * 32, {"SECURITY_CONTEXT": stored} if stored else {})
        request = SimpleNamespace(state=SimpleNamespace(session=session, security_context=token))

        async def rest(request: Any) -> Any:
            return request.state.security_context.user_id

        assert await SecurityContextFilter().do_filter(request, rest) == expected


async def test_an_ended_session_is_anonymous() -> None:
    session = HttpSession("a" * 32, {"SECURITY_CONTEXT": SecurityContext("alice")})
    session.invalidate()
    request = SimpleNamespace(state=SimpleNamespace(session=session))

    async def rest(request: Any) -> Any:
        return request.state.security_context

    assert await SecurityContextFilter().do_filter(request, rest) == SecurityContext()


async def test_nobody_cannot_be_logged_in() -> None:
    request = SimpleNamespace(state=SimpleNamespace(session=HttpSession("a" * 32)))
    for nobody in (SecurityContext(), SecurityContext(user_id="")):
        with pytest.raises(ValueError, match="user_id is empty"):
            await login(request, nobody)


@for_each("user", ["alice", None, {"user_id": "alice"}, SecurityContext])
async def test_what_is_no_context_is_refused_with_the_one_that_is_meant(user: Any) -> None:
    session = HttpSession("an-id", {"cart": "tea"})
    state = SimpleNamespace(session=session)
    with pytest.raises(TypeError) as caught:
        await login(SimpleNamespace(state=state), user)
    assert str(caught.value) == (
        f"login needs a SecurityContext, got {type(user).__name__};"
        ' SecurityContext(user_id="alice") is one'
    )
    assert (session.previous_id, session.get_attribute("cart")) == (None, "tea")


async def test_a_refused_login_changes_nothing() -> None:
    session = HttpSession("a" * 32, {"SECURITY_CONTEXT": SecurityContext("alice"), "cart": 1})
    session.rotation_refusal = "too late"
    request = SimpleNamespace(state=SimpleNamespace(session=session))
    with pytest.raises(SessionReadOnlyError):
        await login(request, SecurityContext("bob"))
    assert session.get_attribute("SECURITY_CONTEXT") == SecurityContext("alice")
    assert (session.get_attribute("cart"), session.previous_id) == (1, None)


async def test_a_login_that_would_not_be_saved_is_refused() -> None:
    session = HttpSession("a" * 32)
    session.why_transient = "unavailable"
    request = SimpleNamespace(state=SimpleNamespace(session=session))
    with pytest.raises(SessionStoreUnavailableError):
        await login(request, SecurityContext("alice"))
