"""`InMemorySessionStore`: expiry without being asked, its bound, and its safety between threads."""

import asyncio
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from pyfly_session import Outcome, SessionRepository
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.core.codec import DEFAULT_CODEC
from pyfly_session.ports import FORWARD_SECONDS
from tests.conftest import Clock
from tests.support.sessions import loaded
from tests.support.types import Log

VALUE = DEFAULT_CODEC.dumps({"_created_at": 1.0})
TICK = 2**-10


# Of a size that nothing else in these tests has.
LARGE = DEFAULT_CODEC.dumps({"_created_at": 1.0, "load": "x" * 5_000})


@pytest.fixture(autouse=True)
def _memory_is_traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def held() -> int:
    """Count the copies of the large value that are in memory since the test began."""
    sizes = range(len(LARGE), len(LARGE) + 64)
    return sum(trace.size in sizes for trace in tracemalloc.take_snapshot().traces)


def memory(clock: Clock, **options: Any) -> InMemorySessionStore:
    return InMemorySessionStore(clock=clock, **options)


async def fill(store: InMemorySessionStore, count: int, ttl: int, name: str = "s") -> None:
    for number in range(count):
        assert await store.create_if_absent(f"{name}{number}", LARGE, ttl)


# Expiry


async def test_expired_sessions_that_nobody_reads_leave_the_memory(clock: Clock) -> None:
    store = memory(clock)
    await fill(store, 1000, ttl=10)
    assert held() == 1000

    clock.advance(10)
    for _ in range(10):
        await store.exists("another")

    assert (held(), len(store)) == (0, 0)


async def test_one_operation_does_not_pay_for_all_that_expired(clock: Clock) -> None:
    store = memory(clock)
    await fill(store, 5000, ttl=10)
    clock.advance(10)

    await store.exists("another")

    assert 4000 < held() < 5000
    assert len(store) == 0


async def test_every_kind_of_operation_sweeps(clock: Clock) -> None:
    operations: list[tuple[str, tuple[Any, ...]]] = [
        ("get", ()), ("save", ({}, 60)), ("exists", ()), ("load_and_slide", (60,)),
        ("create_if_absent", (VALUE, 60)), ("compare_and_swap", (VALUE, VALUE, 60)),
        ("rename", ("n", VALUE, VALUE, 60)),
    ]  # fmt: skip
    for operation, arguments in operations:
        store = memory(clock)
        await fill(store, 10, ttl=10)
        clock.advance(10)
        await getattr(store, operation)("x", *arguments)
        assert held() == 0, operation


async def test_what_lives_is_not_swept(clock: Clock) -> None:
    store = memory(clock)
    await fill(store, 50, ttl=100, name="long")
    await fill(store, 50, ttl=10, name="short")
    clock.advance(50)
    for number in range(50):
        assert await store.exists(f"long{number}")

    assert (held(), len(store)) == (50, 50)


async def test_sessions_of_very_many_idle_times_each_end_in_time(clock: Clock) -> None:
    store = memory(clock)
    ttls = [*range(1, 300), *(2**power for power in range(9, 31))]
    for ttl in ttls:
        await store.create_if_absent(str(ttl), LARGE, ttl)
    for passed in (1, 7, 8, 9, 100, 255, 299, 512):
        clock.now = 1_800_000_000.0 + passed
        alive = {ttl for ttl in ttls if await store.exists(str(ttl))}
        assert (alive, len(store)) == ({ttl for ttl in ttls if ttl > passed}, len(alive))

    clock.advance(2**31)
    for _ in range(5):
        await store.exists("another")
    assert held() == 0


async def test_session_lives_for_longest_idle_time_that_it_was_loaded_with(clock: Clock) -> None:
    """A load that does not know better cuts no life short."""
    store = memory(clock)
    await store.create_if_absent("s", VALUE, 10)
    for ttl in (200, 3, 1000, 60):
        await store.load_and_slide("s", ttl)
        assert len(store) == 1

    clock.advance(1000 - TICK)
    assert await store.exists("s")
    clock.advance(TICK)
    assert not await store.exists("s")


async def test_a_session_moves_to_the_idle_time_that_it_was_written_with(clock: Clock) -> None:
    store = memory(clock)
    await store.create_if_absent("s", VALUE, 1000)
    assert (await store.compare_and_swap("s", VALUE, VALUE, 60), len(store)) == (VALUE, 1)

    clock.advance(60)
    assert not await store.exists("s")


async def test_session_behind_neighbour_that_lives_longer_still_ends_in_time(clock: Clock) -> None:
    """They are kept together because their idle times are close."""
    store = memory(clock)
    await store.create_if_absent("nine", VALUE, 9)
    await store.create_if_absent("eight", VALUE, 8)

    clock.advance(8)

    assert (await store.load_and_slide("eight", 60), await store.get("eight")) == (None, None)
    assert not await store.exists("eight")
    assert await store.exists("nine")
    assert len(store) == 1


async def test_a_deleted_session_leaves_the_memory_at_once(clock: Clock) -> None:
    store = memory(clock)
    await fill(store, 3, ttl=10)
    await store.delete("s0")
    await store.delete_moved("s1")

    assert held() == 1


