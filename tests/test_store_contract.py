"""What every store promises, and every session over any store: one suite, each store in turn.

Stores with a clock are asked at the exact moment; of the real server the remaining time to
live is read instead.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis.asyncio as aioredis

from pyfly_session import HttpSession, SessionEncodingError, SessionRepository, SessionStore
from pyfly_session.codec import DEFAULT_CODEC
from pyfly_session.ports import FORWARD_SECONDS, Moved
from pyfly_session.repository import Outcome
from tests.conftest import ALL_STORES, NATIVE_STORES, Clock, FourVerbStore
from tests.interposed import interpose

O = "0" * 32  # noqa: E741 - the old id
N = "1" * 32
M = "2" * 32
KEY = "pyfly:session:" + O
CLOCKED = ["memory", "four-verbs"]


def encoded(**attributes: Any) -> bytes:
    return DEFAULT_CODEC.dumps({"_created_at": 1.0, **attributes})


@pytest.fixture(params=CLOCKED)
def clocked_store(request: pytest.FixtureRequest, make_store: Any) -> Any:
    """Return each store whose time is the test's clock."""
    return make_store(request.param)


@pytest.fixture
def memory(make_store: Any) -> Any:
    return make_store("memory")


@pytest.fixture
def server_store(make_store: Any) -> Any:
    return make_store("valkey")


def repository_of(store: Any, clock: Clock, **options: Any) -> SessionRepository:
    return SessionRepository(store, clock=clock, **options)


async def start(repository: SessionRepository, **attributes: Any) -> str:
    """Store a session, as a visitor's first request does."""
    session = repository.create()
    for name, value in attributes.items():
        session.set_attribute(name, value)
    assert await repository.commit(session) is Outcome.STORED
    return session.id


async def request(repository: SessionRepository, session_id: str) -> HttpSession:
    """Load a session that must be there."""
    session = await repository.load(session_id)
    assert session is not None
    return session


async def attributes_of(store: SessionStore, session_id: str) -> dict[str, Any] | None:
    """Return what is stored, without the metadata."""
    data = await store.get(session_id)
    return data and {name: value for name, value in data.items() if not name.startswith("_")}


class TestFourVerbs:
    async def test_an_unknown_id_is_absence_not_an_error(self, store: SessionStore) -> None:
        assert await store.get(O) is None
        assert await store.exists(O) is False

    async def test_what_was_saved_comes_back(self, store: SessionStore) -> None:
        data = {"_created_at": 1.5, "user": "alice", "cart": [{"id": 7, "ok": True}], "none": None}
        await store.save(O, data, 60)

        assert await store.get(O) == data
        assert await store.exists(O) is True

    async def test_an_empty_session_is_a_session(self, store: SessionStore) -> None:
        await store.save(O, {}, 60)

        assert await store.get(O) == {}
        assert await store.exists(O) is True

    async def test_save_replaces_all_that_was_there(self, store: SessionStore) -> None:
        await store.save(O, {"a": 1, "b": 1}, 60)
        await store.save(O, {"a": 2}, 60)

        assert await store.get(O) == {"a": 2}

    async def test_a_deleted_session_is_gone(self, store: SessionStore) -> None:
        await store.save(O, {"a": 1}, 60)
        await store.delete(O)

        assert await store.get(O) is None
        assert await store.exists(O) is False

    async def test_deleting_an_absent_session_does_nothing(self, store: SessionStore) -> None:
        await store.save(N, {"a": 1}, 60)
        await store.delete(O)
        await store.delete(O)

        assert await store.get(N) == {"a": 1}

    async def test_sessions_do_not_see_each_other(self, store: SessionStore) -> None:
        await store.save("ab", {"who": "ab"}, 60)
        await store.save("abc", {"who": "abc"}, 60)
        await store.delete("ab")

        assert await store.get("abc") == {"who": "abc"}
        assert await store.get("a") is None

    async def test_changing_what_was_loaded_changes_nothing_stored(
        self, store: SessionStore
    ) -> None:
        await store.save(O, {"cart": [1], "deep": {"a": {}}}, 60)
        loaded = await store.get(O)
        assert loaded is not None

        loaded["cart"].append(2)
        loaded["deep"]["a"]["b"] = 1
        loaded["new"] = 1

        assert await store.get(O) == {"cart": [1], "deep": {"a": {}}}

    async def test_changing_what_was_saved_changes_nothing_stored(
        self, store: SessionStore
    ) -> None:
        data: dict[str, Any] = {"cart": [1]}
        await store.save(O, data, 60)

        data["cart"].append(2)
        data["new"] = 1

        assert await store.get(O) == {"cart": [1]}

    @pytest.mark.parametrize(
        "value",
        [
            datetime(2026, 11, 23, 4, 5, 6, 789, tzinfo=UTC),
            date(2026, 11, 23),
            timedelta(days=-1, microseconds=1),
            uuid.UUID(int=1),
            Decimal("0.10"),
            b"\x00\xff",
            {1, 2},
            float("inf"),
            2**100,
            "\ud800 \x00 é",
            {"__pyfly_type__": "anything", "value": 1},
        ],
        ids=repr,
    )
    async def test_every_storable_value_comes_back_with_its_type(
        self, store: SessionStore, value: Any
    ) -> None:
        await store.save(O, {"value": value}, 60)
        loaded = await store.get(O)

        assert loaded == {"value": value}
        assert type(loaded["value"]) is type(value)

    async def test_tuples_come_back_as_lists_in_every_bundled_store(
        self, native_store: Any
    ) -> None:
        await native_store.save(O, {"pair": (1, (2, 3))}, 60)

        assert await native_store.get(O) == {"pair": [1, [2, 3]]}

    @pytest.mark.parametrize("value", [object(), {1: "int key"}, [print], 1j], ids=repr)
    async def test_what_cannot_be_stored_is_refused_before_anything_is_written(
        self, native_store: Any, value: Any
    ) -> None:
        await native_store.save(O, {"former": 1}, 60)

        with pytest.raises(SessionEncodingError, match="'bad'"):
            await native_store.save(O, {"fine": 1, "bad": value}, 60)

        assert await native_store.get(O) == {"former": 1}


