"""`SessionRepository`: what a commit does in each state, what it costs, and what it survives."""

import asyncio
import logging
import threading
from typing import Any

import pytest

from pyfly_session import (
    HttpSession,
    SessionConflictError,
    SessionRepository,
    SessionStoreError,
)
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.core.repository import Outcome
from tests.conftest import Clock, FourVerbStore
from tests.interposed import InterposedStore, interpose
from tests.support.cases import for_each
from tests.support.sessions import begun, loaded
from tests.support.types import Log, Patch


@pytest.fixture
def inner(clock: Clock) -> InMemorySessionStore:
    return InMemorySessionStore(clock=clock)


@pytest.fixture
def store(inner: InMemorySessionStore) -> InterposedStore:
    """Return a store that counts, with all capabilities."""
    return InterposedStore(inner)


@pytest.fixture
def repository(store: InterposedStore, clock: Clock) -> SessionRepository:
    return SessionRepository(store, clock=clock)


@pytest.fixture
def elsewhere(inner: InMemorySessionStore, clock: Clock) -> SessionRepository:
    """Return the repository of another process over the same backend; it is not counted."""
    return SessionRepository(inner, clock=clock)


# What a commit does


@pytest.mark.parametrize("cleared", [False, True])
async def test_an_empty_new_session_is_stored_only_if_asked_for(
    repository: SessionRepository, store: InterposedStore, *, cleared: bool
) -> None:
    session = repository.create()
    if cleared:
        session.clear()

    assert await repository.commit(session, create=False) is Outcome.UNSAVED
    assert store.calls == []
    assert await repository.commit(session) is Outcome.STORED


async def test_a_request_that_writes_costs_one_call_more(
    repository: SessionRepository, store: InterposedStore, clock: Clock
) -> None:
    session_id = await begun(repository, cart=[1])
    store.calls.clear()

    session = await loaded(repository, session_id)
    clock.advance(0.01)
    session.get_attribute("cart").append(2)
    assert await repository.commit(session) is Outcome.STORED
    assert await repository.commit(session) is Outcome.UNTOUCHED

    assert store.calls == ["load_and_slide", "compare_and_swap"]
    data = await store.get(session_id)
    assert data is not None
    assert (data["cart"], data["_last_accessed"]) == ([1, 2], clock())


async def test_a_second_write_in_the_same_request_needs_no_second_reading(
    repository: SessionRepository, store: InterposedStore
) -> None:
    session = await loaded(repository, await begun(repository))
    for number in range(3):
        store.calls.clear()
        session.set_attribute("n", number)
        assert await repository.commit(session) is Outcome.STORED
        assert store.calls == ["compare_and_swap"]


async def test_an_unknown_id_is_absent_and_never_adopted(
    repository: SessionRepository, store: InterposedStore
) -> None:
    assert await repository.load("chosen-by-the-client") is None
    assert repository.create().id != "chosen-by-the-client"
    assert store.calls == ["load_and_slide"]


async def test_an_invalidated_session_is_ended_and_stays_ended(
    repository: SessionRepository, store: InterposedStore
) -> None:
    session_id = await begun(repository, user="alice")
    session = await loaded(repository, session_id)
    session.invalidate()
    store.calls.clear()

    assert await repository.commit(session) is Outcome.ENDED
    assert await repository.commit(session) is Outcome.ENDED

    assert store.calls == ["delete_moved"]
    assert not session.stored
    assert not session.pending
    assert await repository.load(session_id) is None


async def test_invalidating_a_session_that_was_never_stored_calls_nothing(
    repository: SessionRepository, store: InterposedStore
) -> None:
    session = repository.create()
    session.invalidate()

    assert await repository.commit(session) is Outcome.ENDED
    assert store.calls == []


