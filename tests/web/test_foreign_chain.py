"""`SessionFilter.do_filter` in chains that are not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pyfly_session import (
    HttpSession,
    SecurityContext,
    SessionEncodingError,
    SessionReadOnlyError,
    SessionRepository,
    SessionStoreError,
    security,
)
from pyfly_session.concurrency import ConcurrencyControlPolicy, SessionConcurrencyController
from pyfly_session.web import SessionCookie, WebFilterChainMiddleware
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Browser, Connection, ask

KNOWN = "a" * 32


async def login(request: Request) -> Response:
    request.state.session.set_attribute("user", "alice")
    response = PlainTextResponse("hello")
    response.set_cookie("theme", "dark")
    return response


async def who(request: Request) -> Response:
    assert request.session.get("user") == request.state.session.get_attribute("user")
    return JSONResponse(request.state.session.get_attribute("user"))


async def logout(request: Request) -> Response:
    request.state.session.invalidate()
    return PlainTextResponse("bye")


async def rotate(request: Request) -> Response:
    request.state.session.rotate_id()
    return PlainTextResponse("ok")


async def rotate_and_fail(request: Request) -> Response:
    request.state.session.rotate_id()
    request.state.session.set_attribute("role", "admin")
    raise ValueError("mine")


async def logout_and_fail(request: Request) -> Response:
    request.state.session.rotate_id()
    request.state.session.invalidate()
    raise ValueError("mine")


HANDLERS: dict[str, Any] = {
    "login": login,
    "who": who,
    "logout": logout,
    "rotate": rotate,
    "rotate_and_fail": rotate_and_fail,
    "logout_and_fail": logout_and_fail,
}


def under_base(site: Site, **handlers: Any) -> Starlette:
    """Return an application with the filter in Starlette's own kind of middleware."""
    middleware = Middleware(BaseHTTPMiddleware, dispatch=site.filter.do_filter)
    routes = [Route(f"/{name}", each) for name, each in (handlers or HANDLERS).items()]
    return Starlette(routes=routes, middleware=[middleware])


@pytest.fixture
def site(memory_site: Site) -> Site:
    """Return a site over one store: none has an influence on what is held here."""
    return memory_site


