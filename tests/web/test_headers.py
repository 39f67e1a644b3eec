"""What caches are told, and what becomes of the application's own headers."""

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket

from pyfly_session.web import WebFilterChainMiddleware, before_head
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Answer, ask

KNOWN = "a" * 32


async def reply(site: Site, headers: dict[str, str], *, read: bool = False) -> Answer:
    async def page(session: Any) -> Response:
        if read:
            session.get_attribute("user")
        return PlainTextResponse("ok", headers=headers)

    return await ask(site.app(page=page), "/page")


async def test_answer_with_the_cookie_is_kept_by_no_cache(site: Site) -> None:
    answer = await reply(site, {})
    assert (answer.get("vary"), answer.get("cache-control")) == ("Cookie", "no-store")


async def test_removal_of_the_cookie_is_kept_by_no_cache(site: Site) -> None:
    answer = await site.visit(lambda session: session.invalidate())
    assert (answer.get("vary"), answer.get("cache-control")) == ("Cookie", "no-store")


async def test_answer_that_read_the_session_varies_though_no_cookie_is_set(site: Site) -> None:
    answer = await reply(site.configure(creation="if-required"), {}, read=True)
    assert (answer.cookie(), answer.get("vary")) == (None, "Cookie")
    assert answer.get("cache-control") is None


async def test_answer_without_any_use_of_the_session_stays_cacheable(site: Site) -> None:
    answer = await reply(site.configure(creation="if-required"), {"Cache-Control": "public"})
    assert (answer.get("vary"), answer.get("cache-control")) == (None, "public")


async def test_using_the_starlette_property_counts_as_reading(site: Site) -> None:
    async def page(request: Request) -> Response:
        return PlainTextResponse(str(len(request.session)))

    answer = await ask(site.configure(creation="if-required").app(page=page), "/page")
    assert answer.get("vary") == "Cookie"


@for_each("value", ["public, max-age=60", "private", "no-store"])
async def test_cache_control_of_the_application_is_left_alone(site: Site, value: str) -> None:
    assert (await reply(site, {"CACHE-Control": value})).get("cache-control") == value


@for_each(
    ("given", "expected"),
    [
        ("Accept-Encoding", "Accept-Encoding, Cookie"),
        ("Accept, Origin", "Accept, Origin, Cookie"), ("Cookie", "Cookie"),
        ("accept,COOKIE", "accept,COOKIE"), ("*", "*"), ("X-Cookie", "X-Cookie, Cookie"),
    ],
)  # fmt: skip
async def test_existing_vary_is_merged(site: Site, given: str, expected: str) -> None:
    assert (await reply(site, {"Vary": given})).get("vary") == expected


async def test_other_cookies_are_never_lost(site: Site) -> None:
    async def page(request: Request) -> Response:
        response = PlainTextResponse("ok")
        response.set_cookie("theme", "dark")
        response.set_cookie("lang", "en")
        return response

    answer = await ask(site.app(page=page), "/page")
    assert [each.partition("=")[0] for each in answer.all("set-cookie")] == [
        "theme", "lang", "PYFLY_SESSION",
    ]  # fmt: skip


async def test_headers_of_the_application_keep_order_and_content(site: Site) -> None:
    answer = await reply(site, {"X-A": "1", "X-B": "2"})
    names = [name for name, _ in answer.head["headers"]]
    assert names.index(b"x-a") < names.index(b"x-b")
    assert (answer.get("x-a"), answer.get("x-b"), answer.text) == ("1", "2", "ok")


class Inner:
    """A filter that does nothing."""

    def should_not_filter(self, request: Any) -> bool:
        return False

    async def do_filter(self, request: Any, call_next: Any) -> Any:
        return await call_next(request)


@for_each("kind", ["http", "websocket", "websocket refused"])
@for_each("hooked", [False, True])
async def test_message_that_is_sent_to_everybody_tells_nobody_the_id_of_another(
    site: Site, kind: str, hooked: bool
) -> None:
    types = {"http": "http.response.start", "websocket": "websocket.accept"}
    constant: dict[str, Any] = {"type": types.get(kind, "websocket.http.response.start")}
    own = [(b"x-own", b"1")]
    constant |= {"headers": [*own]} if kind == "websocket" else {"status": 403, "headers": [*own]}

    async def raw(scope: Any, receive: Any, send: Any) -> None:
        if hooked:
            of = Request(scope) if kind == "http" else WebSocket(scope, receive, send)
            assert before_head(of, sign)
        await send(constant)
        if kind == "http":
            await send({"type": "http.response.body"})

    async def sign(message: Any) -> None:
        message["headers"].append((b"x-hook", b"1"))

    # Inside of the session's filter there may be another, which sees the message first.
    app = WebFilterChainMiddleware(raw, [site.filter, *([Inner()] if hooked else [])])
    options = {"kind": kind.partition(" ")[0], "extensions": {"websocket.http.response": {}}}
    first, second = await ask(app, "/", **options), await ask(app, "/", **options)
    assert len(second.all("set-cookie")) == 1
    assert first.session_id != second.session_id
    assert (second.all("x-hook"), constant["headers"]) == (["1"] * hooked, own)


async def test_head_without_headers_gets_them(site: Site) -> None:
    async def bare(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 204})  # type: ignore[operator]
        await send({"type": "http.response.body"})  # type: ignore[operator]

    assert (await ask(WebFilterChainMiddleware(bare, [site.filter]))).session_id


async def test_header_names_count_in_any_case(site: Site) -> None:
    async def bare(scope: object, receive: object, send: object) -> None:
        headers = [(b"Cache-Control", b"private"), (b"VARY", b"Accept")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})  # type: ignore[operator]
        await send({"type": "http.response.body"})  # type: ignore[operator]

    answer = await ask(WebFilterChainMiddleware(bare, [site.filter]))
    assert (answer.get("cache-control"), answer.get("vary")) == ("private", "Accept, Cookie")
