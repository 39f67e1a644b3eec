"""`WebFilterChainMiddleware`: order, hooks, answers of filters, lifespan."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.web import (
    CallNext,
    OncePerRequestFilter,
    SentResponse,
    SessionFilter,
    WebFilter,
    WebFilterChainMiddleware,
    before_head,
)
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Connection, ask


class Noting(OncePerRequestFilter):
    """Writes down when it runs; as a filter, in a header of the response."""

    def __init__(self, name: str, order: int, log: list[str]) -> None:
        self.name = name
        self.__pyfly_order__ = order
        self.log = log

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        async def hook(head: Message) -> None:
            self.log.append(f"head of {self.name}")
            head["headers"].append((b"x-filter", self.name.encode()))

        assert before_head(request, hook)
        self.log.append(f"into {self.name}")
        response = await call_next(request)
        self.log.append(f"out of {self.name}")
        return response


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def test_smallest_order_is_the_outermost() -> None:
    log: list[str] = []
    filters = [Noting("c", 30, log), Noting("a", -5, log), Noting("b", 0, log)]
    await ask(WebFilterChainMiddleware(PlainTextResponse("ok"), filters))
    assert [each for each in log if not each.startswith("head")] == [
        "into a", "into b", "into c", "out of c", "out of b", "out of a",
    ]  # fmt: skip


async def test_filters_of_equal_order_keep_theirs() -> None:
    log: list[str] = []
    filters = [Noting("x", 0, log), Noting("a", 0, log)]
    await ask(WebFilterChainMiddleware(PlainTextResponse("ok"), filters))
    assert log[:2] == ["into x", "into a"]


async def test_filter_without_an_order_has_order_zero() -> None:
    log: list[str] = []

    class Plain:
        def should_not_filter(self, request: Any) -> bool:
            return False

        async def do_filter(self, request: Any, call_next: CallNext) -> Any:
            log.append("into plain")
            return await call_next(request)

    filters: list[WebFilter] = [Noting("b", 1, log), Plain(), Noting("a", -1, log)]
    await ask(WebFilterChainMiddleware(PlainTextResponse("ok"), filters))
    assert [each for each in log if each.startswith("into")] == ["into a", "into plain", "into b"]


async def test_hooks_of_inner_filters_see_the_head_first() -> None:
    log: list[str] = []
    filters = [Noting("outer", 1, log), Noting("inner", 2, log)]
    answer = await ask(WebFilterChainMiddleware(PlainTextResponse("ok"), filters))
    assert [each for each in log if each.startswith("head")] == ["head of inner", "head of outer"]
    assert answer.all("x-filter") == ["inner", "outer"]


async def test_hook_is_refused_outside_of_the_chain() -> None:
    async def hook(head: Message) -> None:
        raise AssertionError("nobody calls it")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    assert before_head(Request(scope), hook) is False
    assert before_head(object(), hook) is False


async def test_request_of_another_chain_does_not_find_the_one_that_is_over() -> None:
    connection = Connection(WebFilterChainMiddleware(PlainTextResponse("ok"), [Noting("a", 0, [])]))
    await connection.run()

    async def hook(head: Message) -> None:
        raise AssertionError("nobody calls it")

    assert before_head(Request(connection.scope), hook) is False


async def test_hook_that_raises_stops_the_head() -> None:
    class Strict(OncePerRequestFilter):
        async def do_filter(self, request: Any, call_next: CallNext) -> Any:
            async def hook(head: Message) -> None:
                raise ValueError("not this one")

            before_head(request, hook)
            return await call_next(request)

    answer = await ask(WebFilterChainMiddleware(PlainTextResponse("ok"), [Strict()]), swallow=True)
    assert (answer.messages, type(answer.error)) == ([], ValueError)


async def test_session_filter_sees_what_inner_filters_did_to_the_session(site: Site) -> None:
    class Inner(OncePerRequestFilter):
        async def do_filter(self, request: Any, call_next: CallNext) -> Any:
            async def hook(head: Message) -> None:
                request.state.session.set_attribute("hooked", 1)

            before_head(request, hook)
            return await call_next(request)

    answer = await ask(WebFilterChainMiddleware(PlainTextResponse("ok"), [Inner(), site.filter]))
    assert await site.stored(answer.session_id) == {"hooked": 1}


class Guard(OncePerRequestFilter):
    """Answers by itself."""

    def __init__(self, order: int = 0) -> None:
        self.__pyfly_order__ = order

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        return JSONResponse({"guarded": True}, status_code=403)


async def test_filter_may_answer_by_itself_and_the_session_is_still_committed(site: Site) -> None:
    async def unreachable(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the guard let it through")

    class Denying(Guard):
        async def do_filter(self, request: Any, call_next: CallNext) -> Any:
            request.state.session.set_attribute("tries", 1)
            return await super().do_filter(request, call_next)

    answer = await ask(WebFilterChainMiddleware(unreachable, [Denying(), site.filter]))
    assert (answer.status, answer.text) == (403, '{"guarded":true}')
    assert await site.stored(answer.session_id) == {"tries": 1}


async def test_filter_outside_of_the_session_may_answer_without_one(site: Site) -> None:
    app = WebFilterChainMiddleware(PlainTextResponse("ok"), [Guard(-(2**31)), site.filter])
    answer = await ask(app)
    assert (answer.status, answer.cookie(), site.probe.calls) == (403, None, [])


async def test_filter_that_returns_nothing_is_told_what_to_return() -> None:
    class Forgetful(OncePerRequestFilter):
        async def do_filter(self, request: Any, call_next: CallNext) -> Any:
            await call_next(request)

    app = WebFilterChainMiddleware(PlainTextResponse("ok"), [Forgetful()])
    with pytest.raises(TypeError, match=r"Forgetful\.do_filter returned None.*call_next"):
        await ask(app)


async def test_filter_that_answers_after_the_answer_is_told_why_it_cannot() -> None:
    class Late(OncePerRequestFilter):
        async def do_filter(self, request: Any, call_next: CallNext) -> Any:
            await call_next(request)
            return PlainTextResponse("mine")

    app = WebFilterChainMiddleware(PlainTextResponse("ok"), [Late()])
    answer = await ask(app, swallow=True)
    assert answer.text == "ok"
    assert isinstance(answer.error, RuntimeError)
    assert "Late" in str(answer.error)
    assert "has been sent" in str(answer.error)


async def test_filter_without_do_filter_is_named() -> None:
    class Empty(OncePerRequestFilter):
        pass

    with pytest.raises(NotImplementedError, match="Empty must define do_filter"):
        await ask(WebFilterChainMiddleware(PlainTextResponse("ok"), [Empty()]))


async def test_filter_sees_status_and_headers_of_what_was_sent() -> None:
    seen: list[SentResponse] = []

    class Watching(OncePerRequestFilter):
        async def do_filter(self, request: Any, call_next: CallNext) -> Any:
            response = await call_next(request)
            seen.append(response)
            return response

    created = PlainTextResponse("ok", status_code=201, headers={"X-Mine": "1"})
    await ask(WebFilterChainMiddleware(created, [Watching()]))
    assert (seen[0].status_code, seen[0].headers["x-mine"]) == (201, "1")
    for change in (seen[0].set_cookie, seen[0].delete_cookie):
        with pytest.raises(RuntimeError, match="before_head"):
            change("a", "b")
    headers: Any = seen[0].headers
    late: list[Callable[[], object]] = [
        lambda: headers.__setitem__("x-late", "1"),
        lambda: headers.__delitem__("x-mine"),
        lambda: headers.update({"x-late": "1"}),
        lambda: headers.append("x-late", "1"),
        lambda: headers.setdefault("x-late", "1"),
    ]
    for refused in late:
        with pytest.raises(RuntimeError, match="before_head"):
            refused()


async def test_answer_that_was_never_sent_has_neither_status_nor_headers() -> None:
    seen: list[SentResponse] = []

    class Watching(OncePerRequestFilter):
        async def do_filter(self, request: Any, call_next: CallNext) -> Any:
            seen.append(await call_next(request))
            return seen[0]

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return

    await ask(WebFilterChainMiddleware(silent, [Watching()]))
    assert (seen[0].status_code, dict(seen[0].headers)) == (None, {})


async def test_filter_runs_once_through_nested_chains(site: Site) -> None:
    log: list[str] = []
    shared = Noting("shared", 0, log)
    inner = WebFilterChainMiddleware(PlainTextResponse("ok"), [shared, Noting("inner", 0, log)])
    outer = WebFilterChainMiddleware(inner, [shared, site.filter])
    answer = await ask(outer)
    assert (log.count("into shared"), log.count("into inner")) == (1, 1)
    assert answer.all("x-filter") == ["inner", "shared"]
    assert answer.session_id


async def test_filter_runs_again_for_the_next_request() -> None:
    log: list[str] = []
    app = WebFilterChainMiddleware(PlainTextResponse("ok"), [Noting("a", 0, log)])
    await ask(app)
    await ask(app)
    assert log.count("into a") == 2


async def test_hook_after_an_inner_chain_still_belongs_to_the_outer_one() -> None:
    log: list[str] = []

    class Asking(OncePerRequestFilter):
        async def do_filter(self, request: Any, call_next: CallNext) -> Any:
            async def hook(head: Message) -> None:
                log.append("hook")

            await WebFilterChainMiddleware(_nothing, [Noting("x", 0, [])])(
                request.scope, request.receive, _nowhere
            )
            assert before_head(request, hook)
            return await call_next(request)

    await ask(WebFilterChainMiddleware(PlainTextResponse("ok"), [Asking()]))
    assert log == ["hook"]


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    return


async def _nowhere(message: Message) -> None:
    raise AssertionError("nothing is sent")


class Leaving:
    """Says that static files need no session; a mixin, a patch or a subclass."""

    def should_not_filter(self, request: Any) -> bool:
        return bool(request.scope["path"].startswith("/static"))


class Mixed(Leaving, SessionFilter):
    pass


class Subclass(SessionFilter):
    def should_not_filter(self, request: Any) -> bool:
        return Leaving.should_not_filter(self, request)  # type: ignore[arg-type]


class Plain(SessionFilter):
    pass


def patched(store: Any) -> SessionFilter:
    made = SessionFilter(store)
    made.should_not_filter = Leaving().should_not_filter  # type: ignore[method-assign]
    return made


async def tell_whether(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse(str("session" in scope["state"]))(scope, receive, send)


@for_each("make", [Mixed, Subclass, patched])
async def test_whoever_says_otherwise_what_the_session_filter_does_is_heard(
    site: Site, make: Callable[[Any], SessionFilter]
) -> None:
    app = WebFilterChainMiddleware(tell_whether, [make(site.probe.store)])
    assert (await ask(app, "/static/logo.png")).text == "False"
    assert (await ask(app, "/page")).text == "True"


async def test_a_patched_class_is_heard(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plain, "should_not_filter", Leaving.should_not_filter)
    app = WebFilterChainMiddleware(tell_whether, [Plain(site.probe.store)])
    assert (await ask(app, "/static/logo.png")).text == "False"


async def test_hooks_of_inner_filters_see_what_the_session_filter_answers(site: Site) -> None:
    """A page of another origin could not even read the 503, without their headers."""

    async def page(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["session"].set_attribute("a", 1)
        site.probe.fail()
        await PlainTextResponse("ok")(scope, receive, send)

    log: list[str] = []
    app = WebFilterChainMiddleware(page, [site.filter, Noting("cors", 0, log)])
    answer = await ask(app)
    assert (answer.status, answer.all("x-filter")) == (503, ["cors"])


async def test_inner_session_filter_tells_its_id_though_the_outer_one_fails(site: Site) -> None:
    inner = SessionFilter(InMemorySessionStore(), cookie_name="INNER")

    async def page(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["session"].set_attribute("a", 1)
        await PlainTextResponse("ok")(scope, receive, send)

    site.configure(creation="always")
    site.probe.fail("create_if_absent")
    app = WebFilterChainMiddleware(page, [site.filter, inner])
    answer = await ask(app)
    assert answer.status == 503
    assert answer.cookie("INNER") is not None


class TestFiltersFromAFunction:
    async def test_are_asked_for_once_a_request(self) -> None:
        asked: list[bool] = []

        def filters() -> Sequence[WebFilter]:
            asked.append(True)
            return []

        app = WebFilterChainMiddleware(PlainTextResponse("ok"), filters)
        await ask(app)
        await ask(app)
        assert len(asked) == 2

    async def test_may_change_from_one_request_to_the_next(self) -> None:
        log: list[str] = []
        current: list[list[WebFilter]] = [[Noting("a", 0, log)]]
        app = WebFilterChainMiddleware(PlainTextResponse("ok"), lambda: current[0])
        await ask(app)
        current[0] = [Noting("c", 2, log), Noting("b", 1, log)]
        await ask(app)
        assert [each for each in log if each.startswith("into")] == ["into a", "into b", "into c"]

    async def test_are_sorted_again_when_the_same_list_has_grown(self) -> None:
        log: list[str] = []
        filters: list[WebFilter] = [Noting("b", 1, log)]
        app = WebFilterChainMiddleware(PlainTextResponse("ok"), lambda: filters)
        await ask(app)
        filters.append(Noting("a", 0, log))
        log.clear()
        await ask(app)
        assert [each for each in log if each.startswith("into")] == ["into a", "into b"]

    async def test_change_during_a_request_does_not_disturb_it(self) -> None:
        log: list[str] = []
        filters: list[WebFilter] = [Noting("a", 0, log), Noting("b", 1, log)]

        class Clearing(Noting):
            async def do_filter(self, request: Any, call_next: CallNext) -> Any:
                filters.clear()
                return await super().do_filter(request, call_next)

        filters.insert(0, Clearing("first", -1, log))
        app = WebFilterChainMiddleware(PlainTextResponse("ok"), lambda: filters)
        await ask(app)
        assert [each for each in log if each.startswith("into")] == [
            "into first", "into a", "into b",
        ]  # fmt: skip


async def test_chain_without_filters_passes_everything_through() -> None:
    answer = await ask(WebFilterChainMiddleware(PlainTextResponse("ok")))
    assert (answer.status, answer.text) == (200, "ok")


async def test_scope_of_another_protocol_is_passed_through(site: Site) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await ask(WebFilterChainMiddleware(app, [site.filter]), kind="tcp", incoming=[])
    assert (seen, site.probe.calls) == (["tcp"], [])


async def test_body_passes_through_to_the_handler(site: Site) -> None:
    async def echo(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    answer = await ask(site.app(echo=echo), "/echo", method="POST", body=b"payload")
    assert answer.text == "payload"


@for_each("how", ["body", "json", "stream"])
async def test_filter_may_read_the_body_before_the_handler_does(site: Site, how: str) -> None:
    class Reading(OncePerRequestFilter):
        async def do_filter(self, request: Any, call_next: CallNext) -> Any:
            if how == "stream":
                assert b"".join([chunk async for chunk in request.stream()]) == b"[1]"
            else:
                assert await getattr(request, how)() in (b"[1]", [1])
            return await call_next(request)

    async def echo(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    app = Starlette(
        routes=[Route("/", echo, methods=["POST"])],
        middleware=[Middleware(WebFilterChainMiddleware, filters=[Reading(), site.filter])],
    )
    answer = await ask(app, method="POST", body=b"[1]")
    # What is left of a stream that somebody read to its end.
    assert answer.text == ("" if how == "stream" else "[1]")


async def test_disconnect_still_arrives_after_the_body_that_a_filter_read() -> None:
    class Reading(OncePerRequestFilter):
        async def do_filter(self, request: Any, call_next: CallNext) -> Any:
            await request.body()
            return await call_next(request)

    received = []

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            received.append(await receive())  # noqa: PERF401 - one after the other

    incoming = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b", "more_body": False},
        {"type": "http.disconnect"},
    ]
    await ask(WebFilterChainMiddleware(bare, [Reading()]), incoming=incoming)
    assert received == [
        {"type": "http.request", "body": b"ab", "more_body": False},
        {"type": "http.disconnect"},
    ]


async def test_handler_is_reached_with_the_request_that_the_filter_passed_on() -> None:
    class Renaming(OncePerRequestFilter):
        async def do_filter(self, request: Any, call_next: CallNext) -> Any:
            return await call_next(Request({**request.scope, "path": "/b"}, request.receive))

    app = Starlette(
        routes=[Route("/b", hello)],
        middleware=[Middleware(WebFilterChainMiddleware, filters=[Renaming()])],
    )
    assert (await ask(app, "/a")).text == "hello"


class TestPatterns:
    @for_each(
        ("path", "applies"),
        [
            ("/admin/users", True), ("/admin/", True), ("/admin/a/b/c", True), ("/admin", False),
            ("/administrator", False), ("/Admin/users", False), ("/x/admin/users", False),
            ("/api/v1/items", True), ("/api/v22/items", False), ("/admin/public/logo.png", False),
            ("/admin/new\nline", True),
        ],
    )  # fmt: skip
    async def test_exclusions_win_over_inclusions(self, path: str, applies: bool) -> None:
        made = Noting("a", 0, [])
        made.url_patterns = ["/admin/*", "/api/v?/*"]
        made.exclude_patterns = ["/admin/public/*"]
        connection = Connection(WebFilterChainMiddleware(PlainTextResponse("ok"), [made]))
        connection.scope["path"] = path
        await connection.run()
        assert bool(made.log) == applies

    async def test_one_text_is_one_pattern(self) -> None:
        made = Noting("a", 0, [])
        made.url_patterns = "/admin/*"
        app = WebFilterChainMiddleware(PlainTextResponse("ok"), [made])
        await ask(app, "/other")
        assert made.log == []
        await ask(app, "/admin/x")
        assert made.log

    def test_requests_without_a_scope_are_asked_for_their_url(self) -> None:
        class Url:
            path = "/health"

        class Plain:
            url = Url()

        made = Noting("a", 0, [])
        assert not made.should_not_filter(Plain())
        made.exclude_patterns = ["/health"]
        assert made.should_not_filter(Plain())


class TestLifespan:
    async def run(self, app: Callable[..., Awaitable[None]]) -> Sequence[Message]:
        incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        connection = Connection(app, kind="lifespan", incoming=incoming, swallow=True)
        return (await connection.run()).messages

    async def test_closers_run_in_order_after_the_application_has_shut_down(self) -> None:
        log: list[str] = []

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            log.append("start")
            yield
            log.append("stop")

        async def first() -> None:
            log.append("first")

        async def second() -> None:
            log.append("second")

        app = WebFilterChainMiddleware(
            Starlette(lifespan=lifespan), [], on_shutdown=[first, second]
        )
        messages = await self.run(app)
        assert log == ["start", "stop", "first", "second"]
        assert messages[-1]["type"] == "lifespan.shutdown.complete"

    async def test_closers_run_when_the_applications_own_shutdown_fails(self) -> None:
        log: list[str] = []

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            yield
            raise ValueError("cannot stop")

        async def close() -> None:
            log.append("closed")

        app = WebFilterChainMiddleware(Starlette(lifespan=lifespan), [], on_shutdown=[close])
        messages = await self.run(app)
        assert (log, messages[-1]["type"]) == (["closed"], "lifespan.shutdown.failed")

    async def test_closer_that_fails_is_reported_and_stops_no_other(self) -> None:
        log: list[str] = []

        async def broken() -> None:
            log.append("broken")
            raise ConnectionError("already gone")

        async def close() -> None:
            log.append("closed")

        app = WebFilterChainMiddleware(Starlette(), [], on_shutdown=[broken, close])
        messages = await self.run(app)
        assert (log, messages[-1]["type"]) == (["broken", "closed"], "lifespan.shutdown.failed")
        assert "already gone" in messages[-1]["message"]

    async def test_closers_wait_for_requests_that_were_cancelled(self, site: Site) -> None:
        log: list[str] = []

        async def close() -> None:
            await site.filter.repository.drain()
            log.append("closed")

        app = WebFilterChainMiddleware(Starlette(), [site.filter], on_shutdown=[close])
        await self.run(app)
        assert log == ["closed"]
