"""What the bundled stores do beyond the published contract, and sessions over any store.

The contract itself is in `pyfly_session/testing/contract`; `test_conformance.py` runs it.
"""

import asyncio
from typing import Any

import pytest
import redis.asyncio as aioredis

from pyfly_session import Outcome, SessionEncodingError, SessionRepository, SessionStore
from pyfly_session.core.codec import DEFAULT_CODEC
from pyfly_session.ports import FORWARD_SECONDS
from tests.conftest import Clock
from tests.interposed import interpose
from tests.support.cases import for_each
from tests.support.sessions import begun, loaded

O = "0" * 32  # noqa: E741 - the old id
N = "1" * 32
KEY = "pyfly:session:" + O


def encoded(**attributes: Any) -> bytes:
    return DEFAULT_CODEC.dumps({"_created_at": 1.0, **attributes})


@pytest.fixture
def server_store(make_store: Any) -> Any:
    return make_store("valkey")


def repository_of(store: Any, clock: Clock, **options: Any) -> SessionRepository:
    return SessionRepository(store, clock=clock, **options)


async def attributes_of(store: SessionStore, session_id: str) -> dict[str, Any] | None:
    """Return what is stored, without the metadata."""
    data = await store.get(session_id)
    return data and {name: value for name, value in data.items() if not name.startswith("_")}


class TestFourVerbs:
    async def test_tuples_come_back_as_lists_in_bundled_stores(self, native_store: Any) -> None:
        await native_store.save(O, {"pair": (1, (2, 3))}, 60)

        assert await native_store.get(O) == {"pair": [1, [2, 3]]}

    @for_each("value", [object(), {1j: "complex key"}, [print], 1j])
    async def test_what_cannot_be_stored_is_refused_before_anything_is_written(
        self, native_store: Any, value: Any
    ) -> None:
        await native_store.save(O, {"former": 1}, 60)

        with pytest.raises(SessionEncodingError, match="'bad'"):
            await native_store.save(O, {"fine": 1, "bad": value}, 60)

        assert await native_store.get(O) == {"former": 1}


class TestTime:
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
    async def test_bytes_that_are_no_session_are_absent_for_get(self, native_store: Any) -> None:
        for payload in (b"\x80abc", b"[]", b'"text"', b"", b"{", b'{"a":1}x', b"null"):
            await native_store.delete(O)
            await native_store.create_if_absent(O, payload, 60)

            assert await native_store.get(O) is None
            assert await native_store.exists(O)
            assert await native_store.load_and_slide(O, 60) == payload


class TestChangeOfId:
    async def test_a_late_writer_can_go_on_writing_and_never_revives_the_former_id(
        self, native_store: Any, clock: Clock
    ) -> None:
        repository = repository_of(native_store, clock)
        session_id = await begun(repository)
        late, login = await loaded(repository, session_id), await loaded(repository, session_id)
        login.rotate_id()
        await repository.commit(login)
        for number in range(3):
            late.set_attribute(f"n{number}", number)
            assert await repository.commit(late) is Outcome.MOVED
            assert await repository.commit(late) is Outcome.MOVED
            assert late.id == session_id
            assert not await native_store.exists(session_id)

        assert await attributes_of(native_store, login.id) == {"n0": 0, "n1": 1, "n2": 2}


class TestInterruption:
    """A request is cancelled at any call of the store, before or after the store did it."""

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_an_interrupted_rotation_over_four_verbs_is_done_or_ends_the_session(
        self, make_store: Any, clock: Clock, when: str
    ) -> None:
        store = make_store("four-verbs")
        ended = 0
        for call in range(20):
            between = interpose(store)
            repository = repository_of(between, clock)
            former = await begun(repository, user="alice")
            session = await loaded(repository, former)
            session.rotate_id()
            between.cancel_at(call, when)
            try:
                await repository.commit(session)
            except asyncio.CancelledError:
                clock.advance(0.01)
                outcome = await repository.commit(session)
            else:
                break
            assert not await store.exists(former)
            if outcome is Outcome.GONE:
                # It cannot tell its own end of the former id from a logout, so that is what holds.
                ended += 1
                assert not await store.exists(session.id)
            else:
                assert outcome is Outcome.STORED
                assert await attributes_of(store, session.id) == {"user": "alice"}

        assert (between.calls.count("delete"), ended) == (1, when == "after")
