"""One session's cookie ends with the browser, another's lasts; the store's life always agrees."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from pyfly_session import HttpSession, SecurityContext, login
from pyfly_session.core.codec import DEFAULT_CODEC
from pyfly_session.web import SessionCookie, SessionHeader
from tests.conftest import Clock
from tests.support.cases import for_each
from tests.support.sessions import loaded
from tests.web.conftest import Site
from tests.web.driver import Browser, Connection
from tests.web.stores import Probe

TICK = 2**-10
TTL = 100
MONTH = 30 * 86400
NOW = datetime.fromtimestamp(1_800_000_000, UTC)
CHOICES: dict[str, tuple[Any, bool | None]] = {
    "remember": (timedelta(days=30), True), "forget": (None, False), "forget-soon": (10, False),
    "until": (NOW + timedelta(seconds=250), None), "common": (None, None),
}  # fmt: skip


async def choose(request: Request) -> Response:
    """Log in, and remember it or not."""
    value, persistent = CHOICES[request.query_params["as"]]
    await login(request, SecurityContext(user_id="alice"))
    request.state.session.set_max_inactive_interval(value, persistent=persistent)
    return JSONResponse(None)


async def only_choose(request: Request) -> Response:
    value, persistent = CHOICES[request.query_params["as"]]
    request.state.session.set_max_inactive_interval(value, persistent=persistent)
    return JSONResponse(None)


async def write(session: Any) -> Response:
    session.update_attribute("n", lambda n: (n or 0) + 1)
    return JSONResponse(None)


async def rotate(session: Any) -> Response:
    session.rotate_id()
    return JSONResponse(None)


HANDLERS: dict[str, Any] = {
    "choose": choose, "only-choose": only_choose,
    "look": lambda session: JSONResponse(session.principal), "write": write, "rotate": rotate,
}  # fmt: skip


def browser_of(site: Site, **options: Any) -> Browser:
    return Browser(site.configure(ttl=TTL, **options).app(**HANDLERS))


async def max_age(browser: Browser, path: str = "/look") -> int | None:
    cookie = (await browser.get(path)).own_cookie
    return cookie.max_age if "max-age" in cookie.attributes else None


async def test_one_cookie_ends_with_the_browser_and_another_lasts_thirty_days(site: Site) -> None:
    """Also after reads, writes, a change of id, and in another process."""
    app = site.configure(ttl=TTL).app(**HANDLERS)
    other = site.another_node(ttl=TTL).app(**HANDLERS)
    remembered, forgotten, usual = Browser(app), Browser(app), Browser(app)
    await remembered.get("/look")

    assert await max_age(remembered, "/choose?as=remember") == MONTH
    assert await max_age(forgotten, "/choose?as=forget") is None
    assert await max_age(usual, "/choose?as=common") == TTL

    for path in ("/look", "/write", "/rotate", "/look"):
        for app_now in (app, other):
            for browser, age in ((remembered, MONTH), (forgotten, None), (usual, TTL)):
                browser.app = app_now
                assert await max_age(browser, path) == age


@for_each(("choice", "lives"), [("remember", MONTH), ("forget", TTL)])
async def test_the_store_keeps_a_session_as_long_as_was_chosen(
    site: Site, choice: str, lives: int
) -> None:
    """As its cookie lasts, and what is forgotten with the browser as long as any other."""
    browser = browser_of(site)
    await browser.get(f"/choose?as={choice}")
    for _ in range(2):
        site.clock.advance(lives - TICK)
        assert (await browser.get("/look")).text == '"alice"'
    site.clock.advance(lives)
    assert (await browser.get("/look")).text == "null"


async def test_a_choice_is_kept_when_cookies_end_with_the_browser_by_default(site: Site) -> None:
    browser = browser_of(site, cookie=SessionCookie(persistent=False))
    assert await max_age(browser, "/choose?as=common") is None
    assert await max_age(browser, "/choose?as=remember") == MONTH
    assert await max_age(browser, "/choose?as=common") is None


async def test_a_fixed_end_holds_however_much_the_session_is_used(site: Site) -> None:
    """It lives so long without use, too; then cookie and store end at that very moment."""
    browser = browser_of(site)
    assert await max_age(browser, "/choose?as=until") == 250
    site.clock.advance(TTL + 20)
    for path, left in (("/look", 130), ("/write", 70), ("/rotate", 10)):
        assert await max_age(browser, path) == left
        site.clock.advance(60 if left > 60 else 10 - TICK)
    assert (await browser.get("/look")).text == '"alice"'
    former = browser.cookie
    site.clock.advance(TICK)
    assert ((await browser.get("/look")).text, await site.stored(former)) == ("null", None)


async def test_a_fixed_end_is_the_servers_own_end_after_every_request(
    make_store: Any, valkey: Any, clock: Clock
) -> None:
    site = Site(Probe(make_store("valkey")), clock)
    browser = browser_of(site)
    await browser.get("/choose?as=until")
    for left in (250, 190, 130, 70):
        for path in ("/look", "/write", "/rotate"):
            await browser.get(path)
            assert left - 5 < await valkey.ttl(f"pyfly:session:{browser.cookie}") <= left
        clock.advance(60)


async def test_the_earlier_of_fixed_end_and_absolute_lifetime_counts(site: Site) -> None:
    browser = browser_of(site, max_lifetime=200)
    assert await max_age(browser, "/choose?as=until") == 200
    site.clock.advance(200 - TICK)
    assert (await browser.get("/look")).text == '"alice"'
    site.clock.advance(TICK)
    assert (await browser.get("/look")).text == "null"


async def test_a_write_that_meets_the_choice_keeps_it_and_tells_the_browser_so(site: Site) -> None:
    app = site.configure(ttl=TTL).app(**HANDLERS)
    browser = Browser(app)
    await browser.get("/choose?as=common")
    repository = site.filter.repository
    late = await loaded(repository, browser.cookie or "")

    await browser.get("/only-choose?as=remember")
    late.set_attribute("late", 1)
    await repository.commit(late)

    assert late.own_lifetime is not None
    assert late.own_lifetime.persistent is True
    assert (repository.seconds_to_live(late), await max_age(browser)) == (MONTH, MONTH)


async def test_a_choice_reaches_the_cookie_of_a_foreign_chain(site: Site) -> None:
    site.configure(ttl=TTL)
    browser = Browser(site.app(foreign=True, **HANDLERS))
    assert (await max_age(browser, "/choose?as=remember"), await max_age(browser)) == (MONTH, MONTH)
    assert (await max_age(browser, "/choose?as=forget"), await max_age(browser)) == (None, None)


async def test_a_choice_reaches_the_cookie_of_a_websocket(site: Site) -> None:
    async def talk(websocket: WebSocket) -> None:
        session: HttpSession = websocket.state.session
        session.set_max_inactive_interval(timedelta(hours=1), persistent=False)
        await websocket.accept()
        await websocket.close()

    connection = Connection(site.configure(ttl=TTL).socket(talk), kind="websocket")
    cookie = (await connection.run()).own_cookie
    assert "max-age" not in cookie.attributes
    site.clock.advance(3600 - TICK)
    assert await site.stored(cookie.value) is not None
    site.clock.advance(TICK)
    assert await site.stored(cookie.value) is None


async def test_a_resolver_without_cookies_takes_the_idle_time_alone(site: Site) -> None:
    site.configure(ttl=TTL, resolver=SessionHeader())
    answer = await Browser(site.app(**HANDLERS)).get("/only-choose?as=forget-soon")
    assert await site.stored(answer.get("x-auth-token")) is not None


@for_each(
    ("value", "seconds"),
    [
        (timedelta(minutes=1), 60),
        (timedelta(days=30), MONTH),
        (datetime.fromtimestamp(1_800_000_060, timezone(timedelta(hours=5))), 60),
        (datetime.fromtimestamp(1_800_000_059.5, UTC), 60),
    ],
)
def test_times_are_taken_as_python_has_them(value: Any, seconds: int) -> None:
    session = HttpSession.create(DEFAULT_CODEC, 1_800_000_000.0)
    session.set_max_inactive_interval(value)
    assert session.max_inactive_interval == seconds


@for_each(
    "value",
    [
        timedelta(0), timedelta(milliseconds=1500), timedelta(days=-1),
        datetime(2027, 1, 15, 9, 0, 0), NOW, datetime.max.replace(tzinfo=UTC), True,
    ],
)  # fmt: skip
def test_what_is_no_time_to_live_is_refused_and_changes_nothing(value: Any) -> None:
    session = HttpSession.create(DEFAULT_CODEC, 1_800_000_000.0)
    with pytest.raises(ValueError, match=r"must be|needs a time zone"):
        session.set_max_inactive_interval(value)
    with pytest.raises(TypeError, match="persistent"):
        session.set_max_inactive_interval(60, persistent=1)  # type: ignore[arg-type]
    assert session.max_inactive_interval is None
