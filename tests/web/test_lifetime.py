"""How long a session lives, as a browser sees it: idle time, absolute lifetime, its own time."""

from __future__ import annotations

import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pyfly_session.auto_configuration import create_container, enable_sessions
from tests.conftest import Clock
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Browser
from tests.web.stores import Probe

TICK = 2**-10
START = 1_800_000_000.0


async def look(request: Request) -> Response:
    session = request.state.session
    return JSONResponse(
        {
            "user": session.get_attribute("user"),
            "created": session.created_at,
            "accessed": session.last_accessed,
        }
    )


async def login(request: Request) -> Response:
    session = request.state.session
    session.set_attribute("user", "alice")
    session.rotate_id()
    return JSONResponse(None)


async def write(request: Request) -> Response:
    session = request.state.session
    session.set_attribute("n", (session.get_attribute("n") or 0) + 1)
    return JSONResponse(None)


async def idle(request: Request) -> Response:
    seconds = request.query_params["seconds"]
    request.state.session.set_max_inactive_interval(int(seconds) if seconds else None)
    return JSONResponse(None)


HANDLERS: dict[str, Any] = {"look": look, "login": login, "write": write, "idle": idle}


async def logged_in(site: Site, **options: Any) -> Browser:
    browser = Browser(site.configure(**options).app(**HANDLERS))
    await browser.get("/login")
    return browser


async def user(browser: Browser) -> Any:
    """Return who is logged in; counts as an access."""
    answer = await browser.get("/look")
    assert answer.status == 200
    return json.loads(answer.text)["user"]


async def max_age(browser: Browser, path: str = "/look") -> int:
    cookie = (await browser.get(path)).cookie()
    assert cookie is not None
    return cookie.max_age


async def test_idle_time_ends_the_session_exactly(timed_site: Site) -> None:
    browser = await logged_in(timed_site, ttl=100)
    timed_site.clock.advance(100 - TICK)
    assert await user(browser) == "alice"
    timed_site.clock.advance(100)
    assert await user(browser) is None


@for_each("path", ["/look", "/write", "/login"])
async def test_absolute_lifetime_ends_it_exactly_whatever_it_is_used_for(
    timed_site: Site, path: str
) -> None:
    """Neither writing nor a new id makes it younger."""
    browser = await logged_in(timed_site, ttl=100, max_lifetime=250)
    for _ in range(4):
        timed_site.clock.advance(50)
        assert (await browser.get(path)).session_id == browser.cookie
    timed_site.clock.advance(50 - TICK)
    assert await user(browser) == "alice"
    timed_site.clock.advance(TICK)
    former = browser.cookie
    assert await user(browser) is None
    assert browser.cookie != former


async def test_idle_time_ends_it_before_the_absolute_lifetime(timed_site: Site) -> None:
    browser = await logged_in(timed_site, ttl=100, max_lifetime=250)
    timed_site.clock.advance(100)
    assert await user(browser) is None


async def test_cookie_lives_no_longer_than_the_session(timed_site: Site) -> None:
    browser = await logged_in(timed_site, ttl=100, max_lifetime=250)
    assert await max_age(browser) == 100
    for passed, left in ((99, 100), (60, 91), (90, 1)):
        timed_site.clock.advance(passed)
        assert await max_age(browser) == left
    timed_site.clock.advance(0.5)
    assert await max_age(browser, "/write") == 1


async def test_last_second_is_not_rounded_down_to_the_removal_of_the_cookie(
    timed_site: Site,
) -> None:
    browser = await logged_in(timed_site, ttl=100, max_lifetime=50)
    timed_site.clock.advance(50 - TICK)
    assert await max_age(browser, "/write") == 1
    assert await user(browser) == "alice"


@for_each("own", [10, 1000])
async def test_own_idle_time_holds_instead_of_the_common_one(timed_site: Site, own: int) -> None:
    browser = await logged_in(timed_site, ttl=100)
    assert await max_age(browser, f"/idle?seconds={own}") == own
    for path in ("/look", "/write", "/login", "/look"):
        timed_site.clock.advance(own - TICK)
        assert await max_age(browser, path) == own
    assert await user(browser) == "alice"
    timed_site.clock.advance(own)
    assert await user(browser) is None


async def test_own_idle_time_can_be_given_back(timed_site: Site) -> None:
    browser = await logged_in(timed_site, ttl=100)
    await browser.get("/idle?seconds=1000")
    assert await max_age(browser, "/idle?seconds=") == 100
    timed_site.clock.advance(100)
    assert await user(browser) is None