class TestTime:
    async def test_session_is_gone_exactly_at_its_ttl(
        self, clocked_store: Any, clock: Clock
    ) -> None:
        await clocked_store.save(O, {"a": 1}, 60)

        clock.advance(60 - 2**-10)
        assert await clocked_store.get(O) == {"a": 1}
        assert await clocked_store.exists(O)

        clock.advance(2**-10)
        assert await clocked_store.get(O) is None
        assert not await clocked_store.exists(O)

    async def test_an_expired_session_is_absent_for_every_capability(
        self, memory: Any, clock: Clock
    ) -> None:
        value = encoded()
        await memory.create_if_absent(O, value, 60)
        clock.advance(60)

        assert await memory.load_and_slide(O, 60) is None
        assert await memory.compare_and_swap(O, value, encoded(a=1), 60) is None
        assert await memory.rename(O, N, value, value, 60) is None
        assert await memory.delete_moved(O) is None
        assert await memory.get(N) is None
        assert await memory.get(O) is None
        assert await memory.create_if_absent(O, value, 60) is True

    async def test_looking_does_not_prolong_the_session(
        self, clocked_store: Any, clock: Clock
    ) -> None:
        await clocked_store.save(O, {"a": 1}, 60)
        for _ in range(6):
            assert await clocked_store.get(O) is not None
            assert await clocked_store.exists(O)
            clock.advance(10)

        assert await clocked_store.get(O) is None

    async def test_saving_again_starts_the_time_anew(
        self, clocked_store: Any, clock: Clock
    ) -> None:
        await clocked_store.save(O, {"a": 1}, 60)
        clock.advance(59)
        await clocked_store.save(O, {"a": 1}, 10)
        clock.advance(9)
        assert await clocked_store.exists(O)
        clock.advance(1)
        assert not await clocked_store.exists(O)

    async def test_reading_keeps_a_session_alive(self, clocked_store: Any, clock: Clock) -> None:
        """Requests that only read, at less than the idle time from each other."""
        repository = repository_of(clocked_store, clock, ttl=2)
        session_id = await start(repository, user="alice")
        for _ in range(10):
            clock.advance(1.9)
            session = await request(repository, session_id)
            assert session.get_attribute("user") == "alice"
            assert await repository.commit(session) is not Outcome.GONE

        clock.advance(2)
        assert await repository.load(session_id) is None
        assert await clocked_store.get(session_id) is None

    async def test_every_write_gives_the_session_its_full_time(
        self, memory: Any, clock: Clock
    ) -> None:
        first, second = encoded(n=1), encoded(n=2)
        await memory.create_if_absent(O, first, 60)
        clock.advance(59)
        assert await memory.compare_and_swap(O, first, second, 60) == second
        clock.advance(59)
        assert await memory.rename(O, N, second, second, 60) == second
        clock.advance(59)
        assert await memory.load_and_slide(N, 60) == second
        clock.advance(59)
        assert await memory.exists(N)
        clock.advance(1)
        assert not await memory.exists(N)

    async def test_the_way_to_the_new_id_is_forgotten_in_the_end(
        self, memory: Any, clock: Clock
    ) -> None:
        value = encoded()
        await memory.create_if_absent(O, value, 3600)
        await memory.rename(O, N, value, value, 3600)

        clock.advance(FORWARD_SECONDS - 2**-10)
        assert await memory.delete_moved(O) == N
        assert await memory.compare_and_swap(O, value, value, 60) == Moved(N)
        clock.advance(2**-10)
        assert await memory.delete_moved(O) is None
        assert await memory.compare_and_swap(O, value, value, 60) is None
        assert await memory.exists(N)

    async def test_the_server_keeps_a_session_for_its_ttl(
        self, server_store: Any, valkey: aioredis.Redis
    ) -> None:
        value = encoded()

        async def has_its_full_time() -> bool:
            full = 55_000 < await valkey.pttl(KEY) <= 60_000
            await valkey.pexpire(KEY, 9_000)
            return full

        await server_store.save(O, {}, 60)
        assert await has_its_full_time()
        await server_store.delete(O)
        await server_store.create_if_absent(O, value, 60)
        assert await has_its_full_time()
        await server_store.load_and_slide(O, 60)
        assert await has_its_full_time()
        await server_store.compare_and_swap(O, value, encoded(a=1), 60)
        assert await has_its_full_time()
        await server_store.compare_and_swap(O, value, encoded(a=2), 60)
        assert not await has_its_full_time()

    async def test_looking_at_the_server_does_not_prolong_the_session(
        self, server_store: Any, valkey: aioredis.Redis
    ) -> None:
        await server_store.save(O, {"a": 1}, 60)
        assert 55_000 < await valkey.pttl(KEY) <= 60_000
        await valkey.pexpire(KEY, 9_000)

        assert await server_store.get(O) == {"a": 1}
        assert await server_store.exists(O)

        assert await valkey.pttl(KEY) <= 9_000

    async def test_the_server_gives_a_moved_session_its_full_time_and_the_way_an_end(
        self, server_store: Any, valkey: aioredis.Redis
    ) -> None:
        value = encoded()
        await server_store.create_if_absent(O, value, 9)
        await server_store.rename(O, N, value, value, 3600)

        assert 3_500_000 < await valkey.pttl("pyfly:session:" + N) <= 3_600_000
        moved = "{" + KEY + "}:moved"
        assert FORWARD_SECONDS * 900 < await valkey.pttl(moved) <= FORWARD_SECONDS * 1000


