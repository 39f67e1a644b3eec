"""Who has which sessions: found, ended, limited; through the application, over every store."""

import asyncio
import itertools
from typing import Any

import pytest
from cryptography.fernet import Fernet
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from pyfly_session import (
    SecurityContext,
    SessionRepository,
    SessionStore,
    SessionStoreUnavailableError,
)
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.concurrency import (
    ConcurrencyControlPolicy,
    SessionConcurrencyController,
)
from pyfly_session.core.encryption import EncryptedSessionCodec
from pyfly_session.core.principals import index
from pyfly_session.security import login, why_ended
from pyfly_session.web import SessionFilter
from tests.conftest import Clock
from tests.interposed import InterposedStore
from tests.support.cases import for_each
from tests.support.types import Patch
from tests.web.conftest import Site
from tests.web.driver import App, Browser, Connection, ask
from tests.web.pages import leave, others, rotate

STORES = ["memory", "valkey", "four-verbs"]
HASHED = pytest.mark.parametrize("hash_ids", [False, True], ids=["plain", "hashed"])


async def enter(request: Request) -> PlainTextResponse:
    await login(request, SecurityContext(user_id=request.query_params["user"]))
    return PlainTextResponse("welcome")


async def who(session: Any) -> PlainTextResponse:
    context = session.get_attribute("SECURITY_CONTEXT")
    return PlainTextResponse(context.user_id if context else "nobody")


async def why(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(await why_ended(request)))


async def enter_and_rotate(request: Request) -> None:
    await login(request, SecurityContext(user_id="alice"))
    request.state.session.rotate_id()


async def mind_changed(request: Request) -> None:
    await login(request, SecurityContext(user_id="alice"))
    request.state.session.clear()


class Place:
    """One process of a site: an application whose sessions may be limited."""

    def __init__(self, store: SessionStore, clock: Clock, **options: Any) -> None:
        policy = options.pop("policy", None)
        self.repository = SessionRepository(store, clock=clock, **options)
        self.principals = self.repository.principals
        controller = policy and SessionConcurrencyController(self.principals, policy)
        site = Site.__new__(Site)
        site.filter = SessionFilter(store, repository=self.repository, concurrency=controller)
        self.app: App = site.app(
            enter=enter, leave=leave, who=who, rotate=rotate, others=others, why=why,
            mind_changed=mind_changed, turned=enter_and_rotate,
        )  # fmt: skip

    async def log_in(self, user: str = "alice", browser: Browser | None = None) -> Browser:
        browser = browser or Browser(self.app)
        answer = await browser.get(f"/enter?user={user}")
        assert answer.text == "welcome", answer.text
        return browser

    async def found(self, user: str = "alice") -> set[str]:
        return {each.masked_id for each in await self.principals.find_by_principal(user)}

    async def is_logged_in(self, browser: Browser) -> bool:
        return (await ask(self.app, "/who", cookie=browser.cookie)).text != "nobody"


@pytest.fixture(params=STORES)
def anywhere(request: pytest.FixtureRequest, make_store: Any) -> SessionStore:
    store: SessionStore = make_store(request.param)
    return store


@pytest.fixture(params=["memory", "valkey"])
def atomic(request: pytest.FixtureRequest, make_store: Any) -> SessionStore:
    store: SessionStore = make_store(request.param)
    return store


def limit(sessions: int, strategy: str = "evict-oldest", **more: Any) -> ConcurrencyControlPolicy:
    return ConcurrencyControlPolicy(sessions, strategy, **more)


@HASHED
async def test_sessions_of_a_user_are_found_and_of_nobody_else(
    anywhere: SessionStore, clock: Clock, hash_ids: bool
) -> None:
    place = Place(anywhere, clock, hash_ids=hash_ids)
    await place.log_in("bob")
    assert await place.found() == set()
    first = await place.log_in()
    clock.advance(5)
    await place.log_in()
    sessions = await place.principals.find_by_principal("alice")
    assert [each.logged_in_at for each in sessions] == [clock() - 5, clock()]
    assert sessions[0].attributes["SECURITY_CONTEXT"].user_id == "alice"
    assert (sessions[0].session_id == first.cookie) is not hash_ids
    assert str(first.cookie) not in repr(sessions)
    assert await place.principals.count("alice") == 2
    assert len(await place.principals.list_sessions("bob")) == 1


