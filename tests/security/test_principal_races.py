"""Who has which sessions, when requests and processes meet, or end, at the worst moment."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pyfly_session import HttpSession, Outcome, SessionRepository
from pyfly_session.adapters.memory import InMemorySessionStore
from tests.conftest import Clock
from tests.interposed import InterposedStore
from tests.security.test_principals import HASHED, Place, limit
from tests.support.cases import for_each
from tests.support.sessions import loaded
from tests.web.driver import Browser, ask

Principals = tuple[SessionRepository, SessionRepository, InterposedStore]


@pytest.fixture(params=[False, True], ids=["plain", "hashed"])
def two(request: pytest.FixtureRequest, clock: Clock) -> Principals:
    """Return two processes over one store, and what is between the first one and the store."""
    inner = InMemorySessionStore(clock=clock)
    between = InterposedStore(inner)
    hashed = request.param
    return (
        SessionRepository(between, clock=clock, hash_ids=hashed),
        SessionRepository(inner, clock=clock, hash_ids=hashed),
        between,
    )


async def login_of(repository: SessionRepository, user: str = "alice") -> HttpSession:
    session = repository.create()
    session.authenticate(user)
    await repository.commit(session)
    return session


async def rotated(repository: SessionRepository, session_id: str) -> str:
    session = await loaded(repository, session_id)
    session.rotate_id()
    await repository.commit(session)
    return session.id


async def usable(repository: SessionRepository, *session_ids: str) -> int:
    return sum([await repository.load(each) is not None for each in session_ids])


def when_marked(store: InterposedStore, action: Callable[[], Awaitable[object]]) -> None:
    """Do something between the mark in the record and the end of what is marked."""
    store.after("compare_and_swap", action)


async def test_change_of_id_does_not_save_a_session_that_is_being_ended(two: Principals) -> None:
    ending, elsewhere, store = two
    session = await login_of(elsewhere)
    ids = [session.id]

    async def change() -> None:
        ids.append(await rotated(elsewhere, session.id))

    when_marked(store, change)
    await ending.principals.end_all("alice")
    assert (await usable(elsewhere, *ids), await ending.principals.count("alice")) == (0, 0)


async def test_rotation_does_not_save_session_half_ended(two: Principals, clock: Clock) -> None:
    dying, elsewhere, store = two
    session = await login_of(elsewhere)

    async def die() -> None:
        raise ConnectionError("the plug is pulled")

    store.before("create_if_absent", die)
    with pytest.raises(ConnectionError):
        await dying.principals.end_all("alice")
    clock.advance(301)
    new = await rotated(elsewhere, session.id)
    assert await usable(elsewhere, session.id, new) == 0


async def test_change_of_id_that_is_given_up_does_not_save_the_session(two: Principals) -> None:
    ending, elsewhere, store = two
    session = await login_of(elsewhere)
    request = await loaded(elsewhere, session.id)
    request.rotate_id()
    await elsewhere.principals.register("alice", request.id, 1.0, replaces=[session.id])
    request.registrations = {"alice": request.id}

    async def give_up() -> None:
        await elsewhere.release(request)

    when_marked(store, give_up)
    await ending.principals.end_all("alice")
    assert await usable(elsewhere, session.id) == 0


async def test_change_of_id_after_a_login_of_another_request_is_found(two: Principals) -> None:
    here, elsewhere, _ = two
    visitor = here.create()
    await here.commit(visitor)
    slow, login = await loaded(elsewhere, visitor.id), await loaded(here, visitor.id)
    login.rotate_id()
    login.authenticate("alice")
    await here.commit(login)
    slow.rotate_id()
    await elsewhere.commit(slow)
    assert await here.principals.count("alice") == 1
    await here.principals.end_all("alice")
    assert await usable(here, visitor.id, login.id, slow.id) == 0


@HASHED
@for_each("moment", range(1, 4))
async def test_session_is_found_while_rotating(clock: Clock, hash_ids: bool, moment: int) -> None:
    inner = InMemorySessionStore(clock=clock)
    reader, writer = InterposedStore(inner), InterposedStore(inner)
    here, elsewhere = (
        SessionRepository(each, clock=clock, hash_ids=hash_ids) for each in (reader, writer)
    )
    session = await login_of(elsewhere)
    announced, go_on = asyncio.Event(), asyncio.Event()
    change: list[asyncio.Task[str]] = []

    async def half() -> None:
        # The reader has the record, and looks at the sessions only now.
        await rotated(elsewhere, session.id)

    async def pause() -> None:
        announced.set()
        await go_on.wait()

    async def let_go() -> None:
        go_on.set()
        await change[0]

    if moment == 1:
        reader.after("get", half)
    else:
        # The change has been announced, and is done between two looks of the reader.
        writer.before("rename", pause)
        change.append(asyncio.create_task(rotated(elsewhere, session.id)))
        await announced.wait()
        calls = 0

        async def count() -> None:
            nonlocal calls
            calls += 1
            if calls == moment:
                await let_go()

        reader.before("get", count, always=True)
    assert await here.principals.count("alice") == 1


async def test_longer_own_idle_time_keeps_session_on_record(two: Principals, clock: Clock) -> None:
    here, elsewhere, _ = two
    session = await login_of(here)
    remembered = await loaded(here, session.id)
    remembered.set_max_inactive_interval(86_400)
    await here.commit(remembered)
    clock.advance(80_000)
    assert await elsewhere.principals.count("alice") == 1
    assert (await elsewhere.principals.end_all("alice"), await usable(here, session.id)) == (1, 0)


async def test_session_over_its_lifetime_is_not_found_and_takes_no_place(clock: Clock) -> None:
    policy = limit(1, "reject-new")
    place = Place(
        InMemorySessionStore(clock=clock), clock, ttl=600, max_lifetime=1000, policy=policy
    )
    browser = await place.log_in()
    for _ in range(2):
        clock.advance(499)
        await browser.get("/who")
    clock.advance(2)
    assert await place.found() == set()
    await place.log_in()


async def test_session_whose_rotation_died_stays_on_record(two: Principals, clock: Clock) -> None:
    dying, here, store = two
    session = await login_of(here)

    async def die() -> None:
        raise ConnectionError("the plug is pulled")

    store.before("rename", die, always=True)
    with pytest.raises(ConnectionError):
        await rotated(dying, session.id)
    for _ in range(40):
        assert await here.principals.count("alice") == 1
        await loaded(here, session.id)
        await here.drain()
        clock.advance(890)


@for_each("strategy", ["evict-oldest", "reject-new"])
async def test_login_again_after_one_that_died_is_let_in(clock: Clock, strategy: str) -> None:
    """The place that it took is that of the same browser."""
    inner = InMemorySessionStore(clock=clock)
    store = InterposedStore(inner)
    dying, place = (Place(each, clock, policy=limit(1, strategy)) for each in (store, inner))
    browser = await place.log_in()

    async def die() -> None:
        raise ConnectionError("the plug is pulled")

    store.before("rename", die, always=True)
    with pytest.raises(ConnectionError):
        await ask(dying.app, "/enter?user=alice", cookie=browser.cookie)
    await place.log_in(browser=browser)
    assert await place.is_logged_in(browser)
    assert len(await place.found()) == 1


@for_each("strategy", ["evict-oldest", "reject-new"])
@for_each("path", ["/enter?user=alice", "/rotate", "/leave", "/enter?user=bob"])
@for_each("when", ["before", "after"])
async def test_cancelled_at_any_call_the_record_stays_true(
    clock: Clock, when: str, path: str, strategy: str
) -> None:
    for call in range(40):
        inner = InMemorySessionStore(clock=clock)
        store = InterposedStore(inner)
        policy = limit(2, strategy)
        places = [Place(each, clock, policy=policy) for each in (store, inner)]
        cut, place = places
        browser, other = await place.log_in(), await place.log_in()
        store.cancel_at(call, when)
        before = browser.cookie
        with contextlib.suppress(asyncio.CancelledError):
            await Browser(cut.app, before).get(path)
        await cut.repository.drain()
        alive = [
            await place.is_logged_in(Browser(place.app, each)) for each in (before, other.cookie)
        ]
        names = [await place.found(user) for user in ("alice", "bob")]
        assert sum(map(len, names)) >= sum(alive), call
        assert len(names[0]) <= 2
        clock.advance(301)
        for _ in range(3):
            if strategy == "evict-oldest" or len(await place.found()) < 2:
                await place.log_in()
        assert len(await place.found()) == 2
        await place.principals.end_all("alice")
        assert await place.found() == set()
        assert not await place.is_logged_in(other)
        if not store.cancelled:
            return
    raise AssertionError("it never came to its end")


async def test_cancelled_login_gives_its_place_back_at_once(clock: Clock) -> None:
    for call in range(40):
        store = InterposedStore(InMemorySessionStore(clock=clock))
        place = Place(store, clock, policy=limit(1, "reject-new"))
        visitor: Any = Browser(place.app)
        store.cancel_at(call, "after")
        with contextlib.suppress(asyncio.CancelledError):
            await visitor.get("/enter?user=alice")
        if not store.cancelled:
            return
        await place.repository.drain()
        if await place.principals.count("alice") == 0:
            await place.log_in()
    raise AssertionError("it never came to its end")


async def test_session_that_ended_is_not_brought_back_by_a_new_idle_time(two: Principals) -> None:
    here, elsewhere, _ = two
    session = await login_of(here)
    request = await loaded(here, session.id)
    await elsewhere.principals.end_all("alice")
    request.set_max_inactive_interval(86_400)
    assert await here.commit(request) is Outcome.GONE
    assert await here.principals.count("alice") == 0
    assert await here.principals._records.read("alice") == {}