class TestCapabilities:
    async def test_load_and_slide_returns_what_is_stored_and_never_creates(
        self, native_store: Any
    ) -> None:
        assert await native_store.load_and_slide(O, 60) is None
        assert not await native_store.exists(O)

        await native_store.create_if_absent(O, encoded(a=1), 60)
        assert await native_store.load_and_slide(O, 60) == encoded(a=1)

    async def test_create_if_absent_never_replaces(self, native_store: Any) -> None:
        assert await native_store.create_if_absent(O, encoded(a=1), 60) is True
        assert await native_store.create_if_absent(O, encoded(a=2), 60) is False
        assert await native_store.load_and_slide(O, 60) == encoded(a=1)

    async def test_compare_and_swap_replaces_what_the_caller_read(self, native_store: Any) -> None:
        await native_store.create_if_absent(O, encoded(a=1), 60)

        assert await native_store.compare_and_swap(O, encoded(a=1), encoded(a=2), 60) == encoded(
            a=2
        )
        assert await native_store.load_and_slide(O, 60) == encoded(a=2)

    async def test_compare_and_swap_returns_the_other_writers_value_and_keeps_it(
        self, native_store: Any
    ) -> None:
        await native_store.create_if_absent(O, encoded(a=2), 60)

        assert await native_store.compare_and_swap(O, encoded(a=1), encoded(a=3), 60) == encoded(
            a=2
        )
        assert await native_store.load_and_slide(O, 60) == encoded(a=2)

    async def test_compare_and_swap_never_creates(self, native_store: Any) -> None:
        assert await native_store.compare_and_swap(O, encoded(), encoded(a=1), 60) is None
        assert not await native_store.exists(O)

    async def test_a_renamed_session_is_under_the_new_id_only(self, native_store: Any) -> None:
        await native_store.create_if_absent(O, encoded(a=1), 60)

        renamed = await native_store.rename(O, N, encoded(a=1), encoded(a=2), 60)

        assert renamed == encoded(a=2)
        assert await native_store.load_and_slide(N, 60) == encoded(a=2)
        assert await native_store.load_and_slide(O, 60) is None
        assert await native_store.get(O) is None
        assert not await native_store.exists(O)

    async def test_latecomers_are_told_where_the_session_moved(self, native_store: Any) -> None:
        await native_store.create_if_absent(O, encoded(), 60)
        await native_store.rename(O, N, encoded(), encoded(), 60)

        assert await native_store.compare_and_swap(O, encoded(), encoded(a=1), 60) == Moved(N)
        assert await native_store.rename(O, M, encoded(), encoded(a=1), 60) == Moved(N)
        assert await native_store.delete_moved(O) == N
        assert not await native_store.exists(M)
        assert await native_store.load_and_slide(N, 60) == encoded()

    async def test_renaming_what_another_writer_changed_moves_nothing(
        self, native_store: Any
    ) -> None:
        await native_store.create_if_absent(O, encoded(a=2), 60)

        assert await native_store.rename(O, N, encoded(a=1), encoded(a=3), 60) == encoded(a=2)
        assert await native_store.load_and_slide(O, 60) == encoded(a=2)
        assert not await native_store.exists(N)
        assert await native_store.delete_moved(O) is None

    async def test_renaming_an_absent_session_creates_nothing(self, native_store: Any) -> None:
        assert await native_store.rename(O, N, encoded(), encoded(), 60) is None
        assert not await native_store.exists(N)
        assert not await native_store.exists(O)

    async def test_renaming_to_the_same_id_again_destroys_nothing(self, native_store: Any) -> None:
        """The first answer got lost, and somebody wrote under the new id since."""
        await native_store.create_if_absent(O, encoded(a=1), 60)
        await native_store.rename(O, N, encoded(a=1), encoded(a=2), 60)
        await native_store.compare_and_swap(N, encoded(a=2), encoded(a=3), 60)

        assert await native_store.rename(O, N, encoded(a=1), encoded(a=4), 60) == Moved(N)
        assert await native_store.load_and_slide(N, 60) == encoded(a=3)

    async def test_renaming_a_session_that_already_says_the_new_value_moves_it(
        self, native_store: Any
    ) -> None:
        """Another writer stored the very same; an equal answer must mean that it was moved."""
        await native_store.create_if_absent(O, encoded(a=2), 60)

        assert await native_store.rename(O, N, encoded(a=1), encoded(a=2), 60) == encoded(a=2)
        assert not await native_store.exists(O)
        assert await native_store.load_and_slide(N, 60) == encoded(a=2)
        assert await native_store.delete_moved(O) == N

    async def test_delete_moved_ends_a_session_that_was_not_moved(self, native_store: Any) -> None:
        await native_store.create_if_absent(O, encoded(), 60)

        assert await native_store.delete_moved(O) is None
        assert not await native_store.exists(O)

    async def test_bytes_that_are_no_session_are_absent_for_get(self, native_store: Any) -> None:
        for payload in (b"\x80abc", b"[]", b'"text"', b"", b"{", b'{"a":1}x', b"null"):
            await native_store.delete(O)
            await native_store.create_if_absent(O, payload, 60)

            assert await native_store.get(O) is None
            assert await native_store.exists(O)
            assert await native_store.load_and_slide(O, 60) == payload


