"""`SessionFilter.do_filter` in chains that are not ours."""

import asyncio
from collections.abc import AsyncIterator, Callable
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
    security,
)
from pyfly_session.concurrency import ConcurrencyControlPolicy, SessionConcurrencyController
from pyfly_session.web import SessionCookie, WebFilterChainMiddleware
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Browser, Connection, ask
from tests.web.pages import PlainRequest, PlainResponse, PlainState, rotate

KNOWN = "a" * 32


async def login(request: Request) -> Response:
    request.state.session.set_attribute("user", "alice")
    response = PlainTextResponse("hello")
    response.set_cookie("theme", "dark")
    return response


async def who(request: Request) -> Response:
    assert request.session.get("user") == request.state.session.get_attribute("user")
    return JSONResponse(request.state.session.get_attribute("user"))


async def rotate_and_fail(session: Any) -> Response:
    session.rotate_id()
    session.set_attribute("role", "admin")
    raise ValueError("mine")


async def logout_and_fail(session: Any) -> Response:
    session.rotate_id()
    session.invalidate()
    raise ValueError("mine")


HANDLERS: dict[str, Any] = {
    "login": login, "who": who, "logout": lambda session: session.invalidate(), "rotate": rotate,
    "rotate_and_fail": rotate_and_fail, "logout_and_fail": logout_and_fail,
}  # fmt: skip


def under_base(site: Site, **handlers: Any) -> Starlette:
    """Return an application with the filter in Starlette's own kind of middleware."""
    return site.app(foreign=True, **(handlers or HANDLERS))


class TestBaseHTTPMiddleware:
    async def test_whole_life_of_a_session(self, site: Site) -> None:
        browser = Browser(under_base(site))
        answer = await browser.get("/login")
        first = answer.session_id
        assert answer.cookie("theme") is not None
        assert (answer.get("vary"), answer.get("cache-control")) == ("Cookie", "no-store")
        assert (await browser.get("/who")).text == '"alice"'
        second = (await browser.get("/rotate")).session_id
        assert (await site.stored(first), (await browser.get("/who")).text) == (None, '"alice"')
        await browser.get("/logout")
        assert (browser.cookie, await site.stored(second)) == (None, None)

    async def test_excluded_path_works_with_the_store_down(self, site: Site) -> None:
        async def health(request: Request) -> Response:
            return PlainTextResponse("fine")

        site.configure(exclude_patterns=["/health"])
        site.probe.fail()
        answer = await ask(under_base(site, health=health), "/health", cookie=KNOWN)
        assert (answer.status, answer.text, answer.cookie()) == (200, "fine", None)
        assert site.probe.calls == []

    async def test_failing_commit_gives_503(self, site: Site) -> None:
        async def page(session: Any) -> None:
            session.set_attribute("user", "bob")
            site.probe.fail()

        assert (await ask(under_base(site, page=page), "/page")).status == 503

    async def test_rotation_before_an_error_is_dropped_with_its_writes(self, site: Site) -> None:
        await site.seed(KNOWN, user="alice")
        answer = await ask(under_base(site), "/rotate_and_fail", cookie=KNOWN, swallow=True)
        assert (type(answer.error), await site.stored(KNOWN)) == (ValueError, {"user": "alice"})

    async def test_logout_before_an_error_holds(self, site: Site) -> None:
        await site.seed(KNOWN, user="alice")
        answer = await ask(under_base(site), "/logout_and_fail", cookie=KNOWN, swallow=True)
        assert (type(answer.error), await site.stored(KNOWN)) == (ValueError, None)

    @for_each("how", ["write", "rotate"])
    async def test_change_that_is_late_is_refused_not_lost(self, site: Site, how: str) -> None:
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
        assert (answer.text, answer.session_id, len(refused)) == ("ab", KNOWN, 1)
        assert "WebFilterChainMiddleware" in refused[0]
        assert await site.stored(KNOWN) == {"user": "alice"}

    async def test_login_that_cannot_be_encoded_gives_its_place_back(self, site: Site) -> None:
        """Of one place that there is; the next login takes it at once."""

        async def enter(request: Request) -> None:
            await security.login(request, SecurityContext(user_id="alice"))
            if request.query_params:
                request.state.session.set_attribute("parcel", object())

        store, clock = site.probe.store, site.clock
        repository = SessionRepository(store, clock=clock)
        policy = ConcurrencyControlPolicy(max_sessions=1, strategy="reject-new")
        site.configure(
            repository=repository,
            concurrency=SessionConcurrencyController(repository.principals, policy),
        )
        app = under_base(site, enter=enter)
        failed = await ask(app, "/enter?parcel=1", swallow=True)
        assert isinstance(failed.error, SessionEncodingError)
        assert ((await ask(app, "/enter")).status, (await ask(app, "/enter")).status) == (200, 409)

    @for_each("how", ["fails", "is cancelled", "is not saved"])
    async def test_change_after_unanswered_request_is_refused(self, site: Site, how: str) -> None:
        """Whatever is outside of the filter still has the session, which nobody saves any more."""
        sessions: list[HttpSession] = []

        async def page(request: Any) -> None:
            session = request.state.session
            sessions.append(session)
            if how == "fails":
                raise ValueError("mine")
            if how == "is cancelled":
                raise asyncio.CancelledError
            session.set_attribute("parcel", object())

        await site.seed(KNOWN, user="alice")
        request = PlainRequest(PYFLY_SESSION=KNOWN)
        errors = (ValueError, asyncio.CancelledError, SessionEncodingError)
        with pytest.raises(errors):
            await site.filter.do_filter(request, page)
        with pytest.raises(SessionReadOnlyError):
            sessions[0].set_attribute("late", 1)

    async def test_cookie_keeps_all_its_attributes(self, site: Site) -> None:
        site.configure(cookie=SessionCookie(name="__Secure-sid", secure=True, same_site="none"))
        cookie = (await ask(under_base(site), "/login")).cookie("__Secure-sid")
        assert cookie is not None
        assert "secure" in cookie.attributes
        assert cookie.attributes["samesite"] == "none"

    async def test_inside_of_our_chain_sends_no_id_that_was_rotated_away(self, site: Site) -> None:
        """The commit before the response and the one at its head both find the id moved."""
        loaded, go_on = asyncio.Event(), asyncio.Event()

        async def slow(session: Any) -> None:
            loaded.set()
            await go_on.wait()
            session.set_attribute("slow", 1)

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
        assert ((await connection.end()).cookie(), await site.stored(newer)) == (None, {"slow": 1})