class TestBaseHTTPMiddleware:
    async def test_whole_life_of_a_session(self, site: Site) -> None:
        browser = Browser(under_base(site))
        answer = await browser.get("/login")
        first = answer.session_id
        assert answer.cookie("theme") is not None
        assert answer.get("vary") == "Cookie"
        assert answer.get("cache-control") == "no-store"
        assert (await browser.get("/who")).text == '"alice"'
        second = (await browser.get("/rotate")).session_id
        assert await site.stored(first) is None
        assert (await browser.get("/who")).text == '"alice"'
        await browser.get("/logout")
        assert browser.cookie is None
        assert await site.stored(second) is None

    async def test_dead_store_gives_503(self, site: Site) -> None:
        site.probe.fail()
        for cookie in (KNOWN, None):
            answer = await ask(under_base(site), "/login", cookie=cookie)
            assert answer.status == 503
            assert answer.get("retry-after") == "5"
            assert answer.cookie() is None

    async def test_excluded_path_works_with_the_store_down(self, site: Site) -> None:
        async def health(request: Request) -> Response:
            return PlainTextResponse("fine")

        site.configure(exclude_patterns=["/health"])
        site.probe.fail()
        answer = await ask(under_base(site, health=health), "/health", cookie=KNOWN)
        assert (answer.status, answer.text, answer.cookie()) == (200, "fine", None)
        assert site.probe.calls == []

    async def test_failing_commit_gives_503(self, site: Site) -> None:
        async def page(request: Request) -> Response:
            request.state.session.set_attribute("user", "bob")
            site.probe.fail()
            return PlainTextResponse("ok")

        assert (await ask(under_base(site, page=page), "/page")).status == 503

    async def test_rotation_before_an_error_is_dropped_with_its_writes(self, site: Site) -> None:
        await site.seed(KNOWN, user="alice")
        answer = await ask(under_base(site), "/rotate_and_fail", cookie=KNOWN, swallow=True)
        assert isinstance(answer.error, ValueError)
        assert await site.stored(KNOWN) == {"user": "alice"}

    async def test_logout_before_an_error_holds(self, site: Site) -> None:
        await site.seed(KNOWN, user="alice")
        answer = await ask(under_base(site), "/logout_and_fail", cookie=KNOWN, swallow=True)
        assert isinstance(answer.error, ValueError)
        assert await site.stored(KNOWN) is None

    async def test_logout_beats_a_slow_writer(self, site: Site) -> None:
        loaded, go_on = asyncio.Event(), asyncio.Event()

        async def slow(request: Request) -> Response:
            loaded.set()
            await go_on.wait()
            request.state.session.set_attribute("slow", 1)
            return PlainTextResponse("ok")

        await site.seed(KNOWN)
        app = under_base(site, slow=slow, logout=logout)
        connection = Connection(app, "/slow", cookie=KNOWN).start()
        await loaded.wait()
        await ask(app, "/logout", cookie=KNOWN)
        go_on.set()
        assert (await connection.end()).cookie() is None
        assert await site.stored(KNOWN) is None

    async def test_streaming_response_carries_the_cookie(self, site: Site) -> None:
        async def page(request: Request) -> Response:
            async def body() -> AsyncIterator[str]:
                yield "a"
                yield "b"

            return StreamingResponse(body())

        answer = await ask(under_base(site, page=page), "/page")
        assert answer.text == "ab"
        assert await site.stored(answer.session_id) == {}

    @for_each("how", ["write", "rotate"])
    async def test_change_that_comes_too_late_is_refused_not_lost(
        self, site: Site, how: str
    ) -> None:
        """The filter is through before the body streams, so nobody could save it."""
        refused = []

        async def page(request: Request) -> Response:
            async def body() -> AsyncIterator[str]:
                yield "a"
                session = request.state.session
                try:
                    if how == "write":
                        session.set_attribute("late", 1)
                    else:
                        session.rotate_id()
                except SessionReadOnlyError as error:
                    refused.append(str(error))
                yield "b"

            return StreamingResponse(body())

        await site.seed(KNOWN, user="alice")
        answer = await ask(under_base(site, page=page), "/page", cookie=KNOWN)
        assert answer.text == "ab"
        assert len(refused) == 1
        assert "WebFilterChainMiddleware" in refused[0]
        assert await site.stored(KNOWN) == {"user": "alice"}

    async def test_page_for_everybody_creates_no_session_and_stays_so(self, site: Site) -> None:
        async def news(request: Request) -> Response:
            return PlainTextResponse("news", headers={"Cache-Control": "public, max-age=60"})

        answer = await ask(under_base(site, news=news), "/news")
        assert answer.all("set-cookie") == []
        assert answer.get("cache-control") == "public, max-age=60"
        assert site.probe.calls == []

    async def test_login_that_cannot_be_encoded_gives_its_place_back(
        self, memory_site: Site
    ) -> None:
        """Of one place that there is; the next login takes it at once."""

        async def enter(request: Request) -> Response:
            await security.login(request, SecurityContext(user_id="alice"))
            if request.query_params:
                request.state.session.set_attribute("parcel", object())
            return PlainTextResponse("hello")

        store, clock = memory_site.probe.store, memory_site.clock
        repository = SessionRepository(store, clock=clock)
        policy = ConcurrencyControlPolicy(max_sessions=1, strategy="reject-new")
        memory_site.configure(
            repository=repository,
            concurrency=SessionConcurrencyController(repository.principals, policy),
        )
        app = under_base(memory_site, enter=enter)
        failed = await ask(app, "/enter?parcel=1", swallow=True)
        assert isinstance(failed.error, SessionEncodingError)
        assert (await ask(app, "/enter")).status == 200
        assert (await ask(app, "/enter")).status == 409

    @for_each("how", ["fails", "is cancelled", "is not saved"])
    async def test_change_after_a_request_without_an_answer_is_refused_not_lost(
        self, native_site: Site, how: str
    ) -> None:
        """Whatever is outside of the filter still has the session, which nobody saves any more."""
        sessions: list[HttpSession] = []

        async def page(request: Request) -> Response:
            session = request.state.session
            sessions.append(session)
            if how == "fails":
                raise ValueError("mine")
            if how == "is cancelled":
                raise asyncio.CancelledError
            session.set_attribute("parcel", object())
            return PlainTextResponse("ok")

        await native_site.seed(KNOWN, user="alice")
        request = PlainRequest(PYFLY_SESSION=KNOWN)
        errors = (ValueError, asyncio.CancelledError, SessionEncodingError)
        with pytest.raises(errors):
            await native_site.filter.do_filter(request, page)
        with pytest.raises(SessionReadOnlyError):
            sessions[0].set_attribute("late", 1)

    async def test_cookie_keeps_all_its_attributes(self, memory_site: Site) -> None:
        memory_site.configure(
            cookie=SessionCookie(name="__Secure-sid", secure=True, same_site="none")
        )
        cookie = (await ask(under_base(memory_site), "/login")).cookie("__Secure-sid")
        assert cookie is not None
        assert "secure" in cookie.attributes
        assert cookie.attributes["samesite"] == "none"

    async def test_inside_of_our_chain_works_too(self, site: Site) -> None:
        log = []

        class Outer:
            def should_not_filter(self, request: Any) -> bool:
                return False

            async def do_filter(self, request: Any, call_next: Any) -> Any:
                log.append("outer")
                return await call_next(request)

        app = WebFilterChainMiddleware(under_base(site), [Outer()])
        browser = Browser(app)
        first = (await browser.get("/login")).session_id
        assert (await browser.get("/who")).text == '"alice"'
        assert (await browser.get("/rotate")).session_id != first
        await browser.get("/logout")
        assert browser.cookie is None
        assert log

    async def test_inside_of_our_chain_sends_no_id_that_was_rotated_away(
        self, native_site: Site
    ) -> None:
        """The commit before the response and the one at its head both find the id moved."""
        site = native_site
        loaded, go_on = asyncio.Event(), asyncio.Event()

        async def slow(request: Request) -> Response:
            loaded.set()
            await go_on.wait()
            request.state.session.set_attribute("slow", 1)
            return PlainTextResponse("ok")

        class Outer:
            def should_not_filter(self, request: Any) -> bool:
                return False

            async def do_filter(self, request: Any, call_next: Any) -> Any:
                return await call_next(request)

        await site.seed(KNOWN)
        app = WebFilterChainMiddleware(under_base(site, slow=slow), [Outer()])
        connection = Connection(app, "/slow", cookie=KNOWN).start()
        await loaded.wait()
        elsewhere = site.another_node().app(rotate=rotate)
        newer = (await ask(elsewhere, "/rotate", cookie=KNOWN)).session_id
        go_on.set()
        assert (await connection.end()).cookie() is None
        assert await site.stored(newer) == {"slow": 1}