class TestConcurrentRequests:
    """Two requests on one session, in each order that matters."""

    async def test_two_requests_that_set_different_attributes_both_win(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        session_id = await start(repository, both="old")
        a, b = await request(repository, session_id), await request(repository, session_id)
        a.set_attribute("a", 1)
        b.set_attribute("b", 2)

        assert await repository.commit(a) is Outcome.STORED
        assert await repository.commit(b) is Outcome.STORED

        assert await attributes_of(store, session_id) == {"both": "old", "a": 1, "b": 2}

    async def test_of_two_writers_of_one_attribute_the_last_wins(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        session_id = await start(repository, x=0)
        a, b = await request(repository, session_id), await request(repository, session_id)
        a.set_attribute("x", "a")
        b.set_attribute("x", "b")
        await repository.commit(b)
        await repository.commit(a)

        assert await attributes_of(store, session_id) == {"x": "a"}

    async def test_a_removal_and_a_write_of_another_attribute_both_hold(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        session_id = await start(repository, gone=1, kept=1)
        a, b = await request(repository, session_id), await request(repository, session_id)
        b.get_attribute("gone")
        a.remove_attribute("gone")
        b.set_attribute("new", 1)
        await repository.commit(a)
        await repository.commit(b)

        assert await attributes_of(store, session_id) == {"kept": 1, "new": 1}

    async def test_a_value_that_was_only_read_does_not_undo_another_requests_write(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        session_id = await start(repository, cart=[1])
        reader, writer = (
            await request(repository, session_id),
            await request(repository, session_id),
        )
        reader.get_attribute("cart")
        writer.get_attribute("cart").append(2)
        await repository.commit(writer)
        reader.set_attribute("seen", True)
        await repository.commit(reader)

        assert await attributes_of(store, session_id) == {"cart": [1, 2], "seen": True}

    async def test_a_write_that_arrives_during_the_commit_is_merged(
        self, native_store: Any, clock: Clock
    ) -> None:
        between = interpose(native_store)
        repository, other = repository_of(between, clock), repository_of(native_store, clock)
        session_id = await start(repository)
        a, b = await request(repository, session_id), await request(other, session_id)
        a.set_attribute("a", 1)
        b.set_attribute("b", 2)
        between.before("compare_and_swap", lambda: other.commit(b))

        assert await repository.commit(a) is Outcome.STORED
        assert between.calls[-2:] == ["compare_and_swap"] * 2
        assert await attributes_of(native_store, session_id) == {"a": 1, "b": 2}

    async def test_many_writers_at_once_lose_nothing(self, native_store: Any, clock: Clock) -> None:
        repository = repository_of(native_store, clock)
        session_id = await start(repository)

        async def write(number: int) -> None:
            session = await request(repository, session_id)
            await asyncio.sleep(0)
            session.set_attribute(f"n{number}", number)
            assert await repository.commit(session) is Outcome.STORED

        await asyncio.gather(*(write(number) for number in range(20)))

        assert await attributes_of(native_store, session_id) == {f"n{n}": n for n in range(20)}

    async def test_save_after_logout_does_not_resurrect_the_session(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        session_id = await start(repository, user="alice")
        slow, logout = await request(repository, session_id), await request(repository, session_id)
        logout.invalidate()
        assert await repository.commit(logout) is Outcome.ENDED

        slow.set_attribute("x", 1)
        assert await repository.commit(slow) is Outcome.GONE
        assert await repository.commit(slow) is Outcome.GONE

        assert await store.get(session_id) is None
        assert not await store.exists(session_id)

    async def test_a_logout_that_arrives_during_the_commit_is_not_undone(
        self, native_store: Any, clock: Clock
    ) -> None:
        between = interpose(native_store)
        repository, other = repository_of(between, clock), repository_of(native_store, clock)
        session_id = await start(repository, user="alice")
        slow, logout = await request(repository, session_id), await request(other, session_id)
        slow.set_attribute("x", 1)
        logout.invalidate()
        between.before("compare_and_swap", lambda: other.commit(logout))

        assert await repository.commit(slow) is Outcome.GONE
        assert not await native_store.exists(session_id)

    async def test_a_slow_reader_learns_of_the_logout_and_changes_nothing(
        self, store: SessionStore, clock: Clock
    ) -> None:
        """Its response must not carry the cookie any more."""
        repository, elsewhere = repository_of(store, clock), repository_of(store, clock)
        session_id = await start(repository, user="alice")
        slow, logout = await request(repository, session_id), await request(elsewhere, session_id)
        slow.get_attribute("user")
        logout.invalidate()
        await elsewhere.commit(logout)
        clock.advance(1)

        assert await repository.commit(slow) is Outcome.GONE
        assert not await store.exists(session_id)

    async def test_a_slow_reader_learns_that_the_id_was_changed(
        self, store: SessionStore, clock: Clock
    ) -> None:
        """Its response must not overwrite the cookie with the former id."""
        repository, elsewhere = repository_of(store, clock), repository_of(store, clock)
        session_id = await start(repository)
        slow, login = await request(repository, session_id), await request(elsewhere, session_id)
        login.rotate_id()
        assert await elsewhere.commit(login) is Outcome.STORED
        clock.advance(1)

        assert await repository.commit(slow) is Outcome.GONE
        assert await store.exists(login.id)

    async def test_a_fast_reader_learns_of_a_new_id_in_the_same_process(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        session_id = await start(repository)
        reader, login = await request(repository, session_id), await request(repository, session_id)
        login.rotate_id()
        await repository.commit(login)

        assert await repository.commit(reader) is Outcome.GONE

    async def test_a_fast_reader_learns_of_a_logout_in_the_same_process(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        session_id = await start(repository)
        reader, logout = (
            await request(repository, session_id),
            await request(repository, session_id),
        )
        logout.invalidate()
        await repository.commit(logout)

        assert await repository.commit(reader) is Outcome.GONE


class TestChangeOfId:
    async def test_rotation_keeps_the_data_and_ends_the_former_id(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        session_id = await start(repository, user="alice", cart=[1])
        login = await request(repository, session_id)
        login.rotate_id()
        login.get_attribute("cart").append(2)
        login.remove_attribute("user")

        assert await repository.commit(login) is Outcome.STORED

        assert await store.get(session_id) is None
        assert await repository.load(session_id) is None
        assert await attributes_of(store, login.id) == {"cart": [1, 2]}

    async def test_rotating_twice_leaves_only_the_last_id(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        first = await start(repository, user="alice")
        session = await request(repository, first)
        session.rotate_id()
        second = session.id
        session.rotate_id()
        await repository.commit(session)

        assert [await store.exists(each) for each in (first, second, session.id)] == [
            False,
            False,
            True,
        ]

    async def test_rotating_after_a_commit_rotates_again(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        ids_seen = [await start(repository, user="alice")]
        session = await request(repository, ids_seen[0])
        for _ in range(3):
            session.rotate_id()
            ids_seen.append(session.id)
            assert await repository.commit(session) is Outcome.STORED

        assert [await store.exists(each) for each in ids_seen] == [False, False, False, True]
        assert await attributes_of(store, session.id) == {"user": "alice"}

    async def test_a_new_session_that_rotates_is_stored_once(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        session = repository.create()
        first = session.id
        session.set_attribute("user", "alice")
        session.rotate_id()

        assert await repository.commit(session) is Outcome.STORED
        assert not await store.exists(first)
        assert await attributes_of(store, session.id) == {"user": "alice"}

    async def test_a_late_write_under_the_former_id_arrives_in_the_rotated_session(
        self, native_store: Any, clock: Clock
    ) -> None:
        repository = repository_of(native_store, clock)
        session_id = await start(repository, user="alice")
        late, login = await request(repository, session_id), await request(repository, session_id)
        login.rotate_id()
        login.set_attribute("role", "admin")
        await repository.commit(login)

        late.set_attribute("note", "late")
        assert await repository.commit(late) is Outcome.MOVED

        assert not await native_store.exists(session_id)
        assert await attributes_of(native_store, login.id) == {
            "user": "alice",
            "role": "admin",
            "note": "late",
        }

    async def test_a_late_write_follows_any_number_of_rotations(
        self, native_store: Any, clock: Clock
    ) -> None:
        repository = repository_of(native_store, clock)
        session_id = await start(repository)
        late, login = await request(repository, session_id), await request(repository, session_id)
        for _ in range(5):
            login.rotate_id()
            await repository.commit(login)
        late.set_attribute("note", "late")

        assert await repository.commit(late) is Outcome.MOVED
        assert await attributes_of(native_store, login.id) == {"note": "late"}

    async def test_a_late_writer_can_go_on_writing_and_never_revives_the_former_id(
        self, native_store: Any, clock: Clock
    ) -> None:
        repository = repository_of(native_store, clock)
        session_id = await start(repository)
        late, login = await request(repository, session_id), await request(repository, session_id)
        login.rotate_id()
        await repository.commit(login)
        for number in range(3):
            late.set_attribute(f"n{number}", number)
            assert await repository.commit(late) is Outcome.MOVED
            assert await repository.commit(late) is Outcome.MOVED
            assert late.id == session_id
            assert not await native_store.exists(session_id)

        assert await attributes_of(native_store, login.id) == {"n0": 0, "n1": 1, "n2": 2}

    async def test_a_write_before_the_rotation_is_taken_along(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        session_id = await start(repository, user="alice")
        writer, login = await request(repository, session_id), await request(repository, session_id)
        writer.set_attribute("note", "early")
        await repository.commit(writer)

        login.rotate_id()
        assert await repository.commit(login) is Outcome.STORED

        assert not await store.exists(session_id)
        assert await attributes_of(store, login.id) == {"user": "alice", "note": "early"}

    async def test_a_write_that_arrives_during_the_rotation_is_taken_along(
        self, native_store: Any, clock: Clock
    ) -> None:
        between = interpose(native_store)
        repository, other = repository_of(between, clock), repository_of(native_store, clock)
        session_id = await start(repository)
        login, writer = await request(repository, session_id), await request(other, session_id)
        login.rotate_id()
        writer.set_attribute("note", "meanwhile")
        between.before("rename", lambda: other.commit(writer))

        assert await repository.commit(login) is Outcome.STORED

        assert not await native_store.exists(session_id)
        assert await attributes_of(native_store, login.id) == {"note": "meanwhile"}

    async def test_the_same_write_by_both_requests_does_not_keep_the_former_id_alive(
        self, store: SessionStore, clock: Clock
    ) -> None:
        """What the writer stored is byte for byte what the login wants to store."""
        repository = repository_of(store, clock)
        session_id = await start(repository)
        writer, login = await request(repository, session_id), await request(repository, session_id)
        writer.set_attribute("user", "alice")
        login.set_attribute("user", "alice")
        login.rotate_id()
        await repository.commit(writer)

        assert await repository.commit(login) is Outcome.STORED

        assert not await store.exists(session_id)
        assert await attributes_of(store, login.id) == {"user": "alice"}

    async def test_of_two_concurrent_rotations_exactly_one_id_survives(
        self, native_store: Any, clock: Clock
    ) -> None:
        repository = repository_of(native_store, clock)
        session_id = await start(repository, user="alice")
        a, b = await request(repository, session_id), await request(repository, session_id)
        a.rotate_id()
        a.set_attribute("a", 1)
        b.rotate_id()
        b.set_attribute("b", 2)

        assert await repository.commit(a) is Outcome.STORED
        assert await repository.commit(b) is Outcome.STORED

        alive = [await native_store.exists(each) for each in (session_id, a.id, b.id)]
        assert alive == [False, False, True]
        assert await attributes_of(native_store, b.id) == {"user": "alice", "a": 1, "b": 2}

    async def test_rotations_at_the_same_moment_leave_one_session(
        self, native_store: Any, clock: Clock
    ) -> None:
        repository = repository_of(native_store, clock)
        session_id = await start(repository, user="alice")
        logins = [await request(repository, session_id) for _ in range(6)]
        for number, login in enumerate(logins):
            login.rotate_id()
            login.set_attribute(f"n{number}", number)

        await asyncio.gather(*map(repository.commit, logins))

        alive = [login.id for login in logins if await native_store.exists(login.id)]
        assert len(alive) == 1
        assert not await native_store.exists(session_id)
        assert await attributes_of(native_store, alive[0]) == {
            "user": "alice",
            **{f"n{number}": number for number in range(6)},
        }

    async def test_rotation_after_logout_does_not_resurrect_the_session(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        session_id = await start(repository, user="alice")
        login, logout = await request(repository, session_id), await request(repository, session_id)
        login.rotate_id()
        logout.invalidate()
        await repository.commit(logout)

        assert await repository.commit(login) is Outcome.GONE

        assert not await store.exists(session_id)
        assert not await store.exists(login.id)

    async def test_logout_after_a_rotation_ends_both_ids(
        self, native_store: Any, clock: Clock
    ) -> None:
        repository = repository_of(native_store, clock)
        session_id = await start(repository, user="alice")
        login, logout = await request(repository, session_id), await request(repository, session_id)
        login.rotate_id()
        await repository.commit(login)
        logout.invalidate()

        assert await repository.commit(logout) is Outcome.ENDED

        assert not await native_store.exists(session_id)
        assert not await native_store.exists(login.id)

    async def test_logout_follows_several_rotations(self, native_store: Any, clock: Clock) -> None:
        repository = repository_of(native_store, clock)
        session_id = await start(repository, user="alice")
        logout = await request(repository, session_id)
        login = await request(repository, session_id)
        for _ in range(5):
            login.rotate_id()
            await repository.commit(login)
        logout.invalidate()
        await repository.commit(logout)

        assert not await native_store.exists(login.id)

    async def test_a_logout_in_the_middle_of_a_rotation_ends_both_ids(
        self, native_store: Any, clock: Clock
    ) -> None:
        for when in ("before", "after"):
            between = interpose(native_store)
            repository, other = repository_of(between, clock), repository_of(native_store, clock)
            session_id = await start(repository, user="alice")
            login, logout = await request(repository, session_id), await request(other, session_id)
            login.rotate_id()
            logout.invalidate()
            getattr(between, when)("rename", lambda logout=logout, by=other: by.commit(logout))

            await repository.commit(login)

            assert not await native_store.exists(session_id)
            assert not await native_store.exists(login.id)

    async def test_a_request_that_rotates_and_then_logs_out_ends_the_session(
        self, store: SessionStore, clock: Clock
    ) -> None:
        repository = repository_of(store, clock)
        session_id = await start(repository, user="alice")
        session = await request(repository, session_id)
        session.rotate_id()
        session.invalidate()

        assert await repository.commit(session) is Outcome.ENDED
        assert not await store.exists(session_id)
        assert not await store.exists(session.id)


class TestInterruption:
    """A request is cancelled at any call of the store, before or after the store did it."""

    @staticmethod
    def rotate(session: HttpSession) -> None:
        session.rotate_id()
        session.set_attribute("role", "admin")

    @staticmethod
    def write(session: HttpSession) -> None:
        session.set_attribute("role", "admin")

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("change", ["rotate", "write"])
    async def test_repeating_an_interrupted_commit_gives_what_the_first_would_have(
        self, store: SessionStore, clock: Clock, change: str, when: str
    ) -> None:
        act: Callable[[HttpSession], None] = getattr(self, change)
        for call in range(20):
            between = interpose(store)
            repository = repository_of(between, clock)
            former = await start(repository, user="alice")
            session = await request(repository, former)
            act(session)
            between.cancel_at(call, when)
            try:
                await repository.commit(session)
            except asyncio.CancelledError:
                clock.advance(0.01)
                outcome = await repository.commit(session)
            else:
                assert not between.cancelled
                break
            if isinstance(store, FourVerbStore) and outcome is Outcome.GONE:
                # It cannot tell its own end of the former id from a logout, so that is what holds.
                assert (change, when) == ("rotate", "after")
                assert not {former, session.id} & store.entries.keys()
                continue
            assert outcome is Outcome.STORED
            assert await attributes_of(store, session.id) == {"user": "alice", "role": "admin"}
            assert await store.exists(former) is (session.id == former)
        else:
            pytest.fail("the commit never came to its end")
        assert call > 0

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_repeating_an_interrupted_creation_stores_the_session_once(
        self, store: SessionStore, clock: Clock, when: str
    ) -> None:
        for call in range(20):
            between = interpose(store)
            repository = repository_of(between, clock)
            session = repository.create()
            session.set_attribute("user", "alice")
            between.cancel_at(call, when)
            try:
                await repository.commit(session)
            except asyncio.CancelledError:
                clock.advance(0.01)
                session.set_attribute("more", 1)
                assert await repository.commit(session) is Outcome.STORED
            else:
                break
            assert await attributes_of(store, session.id) == {"user": "alice", "more": 1}
        assert 0 < call < 20

    async def test_repeating_an_interrupted_rotation_keeps_what_others_wrote_meanwhile(
        self, native_store: Any, clock: Clock
    ) -> None:
        between = interpose(native_store)
        repository = repository_of(between, clock)
        former = await start(repository, user="alice")
        session, late = await request(repository, former), await request(repository, former)
        session.rotate_id()
        between.cancel_at(0, "after")
        with pytest.raises(asyncio.CancelledError):
            await repository.commit(session)
        late.set_attribute("late", 1)
        assert await repository.commit(late) is Outcome.MOVED

        session.set_attribute("role", "admin")
        assert await repository.commit(session) is Outcome.STORED
        assert await attributes_of(native_store, session.id) == {
            "user": "alice",
            "late": 1,
            "role": "admin",
        }

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_a_logout_after_an_interrupted_rotation_ends_both_ids(
        self, native_store: Any, clock: Clock, when: str
    ) -> None:
        between = interpose(native_store)
        repository = repository_of(between, clock)
        former = await start(repository, user="alice")
        session = await request(repository, former)
        session.rotate_id()
        between.cancel_at(0, when)
        with pytest.raises(asyncio.CancelledError):
            await repository.commit(session)
        session.invalidate()
        assert await repository.commit(session) is Outcome.ENDED

        assert not await native_store.exists(former)
        assert not await native_store.exists(session.id)

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_repeating_an_interrupted_logout_ends_the_session_wherever_it_is(
        self, native_store: Any, clock: Clock, when: str
    ) -> None:
        for call in range(2):
            between = interpose(native_store)
            repository = repository_of(between, clock)
            former = await start(repository, user="alice")
            login, logout = await request(repository, former), await request(repository, former)
            login.rotate_id()
            await repository.commit(login)
            logout.invalidate()
            between.cancel_at(call, when)
            with pytest.raises(asyncio.CancelledError):
                await repository.commit(logout)
            assert await repository.commit(logout) is Outcome.ENDED
            assert await repository.commit(logout) is Outcome.ENDED

            assert not await native_store.exists(former)
            assert not await native_store.exists(login.id)


def test_the_suite_runs_on_every_kind_of_store() -> None:
    assert set(CLOCKED) < set(ALL_STORES)
    assert set(NATIVE_STORES) == set(ALL_STORES) - {"four-verbs"}
