"""How ids come and go: by cookie, by header, by either, or by a way of one's own."""

from collections.abc import Iterable
from typing import Any

import pytest
from dependency_injector import containers, providers
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket

from pyfly_session import ConfigurationError
from pyfly_session.auto_configuration import SessionContainer, create_container, enable_sessions
from pyfly_session.web import SessionCookie, SessionHeader, SessionIdResolvers
from pyfly_session.web.cookies import Header
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Answer, ask
from tests.web.pages import Page, PlainRequest, PlainResponse, enter, invalidate

KNOWN = "a" * 32
OTHER = "b" * 32
TOKEN = "x-auth-token"
BOTH = SessionIdResolvers(SessionCookie(), SessionHeader())


async def user(session: Any) -> Response:
    return PlainTextResponse(str(session.get_attribute("user")))


async def ignore(request: Request) -> Response:
    return PlainTextResponse("hello")


async def send(site: Site, path: str = "/user", token: str | None = None, **more: Any) -> Answer:
    app = site.app(user=user, enter=enter, leave=invalidate, ignore=ignore)
    headers = [] if token is None else [("X-Auth-Token", token)]
    return await ask(app, path, headers=headers, **more)


@pytest.fixture
def by_header(site: Site) -> Site:
    return site.configure(resolver=SessionHeader())


class TestHeader:
    async def test_new_session_is_told_and_found_again(self, by_header: Site) -> None:
        told = (await send(by_header, "/enter")).get(TOKEN)
        assert told is not None
        assert (await by_header.stored(told)) is not None
        again = await send(by_header, "/user", told)
        assert (again.text, again.get(TOKEN)) == ("None", None)

    async def test_no_cookie_is_read_or_set(self, by_header: Site) -> None:
        await by_header.seed(KNOWN, user="alice")
        answer = await send(by_header, cookie=KNOWN)
        assert (answer.text, answer.all("set-cookie")) == ("None", [])
        assert answer.get(TOKEN) not in (None, KNOWN)

    async def test_id_that_the_client_sent_is_not_repeated(self, by_header: Site) -> None:
        await by_header.seed(KNOWN)
        answer = await send(by_header, "/ignore", KNOWN)
        assert (answer.get(TOKEN), answer.get("vary"), answer.get("cache-control")) == (
            None, None, None,
        )  # fmt: skip

    async def test_changed_id_is_told(self, by_header: Site) -> None:
        await by_header.seed(KNOWN)
        told = (await send(by_header, "/enter", KNOWN)).get(TOKEN)
        assert told not in (None, KNOWN)
        assert await by_header.stored(KNOWN) is None
        assert await by_header.stored(told) is not None

    async def test_end_is_told_by_an_empty_header(self, by_header: Site) -> None:
        await by_header.seed(KNOWN)
        answer = await send(by_header, "/leave", KNOWN)
        assert (answer.get(TOKEN), answer.all("set-cookie")) == ("", [])
        assert await by_header.stored(KNOWN) is None

    async def test_unknown_id_is_answered_with_another(self, by_header: Site) -> None:
        assert (await send(by_header, token=KNOWN)).get(TOKEN) not in (None, KNOWN)

    async def test_caches_are_told_the_header_and_not_the_cookie(self, by_header: Site) -> None:
        fresh = await send(by_header)
        assert (fresh.get("vary"), fresh.get("cache-control")) == ("X-Auth-Token", "no-store")
        known = await send(by_header, token=fresh.get(TOKEN))
        assert (known.get("vary"), known.get("cache-control")) == ("X-Auth-Token", None)

    @for_each("value", ["", "user:alice", "a b", "é", "x" * 129, f"{KNOWN},{OTHER}"])
    async def test_what_can_be_no_id_never_reaches_the_store(self, site: Site, value: str) -> None:
        site.configure(resolver=SessionHeader(), creation="if-required")
        await send(site, token=value)
        assert site.probe.calls == []

    async def test_header_that_comes_often_costs_only_a_few_looks(self, site: Site) -> None:
        site.configure(resolver=SessionHeader(), creation="if-required")
        headers = [("X-Auth-Token", f"{number:032}") for number in range(50)]
        await ask(site.app(user=user), "/user", headers=headers)
        assert len(site.probe.calls) == 4 * site.probe.loads

    async def test_websocket_is_told_with_accept(self, by_header: Site) -> None:
        async def handler(websocket: WebSocket) -> None:
            websocket.state.session.set_attribute("user", "alice")
            await websocket.accept()

        answer = await ask(by_header.socket(handler), kind="websocket")
        told = answer.get(TOKEN)
        assert (await by_header.stored(told), answer.all("set-cookie")) == ({"user": "alice"}, [])
        headers = [("X-Auth-Token", str(told))]
        again = await ask(by_header.socket(handler), kind="websocket", headers=headers)
        assert again.get(TOKEN) is None

    @for_each("name", ["", "a b", "a:b", "é", "Cookie", "set-cookie", "Vary"])
    def test_name_that_http_does_not_allow_or_uses_itself_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match="SessionHeader: name"):
            SessionHeader(name)


