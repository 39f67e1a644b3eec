"""What the bundled stores do beyond the published contract, and sessions over any store.

The contract itself is in `pyfly_session/testing/contract`; `test_conformance.py` runs it.
"""

import asyncio
from typing import Any

import pytest

from pyfly_session import Outcome, SessionEncodingError, SessionRepository, SessionStore
from tests.conftest import Clock
from tests.interposed import interpose
from tests.support.cases import for_each
from tests.support.sessions import begun, loaded

O = "0" * 32  # noqa: E741 - the old id


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
