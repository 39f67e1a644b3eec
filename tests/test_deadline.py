"""The deadline of a store holds for a write as a whole, however many write the session."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pyfly_session import HttpSession, Outcome, SessionRepository, SessionStoreError
from pyfly_session.adapters.memory import InMemorySessionStore
from tests.conftest import Clock
from tests.interposed import InterposedStore
from tests.support.sessions import begun, loaded

# More than anything takes on a busy machine.
DEADLINE = 60


@pytest.fixture
def store(clock: Clock) -> Any:
    store: Any = InterposedStore(InMemorySessionStore(clock=clock))
    store.deadline = DEADLINE
    return store


@pytest.fixture
def repository(store: Any, clock: Clock) -> SessionRepository:
    return SessionRepository(store, clock=clock)


async def stored(repository: SessionRepository, session_id: str) -> dict[str, Any]:
    session = await loaded(repository, session_id)
    return {name: session.get_attribute(name) for name in session.get_attribute_names()}


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_writer_waits_behind_others_no_longer_than_the_deadline(
    store: Any, repository: SessionRepository, jump: Callable[[float], None]
) -> None:
    """It is not stored later, either; who has come later has its own deadline."""
    session_id, gate = await begun(repository), asyncio.Event()
    store.before("compare_and_swap", gate.wait)
    slow, queued, late = [await loaded(repository, session_id, **{n: 1}) for n in "abc"]
    first = asyncio.ensure_future(repository.commit(slow))
    second = asyncio.ensure_future(repository.commit(queued))
    await turns()
    jump(DEADLINE / 2)
    third = asyncio.ensure_future(repository.commit(late))
    await turns()
    jump(DEADLINE / 2 + 1)
    with pytest.raises(SessionStoreError, match="within the deadline"):
        await second
    assert not third.done()
    gate.set()
    await asyncio.gather(first, third)
    await repository.drain()
    assert await stored(repository, session_id) == {"a": 1, "c": 1}
    # What was given up can be tried again.
    await repository.commit(queued)
    assert await stored(repository, session_id) == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("kind", ["plain", "update"])
async def test_a_writer_that_others_outrun_tries_no_longer_than_the_deadline(
    store: Any, repository: SessionRepository, clock: Clock, jump: Callable[[float], None],
    kind: str,
) -> None:  # fmt: skip
    elsewhere = SessionRepository(store.inner, clock=clock)
    session_id, attempts = await begun(repository), 0
    session = await loaded(repository, session_id, **({"mine": 1} if kind == "plain" else {}))
    if kind == "update":
        session.update_attribute("mine", lambda n: (n or 0) + 1)

    async def outrun() -> None:
        nonlocal attempts
        attempts += 1
        await elsewhere.commit(await loaded(elsewhere, session_id, theirs=attempts))
        jump(DEADLINE / 3)
        await turns()

    store.before("compare_and_swap", outrun, always=True)
    with pytest.raises(SessionStoreError, match="within the deadline"):
        await repository.commit(session)
    await repository.drain()
    assert attempts <= 4


async def test_a_batch_that_is_not_answered_ends_with_the_deadline_of_its_youngest(
    store: Any, repository: SessionRepository, jump: Callable[[float], None]
) -> None:
    session_id, gates = await begun(repository), [asyncio.Event(), asyncio.Event()]
    swaps = iter(gates)
    store.before("compare_and_swap", lambda: next(swaps).wait(), always=True)
    slow, one, two = [await loaded(repository, session_id, **{n: 1}) for n in "abc"]
    asked = [asyncio.ensure_future(repository.commit(slow))]
    await turns()
    asked += [asyncio.ensure_future(repository.commit(each)) for each in (one, two)]
    await turns()
    gates[0].set()
    await asked[0]
    await turns()
    jump(DEADLINE + 1)
    for each in asked[1:]:
        with pytest.raises(SessionStoreError, match="within the deadline"):
            await each
    await repository.drain()
    assert await stored(repository, session_id) == {"a": 1}


@pytest.mark.parametrize("kind", ["alone", "update", "behind another"])
async def test_a_change_of_id_that_was_begun_is_not_given_up(
    store: Any, repository: SessionRepository, jump: Callable[[float], None], kind: str
) -> None:
    """It may be done, so its client has to hear of it; the store has a deadline of its own."""
    session_id, gates = await begun(repository), [asyncio.Event(), asyncio.Event()]
    first, session = await loaded(repository, session_id, a=1), await loaded(repository, session_id)
    store.before("compare_and_swap", gates[0].wait)
    store.before("rename", gates[1].wait)
    session.rotate_id()
    asked = []
    if kind == "behind another":
        asked.append(asyncio.ensure_future(repository.commit(first)))
        await turns()
    elif kind == "update":
        session.update_attribute("b", lambda n: (n or 0) + 1)
    change = asyncio.ensure_future(repository.commit(session))
    await turns()
    gates[0].set()
    await asyncio.gather(*asked)
    await turns()
    jump(DEADLINE + 1)
    await turns()
    assert not change.done()
    gates[1].set()
    assert await change is Outcome.STORED
    assert (await stored(repository, session.id)).items() >= dict.fromkeys(
        "a" * len(asked), 1
    ).items()


async def waiting_change_of_id(
    store: Any, repository: SessionRepository
) -> tuple[str, HttpSession, asyncio.Future[Outcome], Callable[[], Awaitable[None]]]:
    """Return a change of id that waits behind a write, and what lets both come to their end."""
    session_id, gate = await begun(repository), asyncio.Event()
    first, session = await loaded(repository, session_id, a=1), await loaded(repository, session_id)
    store.before("compare_and_swap", gate.wait)
    session.rotate_id()
    writing = asyncio.ensure_future(repository.commit(first))
    await turns()
    change = asyncio.ensure_future(repository.commit(session))
    await turns()

    async def let_go() -> None:
        gate.set()
        await writing
        await repository.drain()

    return session_id, session, change, let_go


async def test_a_change_of_id_that_waits_is_given_up_and_not_done_later(
    store: Any, repository: SessionRepository, jump: Callable[[float], None]
) -> None:
    session_id, _, change, let_go = await waiting_change_of_id(store, repository)
    jump(DEADLINE + 1)
    with pytest.raises(SessionStoreError, match="within the deadline"):
        await change
    await let_go()
    assert await stored(repository, session_id) == {"a": 1}


async def test_a_change_of_id_that_waits_is_dropped_with_its_request(
    store: Any, repository: SessionRepository
) -> None:
    session_id, session, change, let_go = await waiting_change_of_id(store, repository)
    change.cancel()
    await asyncio.wait({change})
    await repository.settle(session)
    await let_go()
    assert await stored(repository, session_id) == {"a": 1}
