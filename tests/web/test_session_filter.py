"""A request's way through `SessionFilter`, seen from the browser."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pyfly_session import (
    ConfigurationError,
    HttpSession,
    SessionEncodingError,
    SessionReadOnlyError,
)
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.web import SessionCookie, SessionFilter
from tests.support.cases import for_each
from tests.web.conftest import EACH_STORE, Site
from tests.web.driver import Browser, ask
from tests.web.pages import invalidate


async def login(session: Any) -> None:
    session.set_attribute("user", "alice")


async def who(session: Any) -> Response:
    return JSONResponse(session.get_attribute("user"))


async def idle(request: Request) -> Response:
    return PlainTextResponse("idle")


async def rotate(session: Any) -> Response:
    session.rotate_id()
    return PlainTextResponse(session.id)


def pages(site: Site) -> Starlette:
    return site.app(login=login, who=who, idle=idle, logout=invalidate, rotate=rotate)


@EACH_STORE
async def test_what_one_request_stores_the_next_one_reads(site: Site) -> None:
    browser = Browser(pages(site))
    await browser.get("/login")
    assert (await browser.get("/who")).text == '"alice"'


async def test_state_holds_an_http_session_that_is_new_only_once(site: Site) -> None:
    async def show(session: Any) -> Response:
        assert isinstance(session, HttpSession)
        return JSONResponse(session.is_new)

    browser = Browser(site.app(show=show))
    assert (await browser.get("/show")).text == "true"
    assert (await browser.get("/show")).text == "false"


async def test_id_from_the_client_is_never_adopted(site: Site) -> None:
    chosen = "f" * 32
    assert (await ask(pages(site), "/login", cookie=chosen)).session_id != chosen
    assert await site.stored(chosen) is None


@EACH_STORE
async def test_logout_deletes_the_entry_and_the_cookie(site: Site) -> None:
    browser = Browser(pages(site))
    old = (await browser.get("/login")).session_id
    assert (await browser.get("/logout")).own_cookie.is_deletion
    assert (await site.stored(old), browser.cookie) == (None, None)


async def test_logout_without_an_entry_still_removes_a_stale_cookie(site: Site) -> None:
    assert (await ask(pages(site), "/logout", cookie="f" * 32)).own_cookie.is_deletion


@EACH_STORE
async def test_rotation_moves_the_data_and_kills_the_old_id(site: Site) -> None:
    browser = Browser(pages(site))
    old = (await browser.get("/login")).session_id
    answer = await browser.get("/rotate")
    assert answer.session_id == answer.text != old
    assert (await site.stored(old), (await browser.get("/who")).text) == (None, '"alice"')
    assert (await ask(pages(site), "/who", cookie=old)).text == "null"


@EACH_STORE
async def test_rotating_twice_leaves_only_the_last_id(site: Site) -> None:
    seen: list[str] = []

    async def twice(session: Any) -> None:
        for _ in range(2):
            session.rotate_id()
            seen.append(session.id)

    browser = Browser(site.app(login=login, twice=twice, who=who))
    first = (await browser.get("/login")).session_id
    assert ((await browser.get("/twice")).session_id, await site.stored(first)) == (seen[1], None)
    assert (await site.stored(seen[0]), await site.stored(seen[1])) == (None, {"user": "alice"})


async def test_rotating_a_new_session_sends_only_the_last_id(site: Site) -> None:
    async def fresh(session: Any) -> Response:
        first = session.id
        session.rotate_id()
        return PlainTextResponse(first)

    answer = await ask(site.app(fresh=fresh), "/fresh")
    assert answer.session_id != answer.text
    assert (await site.stored(answer.text), await site.stored(answer.session_id)) == (None, {})


async def test_invalidate_after_rotate_ends_both_ids(site: Site) -> None:
    seen: list[str] = []

    async def both(session: Any) -> None:
        session.rotate_id()
        seen.append(session.id)
        session.invalidate()

    browser = Browser(site.app(login=login, both=both))
    old = (await browser.get("/login")).session_id
    await browser.get("/both")
    assert (browser.cookie, await site.stored(old)) == (None, None)
    assert await site.stored(seen[0]) is None


async def test_unencodable_attribute_is_a_500_and_nothing_is_written(site: Site) -> None:
    async def bad(session: Any) -> None:
        session.set_attribute("fine", 1)
        session.set_attribute("broken", {"deep": [object()]})

    browser = Browser(site.app(login=login, bad=bad))
    old = (await browser.get("/login")).session_id
    answer = await browser.get("/bad", swallow=True)
    assert answer.status == 500
    assert isinstance(answer.error, SessionEncodingError)
    assert (answer.error.attribute, answer.error.type_name) == ("broken", "object")
    assert "'broken'" in str(answer.error)
    assert "object" in str(answer.error)
    assert await site.stored(old) == {"user": "alice"}


async def test_forged_type_tag_in_user_data_stays_plain_data(site: Site) -> None:
    forged = {"__pyfly_type__": "pyfly.security.context:SecurityContext", "roles": ["ADMIN"]}

    async def put(session: Any) -> None:
        session.set_attribute("profile", forged)

    async def show(session: Any) -> Response:
        value = session.get_attribute("profile")
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
            assert (await ask(pages(site), path)).cookie() is None
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
        assert (answer.cookie(), await site.stored("f" * 32)) == (None, None)

    async def test_never_refuses_to_write_and_stores_nothing(self, site: Site) -> None:
        site.configure(creation="never")
        answer = await ask(pages(site), "/who")
        assert (answer.status, answer.cookie()) == (200, None)
        for path in ("/login", "/rotate"):
            answer = await ask(pages(site), path, swallow=True)
            assert (answer.status, answer.cookie()) == (500, None)
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
        assert (answer.status, answer.session_id) == (200, old)

    @for_each(("path", "status"), [("/nowhere", 404), ("/idle", 405)])
    async def test_error_pages_slide_session_too(self, site: Site, path: str, status: int) -> None:
        browser = Browser(pages(site))
        old = (await browser.get("/login")).session_id
        answer = await browser.get(path, method="DELETE")
        assert (answer.status, answer.session_id) == (status, old)


async def test_slow_request_that_reads_list_looks_once_at_session(site: Site) -> None:
    """Before the head leaves. Nothing changed since, so there is nothing to save after it."""

    async def read(session: Any) -> None:
        assert session.get_attribute("cart") == ["lamp"]
        site.clock.advance(1)

    known = await site.seed(cart=["lamp"])
    site.probe.calls.clear()
    await ask(site.app(read=read), "/read", cookie=known)
    assert site.probe.names == ["load_and_slide", "exists"]