@HASHED
async def test_ended_session_is_over_for_its_browser_and_not_found(
    anywhere: SessionStore, clock: Clock, hash_ids: bool
) -> None:
    place = Place(anywhere, clock, hash_ids=hash_ids)
    first, second = await place.log_in(), await place.log_in()
    [session, _] = await place.principals.find_by_principal("alice")
    assert await place.principals.end(session.session_id)
    assert not await place.principals.end(session.session_id)
    alive = [await place.is_logged_in(each) for each in (first, second)]
    assert (sorted(alive), len(await place.found())) == ([False, True], 1)


@HASHED
async def test_all_sessions_but_the_current_one_are_ended(
    anywhere: SessionStore, clock: Clock, hash_ids: bool
) -> None:
    place = Place(anywhere, clock, hash_ids=hash_ids)
    browsers = [await place.log_in() for _ in range(3)]
    bob = await place.log_in("bob")
    assert (await browsers[1].get("/others")).text == "2"
    assert [await place.is_logged_in(each) for each in browsers] == [False, True, False]
    assert await place.is_logged_in(bob)
    assert (await browsers[1].get("/others")).text == "0"


async def test_all_sessions_of_a_user_are_ended(anywhere: SessionStore, clock: Clock) -> None:
    place = Place(anywhere, clock)
    browsers = [await place.log_in() for _ in range(3)]
    assert await place.principals.end_all("alice") == 3
    assert not any([await place.is_logged_in(each) for each in browsers])
    assert await place.principals.end_all("alice") == 0


async def test_logout_takes_session_off_record(anywhere: SessionStore, clock: Clock) -> None:
    place = Place(anywhere, clock)
    browser = await place.log_in()
    await browser.get("/leave")
    assert await place.principals._records.read("alice") == {}


async def test_login_that_is_taken_back_in_the_same_request_leaves_no_entry(
    anywhere: SessionStore, clock: Clock
) -> None:
    place = Place(anywhere, clock, policy=limit(1, "reject-new"))
    await Browser(place.app).get("/mind_changed")
    assert await place.principals._records.read("alice") == {}
    await place.log_in()


@pytest.mark.parametrize("kind", ["memory", "four-verbs"])
async def test_expired_session_is_neither_found_nor_counted(
    make_store: Any, clock: Clock, kind: str
) -> None:
    place = Place(make_store(kind), clock, ttl=600)
    await place.log_in()
    clock.advance(599)
    assert len(await place.found()) == 1
    clock.advance(1)
    assert (await place.found(), await place.principals._records.read("alice")) == (set(), {})


@pytest.mark.parametrize("kind", ["memory", "four-verbs"])
async def test_session_in_use_stays_on_record(make_store: Any, clock: Clock, kind: str) -> None:
    place = Place(make_store(kind), clock, ttl=600)
    browser = await place.log_in()
    for _ in range(30):
        clock.advance(590)
        assert (await browser.get("/who")).text == "alice"
        await place.repository.drain()
    assert len(await place.found()) == 1


async def test_user_keeps_so_many_and_oldest_ends(clock: Clock, monkeypatch: Patch) -> None:
    """Without any limit: or each login would cost more than the one before, for ever."""
    assert index.MOST_SESSIONS == 500
    monkeypatch.setattr(index, "MOST_SESSIONS", 3)
    place = Place(InMemorySessionStore(clock=clock), clock)
    browsers = []
    for _ in range(5):
        browsers.append(await place.log_in())
        clock.advance(1)
        await place.repository.drain()
    assert [await place.is_logged_in(each) for each in browsers] == [False, False, True, True, True]
    assert len(await place.principals._records.read("alice")) == 3


