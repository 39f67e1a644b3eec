"""A login of a user with very many sessions: what it costs is counted, not timed."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from pyfly_session import SessionCodec, SessionRepository
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.core.principals.index import MOST_SESSIONS
from tests.conftest import Clock
from tests.interposed import InterposedStore

# Bytes of an entry, and of a session with nothing in it.
ENTRY, SESSION = 120, 400


class CountingCodec(SessionCodec):
    """Counts the bytes that it is given and returns: what an event loop is busy with."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def split(self, payload: bytes) -> dict[str, Any]:
        self.bytes["decoded"] += len(payload)
        return super().split(payload)

    def join(self, parts: Mapping[str, Any]) -> bytes:
        payload = super().join(parts)
        self.bytes["encoded"] += len(payload)
        return payload


@pytest.fixture
def codec() -> CountingCodec:
    return CountingCodec()


@pytest.fixture
def store(codec: CountingCodec, clock: Clock) -> InterposedStore:
    return InterposedStore(InMemorySessionStore(codec=codec, clock=clock))


async def log_in(repository: SessionRepository) -> None:
    session = repository.create()
    session.authenticate("alice")
    await repository.commit(session)


@pytest.mark.parametrize("sessions", [1, MOST_SESSIONS, MOST_SESSIONS + 50])
async def test_a_login_costs_a_few_calls_and_the_bytes_of_one_record(
    store: InterposedStore, codec: CountingCodec, clock: Clock, sessions: int
) -> None:
    here = SessionRepository(store, clock=clock)
    for _ in range(sessions):
        await log_in(here)
        clock.advance(1)
    await here.drain()
    # Another process, which knows nothing yet.
    here = SessionRepository(store, clock=clock)
    store.calls.clear()
    codec.bytes.clear()
    await log_in(here)
    login = ["compare_and_swap", "create_if_absent", "compare_and_swap"]
    assert store.calls[:4] == ["get", *login]
    record = ENTRY * (min(sessions, MOST_SESSIONS) + 1) + SESSION
    assert codec.bytes["decoded"] <= record
    # As it was found, as it is noted, and as it is confirmed.
    assert 0 < codec.bytes["encoded"] <= 3 * record
    await here.drain()
    # With the end of the oldest session, where there are too many.
    assert len(store.calls) <= 10
    store.calls.clear()
    await log_in(here)
    assert store.calls[:3] == login


async def test_what_another_process_did_is_seen(store: InterposedStore, clock: Clock) -> None:
    """What this process has stored last is what it tries first, and no more than that."""
    here, there = (SessionRepository(store, clock=clock) for _ in range(2))
    await log_in(here)
    for repository in (there, here, there):
        await log_in(repository)
        clock.advance(1)
    assert (await here.principals.count("alice"), await there.principals.end_all("alice")) == (4, 4)
    # Nothing to do, as far as it knows; so it looks.
    assert await here.principals.count("alice") == 0
    await log_in(here)
    assert await there.principals.count("alice") == 1


async def test_refusal_is_no_decision_on_what_is_old(store: InterposedStore, clock: Clock) -> None:
    here, there = (SessionRepository(store, clock=clock) for _ in range(2))
    await log_in(here)
    await there.principals.end_all("alice")
    register = here.principals.register_limited
    options: dict[str, Any] = {"max_sessions": 1, "evict_oldest": False}
    assert (await register("alice", "a" * 32, clock(), **options)).accepted
