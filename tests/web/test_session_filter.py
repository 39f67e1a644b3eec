"""A request's way through `SessionFilter`, seen from the browser."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from pyfly_session import (
    ConfigurationError,
    HttpSession,
    SessionEncodingError,
    SessionInvalidatedError,
    SessionReadOnlyError,
    StoreContractError,
)
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.web import SessionCookie, SessionFilter, WebFilterChainMiddleware
from tests.conftest import Clock
from tests.support.cases import for_each
from tests.web.conftest import EACH_STORE, EACH_TIMED_STORE, Site
from tests.web.driver import Browser, ask
from tests.web.stores import Probe


async def login(request: Request) -> Response:
    request.state.session.set_attribute("user", "alice")
    return PlainTextResponse("hello")


async def who(request: Request) -> Response:
    return JSONResponse(request.state.session.get_attribute("user"))


async def idle(request: Request) -> Response:
    return PlainTextResponse("idle")


async def logout(request: Request) -> Response:
    request.state.session.invalidate()
    return PlainTextResponse("bye")


async def rotate(request: Request) -> Response:
    request.state.session.rotate_id()
    return PlainTextResponse(request.state.session.id)


def pages(site: Site) -> Starlette:
    return site.app(login=login, who=who, idle=idle, logout=logout, rotate=rotate)


@EACH_STORE
async def test_what_one_request_stores_the_next_one_reads(site: Site) -> None:
    browser = Browser(pages(site))
    await browser.get("/login")
    assert (await browser.get("/who")).text == '"alice"'


async def test_state_holds_an_http_session_that_is_new_only_once(site: Site) -> None:
    async def show(request: Request) -> Response:
        session = request.state.session
        assert isinstance(session, HttpSession)
        return JSONResponse(session.is_new)

    browser = Browser(site.app(show=show))
    assert (await browser.get("/show")).text == "true"
    assert (await browser.get("/show")).text == "false"


async def test_two_browsers_do_not_share_a_session(site: Site) -> None:
    app = pages(site)
    await Browser(app).get("/login")
    assert (await Browser(app).get("/who")).text == "null"


async def test_new_id_has_128_random_bits_in_hex(memory_site: Site) -> None:
    app = pages(memory_site)
    ids = {(await ask(app, "/login")).session_id for _ in range(50)}
    assert len(ids) == 50
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in ids)


async def test_id_from_the_client_is_never_adopted(site: Site) -> None:
    chosen = "f" * 32
    answer = await ask(pages(site), "/login", cookie=chosen)
    assert answer.session_id != chosen
    assert await site.stored(chosen) is None


async def test_expired_session_gives_a_new_one_under_a_new_id(memory_site: Site) -> None:
    browser = Browser(pages(memory_site))
    old = (await browser.get("/login")).session_id
    memory_site.clock.advance(1800)
    answer = await browser.get("/who")
    assert answer.text == "null"
    assert answer.session_id != old


@EACH_TIMED_STORE
async def test_reading_alone_keeps_the_session_alive(timed_site: Site) -> None:
    site, clock = timed_site.configure(ttl=2), timed_site.clock
    browser = Browser(pages(site))
    await browser.get("/login")
    for _ in range(10):
        clock.advance(1.9)
        assert (await browser.get("/idle")).session_id == browser.cookie
    assert (await browser.get("/who")).text == '"alice"'
    clock.advance(2)
    assert (await browser.get("/who")).text == "null"


async def test_reading_alone_slides_the_expiry_of_the_key(make_store: Any, valkey: Any) -> None:
    site = Site(Probe(make_store("valkey")), Clock())
    browser = Browser(pages(site))
    key = "pyfly:session:" + (await browser.get("/login")).session_id
    await valkey.expire(key, 5)
    await browser.get("/idle")
    assert await valkey.ttl(key) > 1790


async def test_max_age_slides_with_every_answer(site: Site) -> None:
    site.configure(ttl=600)
    browser = Browser(pages(site))
    for path in ("/login", "/who", "/idle", "/rotate"):
        cookie = (await browser.get(path)).cookie()
        assert cookie is not None
        assert cookie.max_age == 600


@EACH_TIMED_STORE
async def test_session_ends_at_its_absolute_lifetime_however_busy(timed_site: Site) -> None:
    site, clock = timed_site.configure(ttl=100, max_lifetime=250), timed_site.clock
    browser = Browser(pages(site))
    await browser.get("/login")
    for advance, max_age in ((99, 100), (99, 52), (51, 1)):
        clock.advance(advance)
        answer = await browser.get("/who")
        assert answer.text == '"alice"'
        cookie = answer.cookie()
        assert cookie is not None
        assert cookie.max_age == max_age
    old = browser.cookie
    clock.advance(1)
    assert (await browser.get("/who")).text == "null"
    assert await site.stored(old) is None


async def test_session_with_an_idle_time_of_its_own_gets_that_as_max_age(site: Site) -> None:
    async def short(request: Request) -> Response:
        request.state.session.set_max_inactive_interval(60)
        return PlainTextResponse("ok")

    browser = Browser(site.app(short=short, idle=idle))
    for path in ("/short", "/idle"):
        cookie = (await browser.get(path)).cookie()
        assert cookie is not None
        assert cookie.max_age == 60


async def test_unchanged_session_costs_one_call_of_the_store(memory_site: Site) -> None:
    browser = Browser(pages(memory_site))
    await browser.get("/login")
    memory_site.probe.calls.clear()
    await browser.get("/who")
    assert memory_site.probe.names == ["load_and_slide"]


async def test_change_in_place_is_saved(site: Site) -> None:
    async def add(request: Request) -> Response:
        session = request.state.session
        if session.get_attribute("cart") is None:
            session.set_attribute("cart", [])
        session.get_attribute("cart").append(1)
        return JSONResponse(session.get_attribute("cart"))

    browser = Browser(site.app(add=add))
    answers = [(await browser.get("/add")).text for _ in range(3)]
    assert answers == ["[1]", "[1,1]", "[1,1,1]"]


@EACH_STORE
async def test_logout_deletes_the_entry_and_the_cookie(site: Site) -> None:
    browser = Browser(pages(site))
    old = (await browser.get("/login")).session_id
    answer = await browser.get("/logout")
    cookie = answer.cookie()
    assert cookie is not None
    assert cookie.is_deletion
    assert await site.stored(old) is None
    assert browser.cookie is None


async def test_logout_without_an_entry_still_removes_a_stale_cookie(site: Site) -> None:
    answer = await ask(pages(site), "/logout", cookie="f" * 32)
    cookie = answer.cookie()
    assert cookie is not None
    assert cookie.is_deletion


async def test_session_is_unusable_after_invalidate(site: Site) -> None:
    async def use(request: Request) -> Response:
        session = request.state.session
        session.invalidate()
        with pytest.raises(SessionInvalidatedError):
            session.get_attribute("user")
        with pytest.raises(SessionInvalidatedError):
            session.set_attribute("user", "bob")
        return PlainTextResponse("ok")

    browser = Browser(site.app(login=login, use=use))
    old = (await browser.get("/login")).session_id
    assert (await browser.get("/use")).status == 200
    assert await site.stored(old) is None


@EACH_STORE
async def test_rotation_moves_the_data_and_kills_the_old_id(site: Site) -> None:
    browser = Browser(pages(site))
    old = (await browser.get("/login")).session_id
    answer = await browser.get("/rotate")
    assert answer.session_id == answer.text != old
    assert await site.stored(old) is None
    assert (await browser.get("/who")).text == '"alice"'
    assert (await ask(pages(site), "/who", cookie=old)).text == "null"


@EACH_STORE
async def test_rotating_twice_leaves_only_the_last_id(site: Site) -> None:
    seen: list[str] = []

    async def twice(request: Request) -> Response:
        session = request.state.session
        for _ in range(2):
            session.rotate_id()
            seen.append(session.id)
        return PlainTextResponse("ok")

    browser = Browser(site.app(login=login, twice=twice, who=who))
    first = (await browser.get("/login")).session_id
    answer = await browser.get("/twice")
    assert answer.session_id == seen[1]
    assert await site.stored(first) is None
    assert await site.stored(seen[0]) is None
    assert await site.stored(seen[1]) == {"user": "alice"}


async def test_rotating_a_new_session_sends_only_the_last_id(site: Site) -> None:
    async def fresh(request: Request) -> Response:
        first = request.state.session.id
        request.state.session.rotate_id()
        return PlainTextResponse(first)

    answer = await ask(site.app(fresh=fresh), "/fresh")
    assert answer.session_id != answer.text
    assert await site.stored(answer.text) is None
    assert await site.stored(answer.session_id) == {}


async def test_invalidate_after_rotate_ends_both_ids(site: Site) -> None:
    seen: list[str] = []

    async def both(request: Request) -> Response:
        request.state.session.rotate_id()
        seen.append(request.state.session.id)
        request.state.session.invalidate()
        return PlainTextResponse("ok")

    browser = Browser(site.app(login=login, both=both))
    old = (await browser.get("/login")).session_id
    await browser.get("/both")
    assert browser.cookie is None
    assert await site.stored(old) is None
    assert await site.stored(seen[0]) is None


async def test_unencodable_attribute_is_a_500_and_nothing_is_written(site: Site) -> None:
    async def bad(request: Request) -> Response:
        request.state.session.set_attribute("fine", 1)
        request.state.session.set_attribute("broken", {"deep": [object()]})
        return PlainTextResponse("ok")

    browser = Browser(site.app(login=login, bad=bad))
    old = (await browser.get("/login")).session_id
    answer = await browser.get("/bad", swallow=True)
    assert answer.status == 500
    assert isinstance(answer.error, SessionEncodingError)
    assert answer.error.attribute == "broken"
    assert answer.error.type_name == "object"
    assert "'broken'" in str(answer.error)
    assert "object" in str(answer.error)
    assert await site.stored(old) == {"user": "alice"}


async def test_unencodable_attribute_of_a_new_session_stores_nothing(site: Site) -> None:
    async def bad(request: Request) -> Response:
        request.state.session.set_attribute("broken", object())
        return PlainTextResponse("ok")

    answer = await ask(site.app(bad=bad), "/bad", swallow=True)
    assert answer.status == 500
    assert answer.cookie() is None
    assert not set(site.probe.names) & {"save", "create_if_absent"}


@pytest.mark.parametrize("payload", [b"\x80abc", b"[]", b'{"_created_at": "x"}', b"", b"null"])
async def test_unreadable_stored_value_means_a_new_session(
    payload: bytes, make_store: Any, valkey: Any
) -> None:
    site = Site(Probe(make_store("valkey")), Clock())
    await valkey.set("pyfly:session:broken", payload)
    answer = await ask(pages(site), "/login", cookie="broken")
    assert answer.status == 200
    assert answer.session_id != "broken"
    assert (await ask(pages(site), "/who", cookie=answer.session_id)).text == '"alice"'


async def test_unreadable_attribute_does_not_take_the_others_along(
    make_store: Any, valkey: Any
) -> None:
    site = Site(Probe(make_store("valkey")), Clock())
    await valkey.set(
        "pyfly:session:odd", b'{"_created_at":1,"x":{"__pyfly_type__":["x"]},"user":"alice"}'
    )
    answer = await ask(pages(site), "/who", cookie="odd")
    assert answer.text == '"alice"'
    assert answer.session_id == "odd"


async def test_forged_type_tag_in_user_data_stays_plain_data(site: Site) -> None:
    forged = {"__pyfly_type__": "pyfly.security.context:SecurityContext", "roles": ["ADMIN"]}

    async def put(request: Request) -> Response:
        request.state.session.set_attribute("profile", forged)
        return PlainTextResponse("ok")

    async def show(request: Request) -> Response:
        value = request.state.session.get_attribute("profile")
        assert type(value) is dict
        return JSONResponse(value == forged)

    browser = Browser(site.app(put=put, show=show))
    await browser.get("/put")
    assert (await browser.get("/show")).text == "true"


class TestCreation:
    async def test_always_gives_every_visitor_a_stored_session(self, site: Site) -> None:
        answer = await ask(pages(site), "/idle")
        assert await site.stored(answer.session_id) == {}

    async def test_if_required_leaves_a_visitor_without_session_alone(self, site: Site) -> None:
        site.configure(creation="if-required")
        for path in ("/idle", "/who"):
            answer = await ask(pages(site), path)
            assert answer.cookie() is None
        assert site.probe.calls == []

    async def test_if_required_creates_with_the_first_write(self, site: Site) -> None:
        site.configure(creation="if-required")
        browser = Browser(pages(site))
        answer = await browser.get("/login")
        assert await site.stored(answer.session_id) == {"user": "alice"}
        assert (await browser.get("/who")).session_id == answer.session_id

    async def test_if_required_does_not_replace_an_unknown_cookie(self, site: Site) -> None:
        site.configure(creation="if-required")
        answer = await ask(pages(site), "/who", cookie="f" * 32)
        assert answer.cookie() is None
        assert await site.stored("f" * 32) is None

    async def test_never_refuses_to_write_and_stores_nothing(self, site: Site) -> None:
        site.configure(creation="never")
        answer = await ask(pages(site), "/who")
        assert (answer.status, answer.cookie()) == (200, None)
        for path in ("/login", "/rotate"):
            answer = await ask(pages(site), path, swallow=True)
            assert answer.status == 500
            assert answer.cookie() is None
            assert isinstance(answer.error, SessionReadOnlyError)
            assert "pyfly.session.creation" in str(answer.error)
        assert site.probe.calls == []

    async def test_never_still_serves_sessions_made_elsewhere(self, site: Site) -> None:
        session_id = await site.seed(user="alice")
        site.configure(creation="never")
        browser = Browser(pages(site), cookie=session_id)
        assert (await browser.get("/who")).text == '"alice"'
        await browser.get("/logout")
        assert await site.stored(session_id) is None

    def test_unknown_policy_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="creation"):
            SessionFilter(InMemorySessionStore(), creation="sometimes")  # type: ignore[arg-type]


class TestConstruction:
    def test_positional_arguments_are_store_name_ttl_and_secure(self) -> None:
        store = InMemorySessionStore()
        made = SessionFilter(store, "SID", 60, True)
        assert made.store is store
        assert made.resolver == SessionCookie(name="SID", secure=True)

    def test_order_is_the_original_one(self) -> None:
        assert SessionFilter.__pyfly_order__ == -(2**31) + 150

    @for_each("ttl", [0, -1, 2**31, "soon"])
    def test_impossible_ttl_is_refused(self, ttl: Any) -> None:
        with pytest.raises(ConfigurationError, match="ttl must be"):
            SessionFilter(InMemorySessionStore(), ttl=ttl)

    @for_each("store", [None, object(), InMemorySessionStore])
    def test_what_is_no_store_is_refused(self, store: Any) -> None:
        with pytest.raises(StoreContractError):
            SessionFilter(store)

    def test_texts_are_not_taken_for_what_they_say(self) -> None:
        """Those of a configuration have become values by then."""
        with pytest.raises(ConfigurationError, match="secure must be a bool, got 'false'"):
            SessionCookie(secure="false")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="ttl must be a whole number"):
            SessionFilter(InMemorySessionStore(), ttl="60")  # type: ignore[arg-type]

    def test_one_text_is_not_taken_for_a_list_of_exclude_patterns(self) -> None:
        made = SessionFilter(InMemorySessionStore(), exclude_patterns="/static/*")
        assert made.exclude_patterns == ("/static/*",)


class TestMethods:
    @for_each("method", ["HEAD", "OPTIONS", "POST"])
    async def test_every_method_has_the_session(self, site: Site, method: str) -> None:
        browser = Browser(site.app(login=login, idle=idle))
        old = (await browser.get("/login", method=method)).session_id
        assert await site.stored(old) == {"user": "alice"}
        answer = await browser.get("/idle", method=method)
        assert answer.status == 200
        assert answer.session_id == old

    @for_each(("path", "status"), [("/nowhere", 404), ("/idle", 405)])
    async def test_error_pages_slide_the_session_too(
        self, site: Site, path: str, status: int
    ) -> None:
        browser = Browser(pages(site))
        old = (await browser.get("/login")).session_id
        answer = await browser.get(path, method="DELETE")
        assert answer.status == status
        assert answer.session_id == old


class TestMountedApplication:
    async def test_shares_the_session_of_the_outer_one(self, site: Site) -> None:
        inner = Starlette(routes=[Route("/who", who), Route("/logout", logout)])
        app = site.app(Mount("/admin", inner), login=login)
        browser = Browser(app)
        old = (await browser.get("/login")).session_id
        assert (await browser.get("/admin/who")).text == '"alice"'
        await browser.get("/admin/logout")
        assert await site.stored(old) is None

    async def test_with_a_chain_of_its_own_runs_the_filter_once(self, site: Site) -> None:
        chain = Middleware(WebFilterChainMiddleware, filters=[site.filter])
        inner = Starlette(routes=[Route("/login", login)], middleware=[chain])
        browser = Browser(site.app(Mount("/admin", inner), who=who))
        answer = await browser.get("/admin/login")
        assert len(answer.all("set-cookie")) == 1
        assert (await browser.get("/who")).text == '"alice"'
        # One to create, one to load: no filter ran twice.
        assert len([each for each in site.probe.names if each != "exists"]) <= 4

    async def test_only_the_mounted_application_has_sessions(self, site: Site) -> None:
        chain = Middleware(WebFilterChainMiddleware, filters=[site.filter])
        inner = Starlette(routes=[Route("/login", login), Route("/who", who)], middleware=[chain])
        app = Starlette(routes=[Mount("/app", inner), Route("/", PlainTextResponse("plain"))])
        browser = Browser(app)
        await browser.get("/app/login")
        assert (await browser.get("/app/who")).text == '"alice"'
        site.probe.calls.clear()
        assert (await browser.get("/")).cookie() is None
        assert site.probe.calls == []


async def test_slow_request_that_reads_a_list_looks_once_whether_its_session_lives(
    native_site: Site,
) -> None:
    """Before the head leaves. Nothing changed since, so there is nothing to save after it."""

    async def read(request: Request) -> Response:
        assert request.state.session.get_attribute("cart") == ["lamp"]
        native_site.clock.advance(1)
        return PlainTextResponse("ok")

    known = await native_site.seed(cart=["lamp"])
    native_site.probe.calls.clear()
    await ask(native_site.app(read=read), "/read", cookie=known)
    assert native_site.probe.names == ["load_and_slide", "exists"]