class TestSeveral:
    @pytest.fixture
    def either(self, site: Site) -> Site:
        return site.configure(resolver=BOTH)

    async def test_client_with_a_cookie_is_answered_with_a_cookie(self, either: Site) -> None:
        await either.seed(KNOWN, user="alice")
        answer = await send(either, cookie=KNOWN)
        assert (answer.text, answer.session_id, answer.get(TOKEN)) == ("alice", KNOWN, None)

    @pytest.mark.parametrize(("path", "told"), [("/enter", True), ("/leave", False)])
    async def test_client_with_a_header_is_answered_with_a_header(
        self, either: Site, path: str, told: bool
    ) -> None:
        await either.seed(KNOWN)
        answer = await send(either, path, KNOWN)
        assert bool(answer.get(TOKEN)) is told
        assert answer.get(TOKEN) is not None
        assert answer.all("set-cookie") == []

    async def test_new_client_is_answered_the_first_way(self, either: Site) -> None:
        answer = await send(either)
        assert (bool(answer.session_id), answer.get(TOKEN)) == (True, None)
        either.configure(resolver=SessionIdResolvers(SessionHeader(), SessionCookie()))
        answer = await send(either)
        assert (answer.cookie(), bool(answer.get(TOKEN))) == (None, True)

    async def test_unknown_id_is_replaced_the_way_it_came(self, either: Site) -> None:
        answer = await send(either, token=KNOWN)
        assert (answer.cookie(), bool(answer.get(TOKEN))) == (None, True)

    @pytest.mark.parametrize("cookie_first", [True, False])
    async def test_first_of_both_ways_wins(self, either: Site, cookie_first: bool) -> None:
        ways: list[Any] = [SessionCookie(), SessionHeader()]
        either.configure(resolver=SessionIdResolvers(*(ways if cookie_first else ways[::-1])))
        await either.seed(KNOWN, user="alice")
        await either.seed(OTHER, user="bob")
        answer = await send(either, cookie=KNOWN, token=OTHER)
        assert answer.text == ("alice" if cookie_first else "bob")

    async def test_malformed_id_of_first_way_leaves_it_to_second(self, either: Site) -> None:
        await either.seed(KNOWN, user="alice")
        assert (await send(either, cookie="user:bob", token=KNOWN)).text == "alice"

    @for_each(
        ("given", "expected"),
        [
            (None, "Cookie, X-Auth-Token"), ("cookie", "cookie, X-Auth-Token"),
            ("x-auth-token, Accept", "x-auth-token, Accept, Cookie"), ("*", "*"),
        ],
    )  # fmt: skip
    async def test_caches_are_told_both(self, site: Site, given: str | None, expected: str) -> None:
        async def page(request: Request) -> Response:
            return PlainTextResponse("ok", headers={"Vary": given} if given else {})

        app = site.configure(resolver=BOTH).app(page=page)
        assert (await ask(app, "/page", headers=[("X-Auth-Token", KNOWN)])).get("vary") == expected

    def test_there_is_at_least_one_way(self) -> None:
        with pytest.raises(ConfigurationError, match="at least one"):
            SessionIdResolvers()


class QueryLike:
    """A way of one's own: one more header, wrapped in brackets."""

    vary = b"X-Mine"

    def candidates(self, headers: Iterable[Header]) -> list[str]:
        return [value.decode().strip("<>") for name, value in headers if name == b"x-mine"]

    def issue(self, session_id: str, max_age: int, *, known: bool) -> Header | None:
        return (b"x-mine", f"<{session_id}>;{max_age};{known}".encode())

    def expire(self) -> Header:
        return (b"x-mine", b"<>")


class TestOfOnesOwn:
    async def test_it_is_asked_and_told(self, site: Site) -> None:
        app = site.configure(resolver=QueryLike()).app(user=user, leave=invalidate)
        fresh = (await ask(app, "/user")).get("x-mine")
        assert fresh is not None
        assert fresh.endswith(";1800;False")
        session_id = fresh[1:33]
        headers = [("X-Mine", f"<{session_id}>")]
        known = await ask(app, "/user", headers=headers)
        assert (known.get("x-mine"), known.get("vary")) == (f"<{session_id}>;1800;True", "X-Mine")
        assert (await ask(app, "/leave", headers=headers)).get("x-mine") == "<>"
        assert await site.stored(session_id) is None

    def test_what_is_none_is_refused_by_what_it_lacks(self, site: Site) -> None:
        with pytest.raises(ConfigurationError, match="an instance, got the class QueryLike"):
            site.configure(resolver=QueryLike)
        with pytest.raises(ConfigurationError, match="object has no 'candidates'"):
            site.configure(resolver=object())