async def run(
    site: Site, request: Any, change: Callable[[Any], None] = lambda session: None,
    headers: dict[str, str] | None = None,
) -> PlainResponse:  # fmt: skip
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
                    "key": "PYFLY_SESSION", "value": session_id, "max_age": 1800, "path": "/",
                    "domain": None, "secure": False, "httponly": True, "samesite": "lax",
                },
            )
        ]  # fmt: skip
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
        self, site: Site, given: dict[str, str], expected: dict[str, str]
    ) -> None:
        answered = await run(
            site, PlainRequest(), lambda session: session.set_attribute("a", 1), dict(given)
        )
        assert answered.headers == expected

    @for_each("value", ["user:alice", "", None, 7])
    async def test_malformed_cookie_never_reaches_the_store(self, site: Site, value: Any) -> None:
        site.configure(creation="if-required")
        answered = await run(site, PlainRequest(PYFLY_SESSION=value))
        assert (answered.calls, site.probe.calls) == ([], [])

    @for_each("known", [False, True])
    async def test_page_for_everybody_carries_no_id(self, site: Site, known: bool) -> None:
        if known:
            await site.seed(KNOWN)
        request = PlainRequest(PYFLY_SESSION=KNOWN) if known else PlainRequest()
        answered = await run(site, request, headers={"cache-control": "public, max-age=60"})
        assert (answered.calls, answered.headers) == ([], {"cache-control": "public, max-age=60"})

    async def test_page_for_everybody_is_not_when_an_id_must_go_out(self, site: Site) -> None:
        answered = await run(
            site, PlainRequest(), lambda session: session.set_attribute("user", "alice"),
            headers={"Cache-Control": "public"},
        )  # fmt: skip
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
                    "key": "__Host-sid", "path": "/", "domain": None, "secure": True,
                    "httponly": True, "samesite": "lax", "partitioned": True,
                },
            )
        ]  # fmt: skip
        assert await site.stored(KNOWN) is None

    async def test_session_that_another_request_ended_gets_no_cookie(self, site: Site) -> None:
        await site.seed(KNOWN, user="alice")
        request = PlainRequest(PYFLY_SESSION=KNOWN)

        async def call_next(passed: Any) -> PlainResponse:
            request.state.session.set_attribute("late", 1)
            await site.probe.inner.delete(KNOWN)
            return PlainResponse()

        assert (await site.filter.do_filter(request, call_next)).calls == []

    async def test_dead_store_gives_a_503_response(self, site: Site) -> None:
        site.probe.fail()

        async def call_next(passed: Any) -> PlainResponse:
            raise AssertionError("the handler must not run")

        answered = await site.filter.do_filter(PlainRequest(PYFLY_SESSION=KNOWN), call_next)
        assert (answered.status_code, answered.headers["retry-after"]) == (503, "5")

    @for_each("dies", [False, True])
    async def test_error_of_the_handler_is_not_masked(self, site: Site, dies: bool) -> None:
        await site.seed(KNOWN, user="alice")
        request = PlainRequest(PYFLY_SESSION=KNOWN)

        async def call_next(passed: Any) -> PlainResponse:
            request.state.session.set_attribute("user", "bob")
            if dies:
                site.probe.fail()
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            await site.filter.do_filter(request, call_next)
        assert await site.stored(KNOWN) == {"user": "alice" if dies else "bob"}
        site.probe.recover()


@for_each("outer", ["chain", "do_filter"])
async def test_filter_inside_of_another_one_leaves_its_session_to_that(
    site: Site, outer: str
) -> None:
    """A visitor's login gets one cookie, and holds."""
    used = site.filter
    inner = Middleware(BaseHTTPMiddleware, dispatch=used.do_filter)
    chain = Middleware(WebFilterChainMiddleware, filters=[used])
    routes = [Route("/login", login), Route("/who", who)]
    browser = Browser(
        Starlette(routes=routes, middleware=[chain if outer == "chain" else inner, inner])
    )
    answer = await browser.get("/login")
    assert len(answer.all("set-cookie")) == 2  # That of the theme is the other one.
    assert (await browser.get("/who")).text == '"alice"'