@for_each("own", [10, 1000])
async def test_own_idle_time_does_not_lift_the_absolute_lifetime(
    timed_site: Site, own: int
) -> None:
    browser = await logged_in(timed_site, ttl=100, max_lifetime=200)
    assert await max_age(browser, f"/idle?seconds={own}") == min(own, 200)
    passed = 0
    while passed + 9 < 200:
        timed_site.clock.advance(9)
        passed += 9
        assert await max_age(browser) == min(own, 200 - passed)
    timed_site.clock.advance(200 - passed)
    assert await user(browser) is None


@for_each(("common", "own"), [(100, 10), (10, 100)])
async def test_late_write_keeps_the_idle_time_that_another_request_gave(
    timed_site: Site, common: int, own: int
) -> None:
    """The late request began when the session had none of its own."""
    browser = await logged_in(timed_site, ttl=common)
    assert browser.cookie
    repository = timed_site.filter.repository
    late = await repository.load(browser.cookie)
    assert late
    await browser.get(f"/idle?seconds={own}")
    late.set_attribute("late", 1)
    await repository.commit(late)

    assert repository.seconds_to_live(late) == own
    timed_site.clock.advance(own - TICK)
    assert await timed_site.stored(browser.cookie) == {"user": "alice", "late": 1}
    timed_site.clock.advance(TICK)
    assert await timed_site.stored(browser.cookie) is None


async def test_late_write_keeps_that_idle_time_after_many_changes_of_id(memory_site: Site) -> None:
    """So many that the writer has to look again before it gets there."""
    browser = await logged_in(memory_site, ttl=100)
    assert browser.cookie
    repository = memory_site.filter.repository
    late = await repository.load(browser.cookie)
    assert late
    for _ in range(6):
        await browser.get("/login")
    await browser.get("/idle?seconds=10")
    late.set_attribute("late", 1)
    await repository.commit(late)

    memory_site.clock.advance(10 - TICK)
    assert await memory_site.stored(browser.cookie) == {"user": "alice", "late": 1}
    memory_site.clock.advance(TICK)
    assert await memory_site.stored(browser.cookie) is None


async def test_time_of_creation_stays_and_that_of_the_access_is_of_this_request(site: Site) -> None:
    browser = await logged_in(site)
    for passed in (5, 10, 20):
        site.clock.now = START + passed
        answer = await browser.get("/look")
        assert f'"created":{START},"accessed":{START + passed}' in answer.text
    await browser.get("/login")
    site.clock.now = START + 30
    assert f'"created":{START},' in (await browser.get("/look")).text


async def test_looking_into_the_store_from_outside_is_no_access(timed_site: Site) -> None:
    browser = await logged_in(timed_site, ttl=100)
    timed_site.clock.advance(99)
    assert await timed_site.stored(browser.cookie) == {"user": "alice"}
    timed_site.clock.advance(1)
    assert await user(browser) is None


async def test_the_server_keeps_no_entry_beyond_the_lifetime_of_a_session_that_was_written(
    make_store: Any, valkey: Any, clock: Clock
) -> None:
    site = Site(Probe(make_store("valkey")), clock)
    browser = await logged_in(site, ttl=1800, max_lifetime=2000)
    key = f"pyfly:session:{browser.cookie}"
    assert 1790 < await valkey.ttl(key) <= 1800
    clock.advance(1000)
    await browser.get("/write")
    assert 990 < await valkey.ttl(key) <= 1000
    await browser.get("/idle?seconds=60")
    assert 50 < await valkey.ttl(key) <= 60
    await browser.get("/look")
    assert 50 < await valkey.ttl(key) <= 60


async def test_the_properties_reach_all_of_it() -> None:
    clock = Clock(START)
    session = {"enabled": True, "ttl": 100, "max-lifetime": 250}
    container = create_container({"pyfly": {"session": session}})
    container.clock.override(clock)
    routes = [Route(f"/{name}", handler) for name, handler in HANDLERS.items()]
    browser = Browser(enable_sessions(Starlette(routes=routes), container))
    await browser.get("/login")
    assert await max_age(browser) == 100
    clock.advance(99)
    assert await max_age(browser, "/idle?seconds=120") == 120
    clock.advance(119)
    assert await max_age(browser) == 32
    clock.advance(32 - TICK)
    assert await user(browser) == "alice"
    clock.advance(TICK)
    assert await user(browser) is None