async def test_the_ways_to_new_ids_leave_the_memory_too(clock: Clock) -> None:
    class Id(str):
        held = 0

        def __del__(self) -> None:
            Id.held -= 1

    store = memory(clock)
    for number in range(100):
        await store.create_if_absent(f"o{number}", VALUE, 10_000)
        Id.held += 1
        await store.rename(f"o{number}", Id(f"n{number}"), VALUE, VALUE, 10_000)
        await store.delete(f"n{number}")
    assert Id.held == 100

    clock.advance(FORWARD_SECONDS)
    await store.exists("another")

    assert Id.held == 0


# The bound


async def test_a_full_store_drops_the_least_recently_used_and_warns_once(
    clock: Clock, caplog: Log
) -> None:
    store = memory(clock, max_sessions=3)
    for name in "abc":
        clock.advance(1)
        await store.save(name, {"n": name}, 60)
    assert caplog.records == []

    clock.advance(1)
    assert await store.load_and_slide("a", 60)
    for name in "de":
        clock.advance(1)
        await store.save(name, {}, 60)

    assert [name for name in "abcde" if await store.exists(name)] == ["a", "d", "e"]
    assert len(store) == 3
    [warning] = caplog.records
    assert warning.levelname == "WARNING"
    assert "full at 3 sessions" in warning.message


async def test_the_least_recently_used_is_found_among_all_idle_times(clock: Clock) -> None:
    store = memory(clock, max_sessions=4)
    for name, ttl in [("a", 3600), ("b", 60), ("c", 100_000), ("d", 600)]:
        await store.save(name, {}, ttl)
        clock.advance(1)
    await store.load_and_slide("a", 3600)
    clock.advance(50)

    await store.save("e", {}, 60)

    assert [name for name in "abcde" if await store.exists(name)] == ["a", "c", "d", "e"]


async def test_writing_what_is_there_drops_nothing(clock: Clock, caplog: Log) -> None:
    store = memory(clock, max_sessions=2)
    await store.save("a", {}, 60)
    await store.save("b", {}, 60)
    for _ in range(5):
        await store.save("a", {"x": 1}, 60)
        payload = await store.load_and_slide("b", 60)
        assert isinstance(payload, bytes)
        await store.compare_and_swap("b", payload, payload, 60)

    assert (len(store), caplog.records) == (2, [])


async def test_a_change_of_id_in_a_full_store_drops_nobody(clock: Clock, caplog: Log) -> None:
    store = memory(clock, max_sessions=2)
    await store.create_if_absent("a", VALUE, 60)
    await store.create_if_absent("b", VALUE, 60)

    assert await store.rename("b", "c", VALUE, VALUE, 60) == VALUE

    assert [name for name in "abc" if await store.exists(name)] == ["a", "c"]
    assert caplog.records == []


async def test_expired_sessions_make_room_without_a_warning(clock: Clock, caplog: Log) -> None:
    store = memory(clock, max_sessions=200)
    await fill(store, 200, ttl=10)
    clock.advance(10)
    await fill(store, 200, ttl=1000, name="new")

    assert (len(store), caplog.records) == (200, [])


async def test_without_a_bound_nothing_is_dropped(clock: Clock) -> None:
    store = memory(clock)
    await fill(store, 3000, ttl=10)

    assert len(store) == 3000


# What is stored


async def test_unreadable_bytes_are_logged_with_a_masked_id(clock: Clock, caplog: Log) -> None:
    store = memory(clock)
    await store.create_if_absent("secret-id", b"\x80", 60)

    assert await store.get("secret-id") is None
    assert "is unreadable" in caplog.text
    assert "secret-id" not in caplog.text


async def test_time_can_stand_on_any_scale() -> None:
    """The clock that is used unless another is given starts where the system likes."""
    store = InMemorySessionStore()
    await store.save("a", {"x": 1}, 60)

    assert await store.get("a") == {"x": 1}


# Threads


@pytest.fixture
def _eager_switching() -> Iterator[None]:
    """Let the interpreter change threads as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_eager_switching")
def test_event_loops_in_several_threads_share_one_store() -> None:
    """Each writes to a common session, creates, rotates and ends its own, and reads all."""
    store = InMemorySessionStore(max_sessions=64)
    shared = "shared"
    asyncio.run(store.save(shared, {"_created_at": 1.0}, 600))
    failures: list[BaseException] = []
    start = threading.Barrier(6)

    async def hammer(thread: int) -> None:
        repository = SessionRepository(store)
        for turn in range(25):
            session = await loaded(repository, shared)
            session.set_attribute(f"t{thread}-{turn}", turn)
            assert await repository.commit(session) is Outcome.STORED

            own = repository.create()
            own.set_attribute("thread", thread)
            assert await repository.commit(own) is Outcome.STORED
            former = own.id
            own.rotate_id()
            assert await repository.commit(own) is Outcome.STORED
            assert not await store.exists(former)
            assert len(store) <= 64
            own.invalidate()
            assert await repository.commit(own) is Outcome.ENDED

    def run(thread: int) -> None:
        start.wait()
        try:
            asyncio.run(hammer(thread))
        except BaseException as error:  # noqa: BLE001 - reported by the test
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    data = asyncio.run(store.get(shared))
    assert data is not None
    assert (len([name for name in data if name.startswith("t")]), len(store)) == (6 * 25, 1)