async def test_a_session_that_is_gone_is_told_of_with_a_masked_id(
    repository: SessionRepository, caplog: Log
) -> None:
    caplog.set_level(logging.INFO)
    session_id = await begun(repository)
    session = await loaded(repository, session_id)
    await repository.store.delete(session_id)
    session.set_attribute("x", 1)

    assert await repository.commit(session) is Outcome.GONE
    assert "ended while a request was using it" in caplog.text
    assert session_id not in caplog.text


async def test_only_a_slow_reader_asks_again_whether_its_session_lives(
    repository: SessionRepository, store: InterposedStore, clock: Clock
) -> None:
    session = await loaded(repository, await begun(repository))
    store.calls.clear()
    clock.advance(0.04)
    assert await repository.commit(session) is Outcome.UNTOUCHED
    assert store.calls == []

    clock.advance(0.02)
    assert await repository.commit(session) is Outcome.UNTOUCHED
    assert store.calls == ["exists"]


async def test_the_memory_of_ended_ids_is_bounded(
    repository: SessionRepository, store: InterposedStore, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("pyfly_session.core.invalidation._REMEMBERED", 2)
    readers = [await loaded(repository, await begun(repository)) for _ in range(3)]
    for reader in readers:
        logout = await loaded(repository, reader.id)
        logout.invalidate()
        await repository.commit(logout)

    outcomes = [await repository.commit(reader) for reader in readers]
    assert outcomes == [Outcome.UNTOUCHED, Outcome.GONE, Outcome.GONE]


async def test_a_store_that_fails_leaves_the_changes_to_be_committed_later(
    repository: SessionRepository, store: InterposedStore
) -> None:
    async def fail() -> None:
        raise SessionStoreError("down", operation="merge")

    session_id = await begun(repository)
    session = await loaded(repository, session_id)
    session.set_attribute("x", 1)
    store.before("compare_and_swap", fail)

    with pytest.raises(SessionStoreError, match="down"):
        await repository.commit(session)
    assert session.pending

    assert await repository.commit(session) is Outcome.STORED
    data = await store.get(session_id)
    assert data is not None
    assert data["x"] == 1


@for_each("seconds", [0, -1, True, 1.5, 60.0, "60", 2**31, float("inf")])
def test_a_repository_wants_whole_seconds(inner: InMemorySessionStore, seconds: Any) -> None:
    with pytest.raises(ValueError, match="ttl must be a whole number of seconds"):
        SessionRepository(inner, ttl=seconds)
    with pytest.raises(ValueError, match="max_lifetime must be"):
        SessionRepository(inner, max_lifetime=seconds)
    with pytest.raises(ValueError, match="got None"):
        SessionRepository(inner, ttl=None)  # type: ignore[arg-type]


# Time


@for_each(
    ("age", "idle", "left"),
    [(0, 60, 60), (40, 60, 60), (40.5, 60, 60), (41, 60, 59), (99.9, 60, 1)],
)
async def test_the_earlier_of_idle_time_and_absolute_lifetime_holds(
    inner: InMemorySessionStore, clock: Clock, age: float, idle: int, left: int
) -> None:
    repository = SessionRepository(inner, ttl=idle, max_lifetime=100, clock=clock)
    session = repository.create()
    clock.advance(age)

    assert repository.seconds_to_live(session) == left


async def test_the_absolute_lifetime_starts_once_although_the_creation_time_is_missing(
    inner: InMemorySessionStore, clock: Clock
) -> None:
    repository = SessionRepository(inner, ttl=60, max_lifetime=100, clock=clock)
    await inner.save("a", {"user": "alice"}, 60)
    for _ in range(3):
        session = await loaded(repository, "a")
        await repository.commit(session)
        clock.advance(40)

    assert await repository.load("a") is None


async def test_a_rotation_does_not_prolong_the_absolute_lifetime(
    inner: InMemorySessionStore, clock: Clock
) -> None:
    repository = SessionRepository(inner, ttl=60, max_lifetime=100, clock=clock)
    session_id = await begun(repository)
    created_at = clock()
    clock.advance(50)
    session = await loaded(repository, session_id)
    session.rotate_id()
    await repository.commit(session)

    assert (await loaded(repository, session.id)).created_at == created_at
    clock.advance(50)
    assert await repository.load(session.id) is None


# What is stored but is no session


@for_each(
    "payload",
    [
        b"\x80abc", b"[]", b"null", b"", b'{"_created_at":"x"}', b'{"_created_at":true}',
        b'{"_created_at":1e999}', b'{"_created_at":{"__pyfly_type__":["x"]}}',
        b'{"_max_inactive_interval":0}', b'{"_max_inactive_interval":99999999999999999999}',
    ],
)  # fmt: skip
async def test_an_unreadable_session_is_absent_and_logged(
    repository: SessionRepository, inner: InMemorySessionStore, caplog: Log, payload: bytes
) -> None:
    await inner.create_if_absent("secret-id", payload, 60)

    assert await repository.load("secret-id") is None
    assert "unreadable" in caplog.text
    assert "secret-id" not in caplog.text


async def test_a_session_that_was_overwritten_with_rubbish_is_written_anew(
    repository: SessionRepository, inner: InMemorySessionStore
) -> None:
    session_id = await begun(repository, old=1)
    session = await loaded(repository, session_id)
    await inner.delete(session_id)
    await inner.create_if_absent(session_id, b"rubbish", 60)
    session.set_attribute("x", 1)

    assert await repository.commit(session) is Outcome.STORED
    data = await inner.get(session_id)
    assert data is not None
    assert data["x"] == 1


# Conflicts


async def test_a_session_that_others_change_on_every_attempt_is_given_up(
    repository: SessionRepository, store: InterposedStore, inner: InMemorySessionStore,
    monkeypatch: Patch,
) -> None:  # fmt: skip
    pauses: list[float] = []

    def no_pause(_: float, longest: float) -> float:
        pauses.append(longest)
        return 0.0

    monkeypatch.setattr("pyfly_session.core.tasks.random.uniform", no_pause)
    session_id = await begun(repository)
    session = await loaded(repository, session_id)
    session.set_attribute("x", 1)
    others = iter(range(1000))

    async def intrude() -> None:
        await inner.save(session_id, {"n": next(others)}, 60)

    store.before("compare_and_swap", intrude, always=True)
    store.calls.clear()

    with pytest.raises(SessionConflictError) as caught:
        await repository.commit(session)

    attempts = caught.value.attempts
    assert 4 < attempts <= 100
    again = ["load_and_slide", "compare_and_swap"]
    assert store.calls == ["compare_and_swap"] * 4 + again * (attempts - 4)
    assert len(pauses) == attempts - 4
    assert max(pauses) < 0.1
    assert isinstance(caught.value, SessionStoreError)
    assert session_id not in str(caught.value)
    data = await inner.get(session_id)
    assert data is not None
    assert "x" not in data
    assert session.pending


async def test_a_rotation_that_meets_a_conflict_every_time_leaves_nothing_under_the_new_id(
    native_store: Any, clock: Clock, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("pyfly_session.core.writer._ATTEMPTS", 3)
    store = interpose(native_store)
    repository = SessionRepository(store, clock=clock)
    session_id = await begun(repository)
    session = await loaded(repository, session_id)
    session.rotate_id()
    others = iter(range(10))

    async def intrude() -> None:
        await native_store.save(session_id, {"n": next(others)}, 60)

    store.before("rename", intrude, always=True)
    with pytest.raises(SessionConflictError):
        await repository.commit(session)

    assert await native_store.exists(session_id)
    assert not await native_store.exists(session.id)


async def test_each_attempt_has_a_version_of_its_own(
    repository: SessionRepository, store: InterposedStore, elsewhere: SessionRepository
) -> None:
    """Two values of one session are never the same in front, where a store may look alone."""
    session_id = await begun(repository)
    session = await loaded(repository, session_id)
    session.set_attribute("x", 1)
    seen: list[str] = []
    capable: Any = repository.capable_store
    swap = capable.compare_and_swap

    async def meet(_: str, expected: bytes, value: bytes, ttl: int) -> Any:
        seen.append(capable.codec.loads(value)["_version"])
        if len(seen) < 4:
            other = await loaded(elsewhere, session_id)
            other.set_attribute("n", len(seen))
            await elsewhere.commit(other)
        return await swap(session_id, expected, value, ttl)

    capable.compare_and_swap = meet
    assert await repository.commit(session) is Outcome.STORED
    assert (len(seen), len(set(seen))) == (4, 4)


# Work that outlives its request


async def test_finish_returns_what_work_returns_or_raises(repository: SessionRepository) -> None:
    async def fail() -> None:
        raise SessionStoreError("down")

    session = repository.create()
    assert await repository.finish(repository.commit(session)) is Outcome.STORED
    with pytest.raises(SessionStoreError, match="down"):
        await repository.finish(fail())


async def test_work_without_a_request_that_fails_is_logged_and_waited_for(
    repository: SessionRepository, caplog: Log
) -> None:
    caplog.set_level(logging.DEBUG)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise SessionStoreError("down")

    task = repository.finish_later(fail())
    await repository.drain()

    assert task.done()
    assert "a store operation ended with an error" in caplog.text


async def test_work_that_is_itself_cancelled_is_no_error(repository: SessionRepository) -> None:
    task = repository.finish_later(asyncio.Event().wait())
    await asyncio.sleep(0)
    task.cancel()

    await repository.drain()
    assert task.cancelled()


async def test_drain_waits_for_work_that_work_has_started(repository: SessionRepository) -> None:
    done = []

    async def first() -> None:
        repository.finish_later(second())

    async def second() -> None:
        await asyncio.sleep(0)
        done.append(True)

    repository.finish_later(first())
    await repository.drain()

    assert done


async def test_drain_ends_if_the_work_has_ended_just_now(repository: SessionRepository) -> None:
    # Done, but the loop has not called back yet: from Python 3.12 on, awaiting it does not yield.
    task = repository.finish_later(asyncio.sleep(0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert task.done()

    await repository.drain()


async def test_drain_leaves_work_of_other_event_loops_alone(repository: SessionRepository) -> None:
    started, stop = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        over = asyncio.Event()
        task = repository.finish_later(over.wait())
        started.set()
        await asyncio.to_thread(stop.wait, 10)
        over.set()
        await task

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    await asyncio.to_thread(started.wait, 10)
    try:
        await asyncio.wait_for(repository.drain(), timeout=10)
    finally:
        stop.set()
        thread.join()


# A dictionary in place of a loaded session


async def test_a_new_session_made_of_a_dictionary_is_stored_as_it_is(
    repository: SessionRepository, inner: InMemorySessionStore
) -> None:
    session = HttpSession("made-by-hand", {"_created_at": 5.0, "user": "alice"}, is_new=True)

    assert await repository.commit(session) is Outcome.STORED
    data = await inner.get("made-by-hand")
    assert data is not None
    assert (data["_created_at"], data["user"]) == (5.0, "alice")


async def test_two_repositories_of_different_idle_times_share_a_store(clock: Clock) -> None:
    store = FourVerbStore(clock)
    short, long = (SessionRepository(store, ttl=ttl, clock=clock) for ttl in (10, 100))
    session_id = await begun(short)
    assert await long.load(session_id) is not None

    clock.advance(99)
    assert await short.load(session_id) is not None
    clock.advance(10)
    assert await long.load(session_id) is None


async def test_load_gives_no_more_of_own_idle_time_than_absolute_lifetime(clock: Clock) -> None:
    store = FourVerbStore(clock)
    repository = SessionRepository(store, ttl=60, max_lifetime=100, clock=clock)
    session = repository.create()
    session.set_max_inactive_interval(500)
    await repository.commit(session)
    assert await repository.load(session.id) is not None

    clock.advance(100)
    assert not await store.exists(session.id)