async def test_alias_that_many_users_share_ends_nobody(clock: Clock, monkeypatch: Patch) -> None:
    """It finds the latest of them, and each is found by their own name."""
    monkeypatch.setattr(index, "MOST_SESSIONS", 3)
    place = Place(InMemorySessionStore(clock=clock), clock)

    async def enter_of_tenant(request: Request) -> None:
        context = SecurityContext(user_id=request.query_params["user"])
        await login(request, context, aliases=["tenant"])

    site = Site.__new__(Site)
    site.filter = SessionFilter(place.repository.store, repository=place.repository)
    app = site.app(enter=enter_of_tenant, who=who)
    browsers = [Browser(app) for _ in range(5)]
    for number, browser in enumerate(browsers):
        await browser.get(f"/enter?user={number}")
        await place.repository.drain()
        clock.advance(1)
    assert [(await each.get("/who")).text for each in browsers] == ["0", "1", "2", "3", "4"]
    found = await place.principals.find_by_principal("tenant")
    assert [each.principal for each in found] == ["2", "3", "4"]
    assert await place.principals.count("0") == 1


async def test_clocks_that_differ_by_a_minute_end_no_login_under_way(clock: Clock) -> None:
    store, ahead = InMemorySessionStore(clock=clock), Clock()
    ahead.now = clock.now + 60
    here, there = Place(store, clock), Place(store, ahead)
    create = store.create_if_absent

    async def listed_meanwhile(session_id: str, value: bytes, ttl: int) -> bool:
        if ":" not in session_id:
            assert await there.found() == set()
        return await create(session_id, value, ttl)

    store.create_if_absent = listed_meanwhile  # type: ignore[method-assign]
    browser = await here.log_in()
    assert await here.is_logged_in(browser)
    assert len(await here.found()) == 1


async def test_record_of_a_user_who_never_comes_back_is_gone_in_the_end(clock: Clock) -> None:
    store = InMemorySessionStore(clock=clock)
    await Place(store, clock, ttl=600).log_in()
    assert sum(map(len, store._shelves.values())) == 2
    clock.advance(1200)
    await store.exists("any")
    assert sum(map(len, store._shelves.values())) == 0


async def test_lost_record_comes_back_with_the_next_use(atomic: SessionStore, clock: Clock) -> None:
    place, elsewhere = Place(atomic, clock), Place(atomic, clock)
    browser = await place.log_in()
    [key] = [each for each in await keys_of(atomic) if "principal:" in each]
    await atomic.delete(key)
    assert await place.found() == set()
    await ask(elsewhere.app, "/who", cookie=browser.cookie)
    await elsewhere.repository.drain()
    assert len(await place.found()) == 1


async def keys_of(store: Any) -> list[str]:
    if isinstance(store, InMemorySessionStore):
        return [key for shelf in store._shelves.values() for key in shelf]
    found = await store._client.keys("*")
    return [key.decode().removeprefix("pyfly:session:") for key in found]


async def test_record_cannot_be_asked_for_with_a_cookie(atomic: SessionStore, clock: Clock) -> None:
    place = Place(atomic, clock)
    await place.log_in()
    [key] = [each for each in await keys_of(atomic) if "principal:" in each]
    answer = await ask(place.app, "/who", cookie=key)
    assert answer.text == "nobody"
    assert answer.session_id != key


async def test_flood_of_visitors_does_not_push_record_out_of_memory_store(clock: Clock) -> None:
    store = InMemorySessionStore(clock=clock, max_sessions=10)
    place = Place(store, clock)
    browser = await place.log_in()
    for _ in range(50):
        await Browser(place.app).get("/who")
        await browser.get("/who")
    assert (len(store), len(await place.found())) == (10, 1)


async def test_oldest_login_makes_room(anywhere: SessionStore, clock: Clock) -> None:
    place = Place(anywhere, clock, policy=limit(2))
    browsers = []
    for _ in range(4):
        browsers.append(await place.log_in())
        clock.advance(1)
    assert [await place.is_logged_in(each) for each in browsers] == [False, False, True, True]
    assert len(await place.found()) == 2