def enabled(container: Any = None, **session: Any) -> Starlette:
    app = Starlette(routes=[Page("/user", user), Page("/leave", invalidate)])
    config: Any = {"pyfly": {"session": {"enabled": True, **session}}}
    return enable_sessions(app, container, config=config)


class TestProperties:
    async def test_header_is_chosen_and_named(self) -> None:
        app = enabled(resolver="header", header={"name": "X-Session-Id"})
        answer = await ask(app, "/user")
        assert (bool(answer.get("x-session-id")), answer.get("vary")) == (True, "X-Session-Id")
        assert answer.all("set-cookie") == []

    @for_each("spelling", ["cookie,header", ["cookie", "header"]])
    async def test_both_are_chosen(self, spelling: Any) -> None:
        app = enabled(resolver=spelling)
        assert (await ask(app, "/user")).session_id
        assert (await ask(app, "/user", headers=[(TOKEN, KNOWN)])).get(TOKEN)

    @for_each("value", ["", "query", "cookie,cookie", ["header", "header"], []])
    def test_nonsense_is_refused(self, value: Any) -> None:
        with pytest.raises(ConfigurationError) as caught:
            enabled(resolver=value)
        assert caught.value.key == "pyfly.session.resolver"

    async def test_cookie_that_is_not_persistent_has_no_age_and_can_be_removed(self) -> None:
        app = enabled(cookie={"persistent": False})
        cookie = (await ask(app, "/user")).own_cookie
        assert not {"max-age", "expires"} & set(cookie.attributes)
        assert (await ask(app, "/leave", cookie=cookie.value)).own_cookie.is_deletion

    def test_login_with_a_provider_needs_the_cookie(self) -> None:
        tree: Any = {
            "session": {"enabled": True, "resolver": "header"},
            "security": {"oauth2": {"client": {"enabled": True}, "login": {"enabled": True}}},
        }
        with pytest.raises(ConfigurationError, match=r"resolver: cookie"):
            enable_sessions(Starlette(), config={"pyfly": tree})


@containers.copy(SessionContainer)
class Declared(SessionContainer):
    session_id_resolver = providers.ThreadSafeSingleton(QueryLike)


class TestBean:
    @for_each("container", [Declared, None])
    async def test_bean_of_the_application_is_used(self, container: Any) -> None:
        mine = providers.Object(QueryLike())
        made = container() if container else SessionContainer(session_id_resolver=mine)
        answer = await ask(enabled(made), "/user")
        assert (bool(answer.get("x-mine")), answer.all("set-cookie")) == (True, [])

    async def test_override_holds_from_the_next_request_until_it_ends(self) -> None:
        app = enabled()
        bean = app.state.session_container.session_id_resolver
        first = (await ask(app, "/user")).session_id
        with bean.override(providers.Object(SessionHeader())):
            answer = await ask(app, "/user", headers=[(TOKEN, first)])
            assert (answer.get(TOKEN), answer.all("set-cookie")) == (None, [])
        assert (await ask(app, "/user", cookie=first)).session_id == first

    def test_bean_follows_the_properties_and_is_built_once(self) -> None:
        container = create_container({"pyfly": {"session": {"enabled": True}}})
        made = container.session_id_resolver()
        assert isinstance(made, SessionCookie)
        assert container.session_id_resolver() is made
        session_filter = container.session_filter()
        assert session_filter is not None
        assert session_filter.resolver is made


class TestForeignRequests:
    async def test_header_of_a_foreign_request_and_response(self, site: Site) -> None:
        site.configure(resolver=SessionHeader())
        await site.seed(KNOWN, user="alice")

        async def call_next(request: Any) -> PlainResponse:
            assert request.state.session.get_attribute("user") == "alice"
            request.state.session.rotate_id()
            return PlainResponse({})

        answer = await site.filter.do_filter(PlainRequest({"X-Auth-Token": KNOWN}), call_next)
        assert await site.stored(answer.headers["x-auth-token"]) == {"user": "alice"}
        assert answer.calls == []

    async def test_cookie_without_age_on_a_foreign_response(self, site: Site) -> None:
        site.configure(cookie=SessionCookie(persistent=False))

        async def call_next(request: Any) -> PlainResponse:
            return PlainResponse()

        answer = await site.filter.do_filter(PlainRequest({}), call_next)
        assert [(name, given["max_age"]) for name, given in answer.calls] == [("set", None)]


def test_several_ways_are_a_resolver_by_themselves_and_answer_newcomers_the_first_way() -> None:
    asked = [(b"x-auth-token", b"a" * 32)]
    assert list(BOTH.candidates(asked)) == list(SessionHeader().candidates(asked))
    assert BOTH.issue("b" * 32, 60, known=False) == SessionCookie().issue("b" * 32, 60, known=False)
    assert BOTH.expire() == SessionCookie().expire()
