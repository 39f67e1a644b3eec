"""Visitors who are nobody have an idle time of their own, which a login ends."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pyfly_session import ConfigurationError, SecurityContext
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration import create_container, enable_sessions
from pyfly_session.core.session import HttpSession
from pyfly_session.web import SessionFilter
from tests.conftest import Clock
from tests.support.sessions import loaded
from tests.web.conftest import Site
from tests.web.driver import Browser
from tests.web.pages import Page, enter, leave
from tests.web.stores import Probe

TICK = 2**-10
TTL, NOBODY = 100, 10


async def clear(request: Request) -> Response:
    request.state.session.clear()
    request.state.session.rotate_id()
    return JSONResponse(None)


async def by_hand(session: Any) -> None:
    """As applications of the original do it."""
    session.rotate_id()
    session.set_attribute("SECURITY_CONTEXT", SecurityContext(user_id="bob"))


async def own(request: Request) -> None:
    seconds = request.query_params["seconds"]
    request.state.session.set_max_inactive_interval(int(seconds) if seconds else None)


HANDLERS: dict[str, Any] = {
    "look": lambda session: JSONResponse([session.principal, session.get_attribute("cart")]),
    "add": lambda session: session.set_attribute("cart", "lamp"), "login": enter,
    "logout": leave, "clear": clear, "by-hand": by_hand,
    "by-hand-out": lambda session: session.remove_attribute("SECURITY_CONTEXT"), "own": own,
}  # fmt: skip


def browser_of(site: Site, **options: Any) -> Browser:
    return Browser(site.configure(ttl=TTL, anonymous_ttl=NOBODY, **options).app(**HANDLERS))


async def lives(browser: Browser, path: str) -> int:
    """Return how long the cookie lives, which is as long as the session does."""
    return (await browser.get(path)).own_cookie.max_age


@pytest.mark.parametrize("creation", ["always", "if-required"])
async def test_a_visitor_who_is_nobody_is_forgotten_sooner(site: Site, creation: Any) -> None:
    browser = browser_of(site, creation=creation)
    for _ in range(3):
        assert await lives(browser, "/add") == NOBODY
        site.clock.advance(NOBODY - TICK)
        assert (await browser.get("/look")).text == '[null,"lamp"]'
        site.clock.advance(NOBODY - TICK)
    former = browser.cookie
    site.clock.advance(TICK)
    assert await site.stored(former) is None


async def test_nothing_is_stored_for_the_sake_of_it(site: Site) -> None:
    assert (await browser_of(site, creation="if-required").get("/look")).cookie() is None
    assert site.probe.new_ids == []


async def test_a_login_ends_it_and_a_logout_goes_back(site: Site) -> None:
    """The cart of the visitor is kept; also in another process."""
    browser = browser_of(site)
    other = site.another_node(ttl=TTL, anonymous_ttl=NOBODY).app(**HANDLERS)
    assert (await lives(browser, "/add"), await lives(browser, "/login")) == (NOBODY, TTL)
    for app in (browser.app, other):
        browser.app = app
        assert await lives(browser, "/look") == TTL
    assert (await browser.get("/look")).text == '["alice","lamp"]'
    assert (await lives(browser, "/clear"), await lives(browser, "/look")) == (NOBODY, NOBODY)
    assert await lives(browser, "/login") == TTL
    await browser.get("/logout")
    assert await lives(browser, "/look") == NOBODY


async def test_a_context_that_is_set_by_hand_is_somebody(site: Site) -> None:
    browser = browser_of(site)
    await browser.get("/add")
    assert (await lives(browser, "/by-hand"), await lives(browser, "/by-hand-out")) == (TTL, NOBODY)


async def test_an_idle_time_of_its_own_counts_more(site: Site) -> None:
    browser = browser_of(site)
    assert (await lives(browser, "/own?seconds=50"), await lives(browser, "/add")) == (50, 50)
    assert (await lives(browser, "/login"), await lives(browser, "/own?seconds=")) == (50, TTL)


async def test_one_of_its_own_can_be_given_back_by_somebody_who_is_nobody(site: Site) -> None:
    browser = browser_of(site)
    assert (await lives(browser, "/add"), await lives(browser, "/own?seconds=50")) == (NOBODY, 50)
    assert (await lives(browser, "/own?seconds="), await lives(browser, "/login")) == (NOBODY, TTL)


async def test_a_server_slides_it_in_one_trip(make_store: Any, valkey: Any, clock: Clock) -> None:
    """The idle time stands in front, where the server finds it."""
    site = Site(Probe(make_store("valkey")), clock)
    browser = browser_of(site)
    await browser.get("/add")
    key = f"pyfly:session:{browser.cookie}"
    assert 5 < await valkey.ttl(key) <= NOBODY
    await valkey.expire(key, 3)
    site.probe.calls.clear()
    await browser.get("/look")
    assert site.probe.names == ["load_and_slide"]
    assert 5 < await valkey.ttl(key) <= NOBODY
    await browser.get("/login")
    key = f"pyfly:session:{browser.cookie}"
    assert 95 < await valkey.ttl(key) <= TTL


async def test_what_a_visitor_writes_while_logging_in_leaves_the_login_its_time(site: Site) -> None:
    """Both orders: the cart before the login is stored, and after."""
    browser = browser_of(site)
    await browser.get("/look")
    repository = site.filter.repository
    late = await loaded(repository, browser.cookie or "")
    late.set_attribute("cart", "rope")
    await browser.get("/login")
    await repository.commit(late)

    assert (await browser.get("/look")).text == '["alice","rope"]'
    assert await lives(browser, "/look") == TTL


async def test_session_from_before_property_keeps_its_time_until_next_login(site: Site) -> None:
    browser = Browser(site.configure(ttl=TTL).app(**HANDLERS))
    await browser.get("/add")
    browser.app = browser_of(site).app
    assert await lives(browser, "/add") == TTL
    await browser.get("/login")
    assert await lives(browser, "/clear") == NOBODY


async def test_a_property_that_is_taken_back_leaves_nobody_behind_at_a_login(site: Site) -> None:
    """Or users who logged in later would be logged out early."""
    browser = browser_of(site)
    await browser.get("/add")
    browser.app = site.configure(ttl=TTL).app(**HANDLERS)
    assert (await lives(browser, "/look"), await lives(browser, "/login")) == (NOBODY, TTL)


async def test_the_marks_are_metadata(site: Site) -> None:
    browser = browser_of(site)
    await browser.get("/add")
    data = await site.probe.inner.get(browser.cookie)
    assert (data["_anonymous"], data["_max_inactive_interval"]) == (1, NOBODY)
    assert HttpSession("x" * 32, data).attribute_names() == ["cart"]


async def test_the_property_reaches_the_sessions(clock: Clock) -> None:
    session = {"enabled": True, "ttl": TTL, "anonymous-ttl": "10s"}
    container = create_container({"pyfly": {"session": session}})
    container.clock.override(clock)
    routes = [Page(f"/{name}", handler) for name, handler in HANDLERS.items()]
    browser = Browser(enable_sessions(Starlette(routes=routes), container))
    assert (await lives(browser, "/add"), await lives(browser, "/login")) == (NOBODY, TTL)


def test_what_is_no_idle_time_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="anonymous_ttl must be a whole number") as caught:
        SessionFilter(InMemorySessionStore(), anonymous_ttl=0)
    assert (caught.value.key, caught.value.value) == ("anonymous_ttl", 0)