async def test_visitor_who_logs_in_late_is_not_oldest(atomic: SessionStore, clock: Clock) -> None:
    """Fault 29: what counts is the login, not the beginning of the session."""
    place = Place(atomic, clock, policy=limit(1))
    late = Browser(place.app)
    await late.get("/who")
    clock.advance(60)
    early = await place.log_in()
    clock.advance(60)
    await place.log_in(browser=late)
    assert [await place.is_logged_in(each) for each in (early, late)] == [False, True]


async def test_new_login_is_refused_when_the_places_are_taken(
    anywhere: SessionStore, clock: Clock
) -> None:
    place = Place(anywhere, clock, policy=limit(1, "reject-new"))
    first = await place.log_in()
    second = Browser(place.app)
    await second.get("/who")
    answer = await second.get("/enter?user=alice")
    assert answer.status == 409
    assert "log out" in answer.text
    assert [await place.is_logged_in(each) for each in (first, second)] == [True, False]
    await place.log_in("bob", second)
    await first.get("/leave")
    await place.log_in("alice", second)


async def test_login_again_in_browser_is_not_refused(anywhere: SessionStore, clock: Clock) -> None:
    """Fault 28: the former id takes no place of its own."""
    place = Place(anywhere, clock, policy=limit(1, "reject-new"))
    browser = await place.log_in()
    for _ in range(3):
        await place.log_in(browser=browser)
        await browser.get("/rotate")
    assert len(await place.found()) == 1
    assert await place.is_logged_in(browser)


@pytest.fixture(params=["memory", "valkey", "four-verbs"])
def expiring(request: pytest.FixtureRequest, make_store: Any) -> Any:
    return make_store(request.param)


async def test_user_whose_session_expired_is_not_locked_out(expiring: Any, clock: Clock) -> None:
    """Fault 27: nobody has to log out for a place to become free."""
    place = Place(expiring, clock, ttl=60, policy=limit(1, "reject-new"))
    browser = await place.log_in()
    clock.advance(60)
    if hasattr(expiring, "_client"):
        # The clock of a server cannot be moved, but the end of a key can.
        assert await expiring._client.execute_command(
            "PEXPIREAT", f"pyfly:session:{browser.cookie}", 1
        )
    await place.log_in()
    assert len(await place.found()) == 1


@pytest.mark.parametrize("strategy", ["evict-oldest", "reject-new"])
async def test_limit_holds_for_parallel_logins_in_several_processes(
    atomic: SessionStore, clock: Clock, strategy: str
) -> None:
    """Fault 26: as many as allowed get in, whoever asks when."""
    places = [Place(atomic, clock, policy=limit(3, strategy)) for _ in range(4)]
    browsers = [Browser(place.app) for place, _ in itertools.product(places, range(10))]
    answers = await asyncio.gather(*(each.get("/enter?user=alice") for each in browsers))
    alive = [await places[0].is_logged_in(each) for each in browsers]
    assert (sum(alive), len(await places[1].found())) == (3, 3)
    if strategy == "reject-new":
        assert sorted({each.status for each in answers}) == [200, 409]
        assert sum(each.status == 200 for each in answers) == 3