class PlainResponse:
    """All that the filter may ask of a response that is none of Starlette's."""

    def __init__(self, headers: dict[str, str] | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        if headers is not None:
            self.headers = headers

    def set_cookie(self, **arguments: Any) -> None:
        self.calls.append(("set", arguments))

    def delete_cookie(self, **arguments: Any) -> None:
        self.calls.append(("delete", arguments))


class PlainState:
    session: Any = None


class PlainRequest:
    """All that the filter may ask of a request that is none of Starlette's."""

    def __init__(self, **cookies: Any) -> None:
        self.cookies = cookies
        self.state = PlainState()


async def run(
    site: Site,
    request: Any,
    change: Callable[[Any], None] = lambda session: None,
    headers: dict[str, str] | None = None,
) -> PlainResponse:
    async def call_next(passed: Any) -> PlainResponse:
        assert passed is request
        change(request.state.session)
        return PlainResponse(headers)

    answered = await site.filter.do_filter(request, call_next)
    assert isinstance(answered, PlainResponse)
    return answered


class TestPlainObjects:
    async def test_new_session_is_stored_and_its_cookie_set(self, site: Site) -> None:
        request = PlainRequest()
        answered = await run(site, request, lambda session: session.set_attribute("user", "alice"))
        session_id = request.state.session.id
        assert answered.calls == [
            (
                "set",
                {
                    "key": "PYFLY_SESSION",
                    "value": session_id,
                    "max_age": 1800,
                    "path": "/",
                    "domain": None,
                    "secure": False,
                    "httponly": True,
                    "samesite": "lax",
                },
            )
        ]
        assert await site.stored(session_id) == {"user": "alice"}

    @for_each(
        ("given", "expected"),
        [
            ({}, {"vary": "Cookie", "cache-control": "no-store"}),
            ({"Vary": "Accept"}, {"Vary": "Accept, Cookie", "cache-control": "no-store"}),
            ({"Cache-Control": "private"}, {"Cache-Control": "private", "vary": "Cookie"}),
        ],
    )
    async def test_caches_are_told_as_with_a_response_of_starlette(
        self, memory_site: Site, given: dict[str, str], expected: dict[str, str]
    ) -> None:
        answered = await run(
            memory_site, PlainRequest(), lambda session: session.set_attribute("a", 1), dict(given)
        )
        assert answered.headers == expected

    async def test_known_cookie_brings_the_session_back(self, site: Site) -> None:
        await site.seed(KNOWN, user="alice")
        request = PlainRequest(PYFLY_SESSION=KNOWN)
        seen = []
        await run(site, request, lambda session: seen.append(session.get_attribute("user")))
        assert seen == ["alice"]

    @for_each("value", ["user:alice", "", None, 7])
    async def test_malformed_cookie_never_reaches_the_store(
        self, memory_site: Site, value: Any
    ) -> None:
        memory_site.configure(creation="if-required")
        answered = await run(memory_site, PlainRequest(PYFLY_SESSION=value))
        assert answered.calls == []
        assert memory_site.probe.calls == []

    @for_each("known", [False, True])
    async def test_page_for_everybody_carries_no_id(self, site: Site, known: bool) -> None:
        if known:
            await site.seed(KNOWN)
        request = PlainRequest(PYFLY_SESSION=KNOWN) if known else PlainRequest()
        answered = await run(site, request, headers={"cache-control": "public, max-age=60"})
        assert answered.calls == []
        assert answered.headers == {"cache-control": "public, max-age=60"}

    async def test_page_for_everybody_is_not_when_an_id_must_go_out(self, site: Site) -> None:
        answered = await run(
            site,
            PlainRequest(),
            lambda session: session.set_attribute("user", "alice"),
            headers={"Cache-Control": "public"},
        )
        assert [name for name, _ in answered.calls] == ["set"]
        assert answered.headers["Cache-Control"] == "no-store"

    async def test_request_without_cookies_is_a_new_visitor(self, site: Site) -> None:
        class Bare:
            state = PlainState()

        assert [name for name, _ in (await run(site, Bare())).calls] == ["set"]

    async def test_logout_deletes_the_cookie_with_all_attributes(self, site: Site) -> None:
        site.configure(cookie=SessionCookie(name="__Host-sid", secure=True, partitioned=True))
        await site.seed(KNOWN, user="alice")
        request = PlainRequest(**{"__Host-sid": KNOWN})
        answered = await run(site, request, lambda session: session.invalidate())
        assert answered.calls == [
            (
                "delete",
                {
                    "key": "__Host-sid",
                    "path": "/",
                    "domain": None,
                    "secure": True,
                    "httponly": True,
                    "samesite": "lax",
                    "partitioned": True,
                },
            )
        ]
        assert await site.stored(KNOWN) is None

    async def test_session_that_another_request_ended_gets_no_cookie(self, site: Site) -> None:
        await site.seed(KNOWN, user="alice")
        request = PlainRequest(PYFLY_SESSION=KNOWN)

        async def call_next(passed: Any) -> PlainResponse:
            request.state.session.set_attribute("late", 1)
            await site.probe.inner.delete(KNOWN)
            return PlainResponse()

        answered = await site.filter.do_filter(request, call_next)
        assert answered.calls == []

    async def test_dead_store_gives_a_503_response(self, site: Site) -> None:
        site.probe.fail()

        async def call_next(passed: Any) -> PlainResponse:
            raise AssertionError("the handler must not run")

        answered = await site.filter.do_filter(PlainRequest(PYFLY_SESSION=KNOWN), call_next)
        assert answered.status_code == 503
        assert answered.headers["retry-after"] == "5"

    async def test_error_of_the_handler_passes_through(self, site: Site) -> None:
        await site.seed(KNOWN, user="alice")
        request = PlainRequest(PYFLY_SESSION=KNOWN)

        async def call_next(passed: Any) -> PlainResponse:
            request.state.session.set_attribute("user", "bob")
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            await site.filter.do_filter(request, call_next)
        assert await site.stored(KNOWN) == {"user": "bob"}

    async def test_error_of_the_handler_is_not_masked(self, site: Site) -> None:
        await site.seed(KNOWN, user="alice")
        request = PlainRequest(PYFLY_SESSION=KNOWN)

        async def call_next(passed: Any) -> PlainResponse:
            request.state.session.invalidate()
            site.probe.fail(error=SessionStoreError("gone"))
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            await site.filter.do_filter(request, call_next)


CallNext = Callable[[Any], Awaitable[Any]]


def home_made(filters: list[Any], handler: CallNext) -> CallNext:
    """Chain filters as small frameworks do: each gets a function that calls the next."""
    call = handler
    for each in sorted(filters, key=lambda one: int(one.__pyfly_order__), reverse=True):

        async def link(request: Any, each: Any = each, following: CallNext = call) -> Any:
            if each.should_not_filter(request):
                return await following(request)
            return await each.do_filter(request, following)

        call = link
    return call


class TestHomeMadeChain:
    async def test_session_is_there_for_later_filters(self, site: Site) -> None:
        seen = []

        class Security:
            __pyfly_order__ = -(2**31) + 225

            def should_not_filter(self, request: Any) -> bool:
                return False

            async def do_filter(self, request: Any, call_next: CallNext) -> Any:
                seen.append(request.state.session.get_attribute("user"))
                return await call_next(request)

        async def handler(request: Any) -> Any:
            request.state.session.set_attribute("user", "alice")
            return PlainTextResponse("ok")

        async def app(scope: Any, receive: Any, send: Any) -> None:
            response = await home_made([Security(), site.filter], handler)(Request(scope, receive))
            await response(scope, receive, send)

        browser = Browser(app)
        await browser.get()
        await browser.get()
        assert seen == [None, "alice"]

    async def test_excluded_path_has_no_session(self, site: Site) -> None:
        site.configure(exclude_patterns=["/health"])

        async def handler(request: Any) -> Any:
            assert not hasattr(request.state, "session")
            return PlainTextResponse("ok")

        async def app(scope: Any, receive: Any, send: Any) -> None:
            response = await home_made([site.filter], handler)(Request(scope, receive))
            await response(scope, receive, send)

        assert (await ask(app, "/health")).cookie() is None
        assert site.probe.calls == []
