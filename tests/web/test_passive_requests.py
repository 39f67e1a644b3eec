"""Requests for passive paths use a session and do not keep it alive."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount

from pyfly_session import ConfigurationError, SecurityContext
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration import create_container, enable_sessions
from pyfly_session.core.encryption import EncryptedSessionCodec
from pyfly_session.security import login
from pyfly_session.web import SessionFilter
from tests.conftest import Clock, take_scripts_away
from tests.web.conftest import Site
from tests.web.driver import Browser
from tests.web.pages import Page
from tests.web.stores import Probe

TICK = 2**-10
TTL = 100
PASSIVE = ("/poll*",)


async def look(session: Any) -> Response:
    return JSONResponse(session.principal)


async def sign_in(request: Request) -> Response:
    await login(request, SecurityContext(user_id="alice"))
    return JSONResponse(None)


async def count(session: Any) -> Response:
    session.set_attribute("n", session.get_attribute("n", 0) + 1)
    return JSONResponse(None)


async def update(session: Any) -> Response:
    session.update_attribute("n", lambda n: (n or 0) + 1)
    return JSONResponse(None)


async def rotate(session: Any) -> Response:
    session.rotate_id()
    return JSONResponse(None)


async def short(session: Any) -> Response:
    session.set_max_inactive_interval(50)
    return JSONResponse(None)


HANDLERS: dict[str, Any] = {
    "login": sign_in, "look": look, "short": short, "poll": look, "poll-count": count,
    "poll-update": update, "poll-rotate": rotate, "poll-login": sign_in, "poll-short": short,
}  # fmt: skip


async def logged_in(site: Site, **options: Any) -> Browser:
    site.configure(ttl=TTL, passive_patterns=PASSIVE, **options)
    browser = Browser(site.app(**HANDLERS))
    await browser.get("/login")
    return browser


async def test_polling_sees_the_session_and_does_not_keep_it_alive(site: Site) -> None:
    browser = await logged_in(site)
    for _ in range(9):
        site.clock.advance(10)
        answer = await browser.get("/poll")
        assert (answer.text, answer.cookie()) == ('"alice"', None)
    site.clock.advance(10 - TICK)
    assert (await browser.get("/poll")).text == '"alice"'
    site.clock.advance(TICK)
    assert (await browser.get("/poll")).text == "null"


async def test_any_other_request_still_does(site: Site) -> None:
    browser = await logged_in(site)
    for _ in range(3):
        site.clock.advance(90)
        await browser.get("/poll")
        assert (await browser.get("/look")).own_cookie.max_age == TTL


@pytest.mark.parametrize("path", ["/poll-count", "/poll-update"])
async def test_what_polling_writes_is_kept_and_keeps_not_alive(site: Site, path: str) -> None:
    browser = await logged_in(site)
    former = browser.cookie
    for _ in range(9):
        site.clock.advance(10)
        assert (await browser.get(path)).cookie() is None
    stored = await site.stored(former)
    assert stored is not None
    assert stored["n"] == 9
    site.clock.advance(10)
    assert await site.stored(former) is None


async def test_a_store_that_cannot_keep_a_life_gives_a_write_the_full_one(
    make_store: Any, clock: Clock
) -> None:
    site = Site(Probe(make_store("four-verbs")), clock)
    browser = await logged_in(site)
    clock.advance(90)
    await browser.get("/poll-count")
    clock.advance(90)
    assert (await browser.get("/poll")).text == '"alice"'


@pytest.mark.parametrize("path", ["/poll-rotate", "/poll-login", "/poll-short"])
async def test_login_new_id_and_lifetime_count_wherever_they_are(site: Site, path: str) -> None:
    """The browser is told, too."""
    browser = await logged_in(site)
    site.clock.advance(90)
    cookie = (await browser.get(path)).own_cookie
    lives = 50 if path == "/poll-short" else TTL
    assert cookie.max_age == lives
    site.clock.advance(lives - TICK)
    assert (await browser.get("/poll")).text == '"alice"'


async def test_an_idle_time_of_its_own_goes_on_under_polling(site: Site) -> None:
    browser = await logged_in(site)
    await browser.get("/short")
    for _ in range(4):
        site.clock.advance(10)
        assert (await browser.get("/poll")).text == '"alice"'
    site.clock.advance(10)
    assert (await browser.get("/poll")).text == "null"


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("own", ["/look", "/short"])
async def test_a_server_leaves_the_life_as_it_is(
    make_store: Any, valkey: Any, clock: Clock, own: str, scripts: bool
) -> None:
    """Of a session of its own idle time as well, in one trip, a write included."""
    if not scripts:
        take_scripts_away(valkey)
    site = Site(Probe(make_store("valkey")), clock)
    browser = await logged_in(site)
    await browser.get(own)
    key = f"pyfly:session:{browser.cookie}"
    await valkey.expire(key, 7)
    for path in ("/poll", "/poll-count", "/poll-update", "/poll"):
        site.probe.calls.clear()
        assert (await browser.get(path)).cookie() is None
        assert 0 < await valkey.ttl(key) <= 7
        assert (site.probe.names[0], len(site.probe.names)) == ("load_and_slide", 1 + ("-" in path))
    stored = await site.stored(browser.cookie)
    assert stored is not None
    assert stored["n"] == 2


async def test_polling_with_a_former_id_is_late_as_any_other(site: Site) -> None:
    browser = await logged_in(site)
    former = browser.cookie
    await browser.get("/poll-rotate")
    late = Browser(browser.app)
    late.cookie = former
    other_node = site.another_node(ttl=TTL, passive_patterns=PASSIVE).app(**HANDLERS)
    for app in (browser.app, other_node):
        late.app = app
        answer = await late.get("/poll")
        assert (answer.text, answer.cookie()) == ("null", None)


async def test_encrypted_sessions_are_polled_alike(clock: Clock) -> None:
    codec = EncryptedSessionCodec([Fernet.generate_key()])
    site = Site(Probe(InMemorySessionStore(clock=clock, codec=codec)), clock)
    browser = await logged_in(site)
    clock.advance(90)
    await browser.get("/poll-count")
    clock.advance(10 - TICK)
    assert (await browser.get("/poll")).text == '"alice"'
    clock.advance(TICK)
    assert (await browser.get("/poll")).text == "null"


async def test_a_long_poll_does_not_keep_the_session_alive(site: Site) -> None:
    site.configure(ttl=1, passive_patterns=PASSIVE)
    slid: list[str] = []

    async def poll(request: Request) -> Response:
        site.probe.calls.clear()
        [keep_alive] = site.filter._keep_alive.values()
        for commit in keep_alive.running:
            commit.slide_later()
        await site.filter.repository.drain()
        slid.extend(site.probe.names)
        return JSONResponse(None)

    browser = Browser(site.app(poll=poll, look=poll))
    browser.cookie = await site.seed()
    await browser.get("/poll")
    assert slid == []
    await browser.get("/look")
    assert slid == ["load_and_slide"]


async def test_patterns_are_compared_with_what_routes_see(site: Site) -> None:
    site.configure(ttl=TTL, passive_patterns=PASSIVE)
    routes = [Page(f"/{name}", handler) for name, handler in HANDLERS.items()]
    browser = Browser(Starlette(routes=[Mount("/shop", app=site.app(*routes))]))
    await browser.get("/shop/login")
    assert (await browser.get("/shop/poll")).cookie() is None
    assert (await browser.get("/shop/look")).cookie() is not None


async def test_a_foreign_chain_polls_alike(site: Site) -> None:
    site.configure(ttl=TTL, passive_patterns=PASSIVE)
    browser = Browser(site.app(foreign=True, **HANDLERS))
    await browser.get("/login")
    former = browser.cookie
    site.clock.advance(90)
    for path in ("/poll", "/poll-count"):
        assert (await browser.get(path)).cookie() is None
    site.clock.advance(10)
    assert await site.stored(former) is None


async def test_the_properties_reach_the_filter(clock: Clock) -> None:
    session = {"enabled": True, "ttl": TTL, "passive-patterns": ["/poll"]}
    container = create_container({"pyfly": {"session": session}})
    container.clock.override(clock)
    routes = [Page(f"/{name}", handler) for name, handler in HANDLERS.items()]
    browser = Browser(enable_sessions(Starlette(routes=routes), container))
    await browser.get("/login")
    assert (await browser.get("/poll")).cookie() is None
    assert (await browser.get("/poll-count")).cookie() is not None


def test_a_pattern_that_matches_nothing_is_refused(clock: Clock) -> None:
    with pytest.raises(ConfigurationError, match="each of passive_patterns must start with /"):
        SessionFilter(InMemorySessionStore(), passive_patterns=["poll"])