async def test_evicted_session_does_not_come_back(atomic: SessionStore, clock: Clock) -> None:
    """A request of the evicted browser that was under way ends without a session."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(session: Any) -> None:
        session.set_attribute("late", "x")
        reached.set()
        await go_on.wait()

    place = Place(atomic, clock, policy=limit(1))
    browser = await place.log_in()
    site = Site.__new__(Site)
    site.filter = SessionFilter(atomic, repository=place.repository)
    connection = Connection(site.app(slow=slow), "/slow", cookie=browser.cookie)
    task = asyncio.create_task(connection.run())
    await reached.wait()
    clock.advance(1)
    await place.log_in()
    go_on.set()
    assert (await task).cookie() is None
    assert not await place.is_logged_in(browser)
    assert len(await place.found()) == 1


async def test_of_logins_that_meet_at_limit_only_last_to_be_stored_stays(clock: Clock) -> None:
    store = InterposedStore(InMemorySessionStore(clock=clock))
    place, elsewhere = (Place(store, clock, policy=limit(1)) for _ in range(2))
    latecomer = Browser(elsewhere.app)

    async def another_login() -> None:
        clock.advance(1)
        await elsewhere.log_in(browser=latecomer)

    early = Browser(place.app)
    await early.get("/who")
    store.before("rename", another_login)
    await early.get("/enter?user=alice")
    alive = [await place.is_logged_in(each) for each in (early, latecomer)]
    assert (alive, len(await place.found())) == ([True, False], 1)


async def test_end_all_ends_a_login_that_is_under_way(clock: Clock) -> None:
    store = InterposedStore(InMemorySessionStore(clock=clock))
    place = Place(store, clock)

    async def end_all() -> None:
        await Place(store.inner, clock).principals.end_all("alice")

    browser = Browser(place.app)
    await browser.get("/who")
    store.before("rename", end_all)
    answer = await browser.get("/enter?user=alice")
    assert (cookie := answer.cookie()) is not None
    assert cookie.is_deletion
    assert await place.found() == set()


async def test_process_that_died_evicting_is_made_up_for(make_store: Any, clock: Clock) -> None:
    inner = make_store("memory")
    store = InterposedStore(inner)
    dying, place = Place(store, clock, policy=limit(1)), Place(inner, clock, policy=limit(1))
    victim = await place.log_in()
    clock.advance(1)

    async def die() -> None:
        raise ConnectionError("the plug is pulled")

    store.before("delete_moved", die)
    with pytest.raises(ConnectionError):
        await ask(dying.app, "/enter?user=alice")
    assert len(await place.found()) == 1
    assert not await place.is_logged_in(victim)
    clock.advance(1)
    last = await place.log_in()
    assert len(await place.found()) == 1
    assert await place.is_logged_in(last)


async def test_limit_of_one_user_may_differ(atomic: SessionStore, clock: Clock) -> None:
    async def limit_of(principal: str) -> int | None:
        return {"alice": 2, "root": -1}.get(principal)

    place = Place(atomic, clock, policy=limit(1, limit_of=limit_of))
    for user, expected in (("alice", 2), ("bob", 1), ("root", 5)):
        for _ in range(5):
            await place.log_in(user)
        assert len(await place.found(user)) == expected


async def test_evicted_user_can_be_told_why(anywhere: SessionStore, clock: Clock) -> None:
    place = Place(anywhere, clock, policy=limit(1))
    first = await place.log_in()
    evicted = str(first.cookie)
    clock.advance(1)
    second = await place.log_in()
    ended = str(second.cookie)
    await place.principals.end_all("alice")
    for cookie, reason in ((evicted, "evicted"), (ended, "ended"), ("0" * 32, "None")):
        assert (await ask(place.app, "/why", cookie=cookie)).text == reason
    assert (place.repository.counts["evicted"], place.repository.counts["ended"]) == (1, 1)


async def test_login_that_changes_the_id_again_is_held_to_the_limit(clock: Clock) -> None:
    for strategy, alive in (("evict-oldest", [False, True]), ("reject-new", [True, False])):
        place = Place(InMemorySessionStore(), clock, policy=limit(1, strategy))
        browsers = [Browser(place.app), Browser(place.app)]
        for browser in browsers:
            clock.advance(1)
            await browser.get("/turned")
        assert [await place.is_logged_in(each) for each in browsers] == alive


@for_each("value", [0, -2, True, 1.5, None])
def test_impossible_limit_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="-1, for no limit, or at least 1"):
        ConcurrencyControlPolicy(value)


def test_unknown_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="evict-oldest"):
        ConcurrencyControlPolicy(1, "evict-newest")


async def test_impossible_limit_of_one_user_is_refused(clock: Clock) -> None:
    place = Place(InMemorySessionStore(), clock, policy=limit(1, limit_of=lambda _: 0))
    with pytest.raises(ValueError, match="what limit_of returns"):
        await ask(place.app, "/enter?user=alice")


async def test_session_is_found_and_ended_by_an_alias(anywhere: SessionStore, clock: Clock) -> None:
    async def enter_with_alias(request: Request) -> None:
        context = SecurityContext(user_id="alice")
        await login(request, context, aliases=["sid-1", "sub-1"])

    place = Place(anywhere, clock, policy=limit(2))
    site = Site.__new__(Site)
    site.filter = SessionFilter(anywhere, repository=place.repository)
    browser = Browser(site.app(enter=enter_with_alias, rotate=rotate, leave=leave))
    await browser.get("/enter")
    await browser.get("/rotate")
    for name in ("alice", "sid-1", "sub-1"):
        [session] = await place.principals.find_by_principal(name)
        assert (session.session_id, session.principal) == (browser.cookie, "alice")
    assert await place.principals.end_all("sid-1") == 1
    assert not await place.is_logged_in(browser)
    assert await place.found() == set()
    await browser.get("/enter")
    await browser.get("/leave")
    for name in ("alice", "sid-1", "sub-1"):
        assert await place.principals.find_by_principal(name) == []


@for_each("name", ["ä ö", "a:b", "x" * 5000, "\ud800", "principal:x", "\0", "名"])
async def test_name_of_any_characters_finds_its_own_sessions(
    atomic: SessionStore, clock: Clock, name: str
) -> None:
    repository = SessionRepository(atomic, clock=clock)
    for principal in (name, name + "x"):
        session = repository.create()
        session.authenticate(principal)
        await repository.commit(session)
    [found] = await repository.principals.find_by_principal(name)
    assert (found.principal, await repository.principals.end_all(name)) == (name, 1)
    assert await repository.principals.count(name + "x") == 1


async def test_records_of_encrypted_sessions_are_encrypted_and_limit_logins(clock: Clock) -> None:
    codec = EncryptedSessionCodec([Fernet.generate_key()])
    store = InMemorySessionStore(clock=clock, codec=codec)
    places = [Place(store, clock, policy=limit(2)) for _ in range(2)]
    browsers = [Browser(places[n % 2].app) for n in range(10)]
    await asyncio.gather(*(each.get("/enter?user=alice") for each in browsers))
    assert sum([await places[0].is_logged_in(each) for each in browsers]) == 2
    payloads = [entry for shelf in store._shelves.values() for entry in shelf.values()]
    assert not [each for each in payloads if each.startswith(b"{")]


async def test_store_that_fails_at_any_call_of_login_is_told(clock: Clock) -> None:
    inner = InMemorySessionStore(clock=clock)
    for number in range(1, 40):
        store = InterposedStore(inner)
        place = Place(store, clock, policy=limit(1))
        browser = Browser(place.app)
        await browser.get("/who")
        began = len(store.calls)

        async def fail() -> None:
            if len(store.calls) - began == number:  # noqa: B023 - called in this turn
                raise SessionStoreUnavailableError("the plug is pulled", operation="any")

        for operation in set(dir(store)) & {
            "get", "exists", "delete", "load_and_slide", "create_if_absent",
            "compare_and_swap", "rename", "delete_moved",
        }:  # fmt: skip
            store.before(operation, fail, always=True)
        answer = await browser.get("/enter?user=alice")
        calls = store.calls[began:]
        reached = len(calls) >= number
        is_stored = "rename" in calls[: number - 1]
        assert answer.status == (200 if is_stored else 503), number
        healthy = Place(inner, clock, policy=limit(1))
        assert await healthy.is_logged_in(browser) is is_stored
        clock.advance(1)
        last = await healthy.log_in()
        assert await healthy.is_logged_in(last)
        assert len(await healthy.found()) == 1
        if browser.cookie != last.cookie:
            assert not await healthy.is_logged_in(browser)
        if not reached:
            return
    raise AssertionError("a login never came to its end")
