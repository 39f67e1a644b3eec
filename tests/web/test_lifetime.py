"""How long a session lives, as a browser sees it: idle time, absolute lifetime, its own time."""

import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pyfly_session.auto_configuration import create_container, enable_sessions
from tests.conftest import Clock
from tests.support.cases import for_each
from tests.support.sessions import loaded
from tests.web.conftest import EACH_TIMED_STORE, Site
from tests.web.driver import Browser
from tests.web.pages import Page
from tests.web.stores import Probe

TICK = 2**-10
START = 1_800_000_000.0


async def look(session: Any) -> Response:
    return JSONResponse(
        {
            "user": session.get_attribute("user"),
            "created": session.created_at,
            "accessed": session.last_accessed,
        }
    )


async def login(session: Any) -> None:
    session.set_attribute("user", "alice")
    session.rotate_id()


async def write(session: Any) -> None:
    session.set_attribute("n", (session.get_attribute("n") or 0) + 1)


async def idle(request: Request) -> None:
    seconds = request.query_params["seconds"]
    request.state.session.set_max_inactive_interval(int(seconds) if seconds else None)


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
    return (await browser.get(path)).own_cookie.max_age


async def test_idle_time_ends_the_session_exactly(site: Site) -> None:
    browser = await logged_in(site, ttl=100)
    site.clock.advance(100 - TICK)
    assert await user(browser) == "alice"
    site.clock.advance(100)
    assert await user(browser) is None


@for_each("path", ["/look", "/write", "/login"])
@EACH_TIMED_STORE
async def test_absolute_lifetime_ends_it_exactly_whatever_it_is_used_for(
    site: Site, path: str
) -> None:
    """Neither writing nor a new id makes it younger."""
    browser = await logged_in(site, ttl=100, max_lifetime=250)
    for _ in range(4):
        site.clock.advance(50)
        assert (await browser.get(path)).session_id == browser.cookie
    site.clock.advance(50 - TICK)
    assert await user(browser) == "alice"
    site.clock.advance(TICK)
    former = browser.cookie
    assert await user(browser) is None
    assert browser.cookie != former
    assert await site.stored(former) is None


async def test_idle_time_ends_it_before_the_absolute_lifetime(site: Site) -> None:
    browser = await logged_in(site, ttl=100, max_lifetime=250)
    site.clock.advance(100)
    assert await user(browser) is None


async def test_cookie_lives_no_longer_than_the_session(site: Site) -> None:
    browser = await logged_in(site, ttl=100, max_lifetime=250)
    assert await max_age(browser) == 100
    for passed, left in ((99, 100), (60, 91), (90, 1)):
        site.clock.advance(passed)
        assert await max_age(browser) == left
    site.clock.advance(0.5)
    assert await max_age(browser, "/write") == 1


async def test_last_second_is_not_rounded_down_to_the_removal_of_the_cookie(site: Site) -> None:
    browser = await logged_in(site, ttl=100, max_lifetime=50)
    site.clock.advance(50 - TICK)
    assert (await max_age(browser, "/write"), await user(browser)) == (1, "alice")


@for_each("own", [10, 1000])
@EACH_TIMED_STORE
async def test_own_idle_time_holds_instead_of_the_common_one(site: Site, own: int) -> None:
    browser = await logged_in(site, ttl=100)
    assert await max_age(browser, f"/idle?seconds={own}") == own
    for path in ("/look", "/write", "/login", "/look"):
        site.clock.advance(own - TICK)
        assert await max_age(browser, path) == own
    assert await user(browser) == "alice"
    site.clock.advance(own)
    assert await user(browser) is None


async def test_own_idle_time_can_be_given_back(site: Site) -> None:
    browser = await logged_in(site, ttl=100)
    await browser.get("/idle?seconds=1000")
    assert await max_age(browser, "/idle?seconds=") == 100
    site.clock.advance(100)
    assert await user(browser) is None


@for_each("own", [10, 1000])
async def test_own_idle_time_does_not_lift_the_absolute_lifetime(site: Site, own: int) -> None:
    browser = await logged_in(site, ttl=100, max_lifetime=200)
    assert await max_age(browser, f"/idle?seconds={own}") == min(own, 200)
    passed = 0
    while passed + 9 < 200:
        site.clock.advance(9)
        passed += 9
        assert await max_age(browser) == min(own, 200 - passed)
    site.clock.advance(200 - passed)
    assert await user(browser) is None


@for_each(("common", "own"), [(100, 10), (10, 100)])
async def test_late_write_keeps_the_idle_time_that_another_request_gave(
    site: Site, common: int, own: int
) -> None:
    """The late request began when the session had none of its own."""
    browser = await logged_in(site, ttl=common)
    assert browser.cookie
    repository = site.filter.repository
    late = await loaded(repository, browser.cookie)
    await browser.get(f"/idle?seconds={own}")
    late.set_attribute("late", 1)
    await repository.commit(late)

    assert repository.seconds_to_live(late) == own
    site.clock.advance(own - TICK)
    assert await site.stored(browser.cookie) == {"user": "alice", "late": 1}
    site.clock.advance(TICK)
    assert await site.stored(browser.cookie) is None


async def test_late_write_keeps_that_idle_time_after_many_changes_of_id(site: Site) -> None:
    """So many that the writer has to look again before it gets there."""
    browser = await logged_in(site, ttl=100)
    assert browser.cookie
    repository = site.filter.repository
    late = await loaded(repository, browser.cookie)
    for _ in range(6):
        await browser.get("/login")
    await browser.get("/idle?seconds=10")
    late.set_attribute("late", 1)
    await repository.commit(late)

    site.clock.advance(10 - TICK)
    assert await site.stored(browser.cookie) == {"user": "alice", "late": 1}
    site.clock.advance(TICK)
    assert await site.stored(browser.cookie) is None


async def test_time_of_creation_stays_and_that_of_the_access_is_of_this_request(site: Site) -> None:
    browser = await logged_in(site)
    for passed in (5, 10, 20):
        site.clock.now = START + passed
        answer = await browser.get("/look")
        assert f'"created":{START},"accessed":{START + passed}' in answer.text
    await browser.get("/login")
    site.clock.now = START + 30
    assert f'"created":{START},' in (await browser.get("/look")).text


async def test_looking_into_the_store_from_outside_is_no_access(site: Site) -> None:
    browser = await logged_in(site, ttl=100)
    site.clock.advance(99)
    assert await site.stored(browser.cookie) == {"user": "alice"}
    site.clock.advance(1)
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
    routes = [Page(f"/{name}", handler) for name, handler in HANDLERS.items()]
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
