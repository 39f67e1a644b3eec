"""A request is cancelled at any call of the store, before or after the store did it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pyfly_session.core.repository import Outcome, SessionRepository
from pyfly_session.core.session import HttpSession
from pyfly_session.ports import CompareAndSwap, Rename
from pyfly_session.testing.clock import Clock
from pyfly_session.testing.contract.intercepting_store import Interposed
from pyfly_session.testing.contract.reporting import BrokenPromiseError, expect, promised_by
from pyfly_session.testing.contract.sessions import (
    expect_attributes,
    expect_gone,
    one_more,
    overlapping,
    repository_of,
    request,
    start,
)
from pyfly_session.testing.contract.store_fixtures import StoreHooks

_MOST_CALLS = 20
before_and_after = pytest.mark.parametrize("when", ["before", "after"])


async def _interrupted(repository: SessionRepository, session: HttpSession) -> bool:
    """Commit; tell whether it was cancelled on the way."""
    try:
        await repository.commit(session)
    except asyncio.CancelledError:
        return True
    return False


async def _repeated(
    store: Any,
    when: str,
    prepare: Callable[[SessionRepository], Awaitable[HttpSession]],
    expected: dict[str, Any],
    more: Callable[[HttpSession], None] = lambda _: None,
) -> None:
    """Interrupt a commit at one call after the other, and repeat it each time.

    Args:
        store: The store.
        when: Whether the interruption comes before or after the call.
        prepare: Makes the session, and changes it.
        expected: The attributes that are stored then.
        more: Changes the session between the two attempts.
    """
    for call in range(_MOST_CALLS):
        between, clock = Interposed(store), Clock()
        repository = repository_of(between, clock)
        session = await prepare(repository)
        between.cancel_at(call, when)
        if not await _interrupted(repository, session):
            return
        # The second attempt comes later, so its bytes are others.
        clock.advance(0.01)
        more(session)
        expect(await repository.commit(session), Outcome.STORED, "the second attempt")
        await expect_attributes(store, session.id, **expected)
        if session.previous_id is not None:
            await expect_gone(store, session.previous_id, "the former id")
    raise BrokenPromiseError("the commit never came to its end")


class Interruptions(StoreHooks):
    """Whoever was interrupted tries again, and gets what the first attempt would have given."""

    @before_and_after
    @promised_by("compare_and_swap", "get", "save")
    async def test_repeating_an_interrupted_write_stores_it(self, store: Any, when: str) -> None:
        """A write that was interrupted at any call and is repeated is stored, once."""

        async def prepare(repository: SessionRepository) -> HttpSession:
            session = await request(repository, await start(repository, user="alice"))
            session.set_attribute("role", "admin")
            return session

        await _repeated(store, when, prepare, {"user": "alice", "role": "admin"})

    @before_and_after
    @promised_by("create_if_absent", "compare_and_swap", "save")
    async def test_repeating_an_interrupted_creation_stores_the_session(
        self, store: Any, when: str
    ) -> None:
        """A creation that was interrupted at any call and is repeated stores the session."""

        async def prepare(repository: SessionRepository) -> HttpSession:
            session = repository.create()
            session.set_attribute("user", "alice")
            return session

        expected = {"user": "alice", "more": 1}
        await _repeated(store, when, prepare, expected, lambda one: one.set_attribute("more", 1))

    @before_and_after
    @promised_by("compare_and_swap", "create_if_absent", "get", "save")
    async def test_repeating_an_interrupted_update_applies_it_once(
        self, store: Any, when: str
    ) -> None:
        """An update that was interrupted at any call and is repeated is applied once.

        The first attempt may have stored it, and what is stored is what updates start from.
        """

        async def of_old(repository: SessionRepository) -> HttpSession:
            session = await request(repository, await start(repository))
            session.update_attribute("visits", one_more)
            return session

        async def of_new(repository: SessionRepository) -> HttpSession:
            session = repository.create()
            session.update_attribute("visits", one_more)
            return session

        for prepare in (of_old, of_new):
            await _repeated(store, when, prepare, {"visits": 1})

    @before_and_after
    @promised_by("rename", "compare_and_swap", needs=(Rename, CompareAndSwap))
    async def test_repeating_an_interrupted_rotation_moves_the_session(
        self, store: Any, when: str
    ) -> None:
        """A change of id that was interrupted at any call and is repeated moves the session."""

        async def prepare(repository: SessionRepository) -> HttpSession:
            session = await request(repository, await start(repository, user="alice"))
            session.rotate_id()
            return session

        expected = {"user": "alice", "role": "admin"}
        await _repeated(
            store, when, prepare, expected, lambda one: one.set_attribute("role", "admin")
        )

    @promised_by("rename", "compare_and_swap", needs=(Rename, CompareAndSwap))
    async def test_repeating_an_interrupted_rotation_keeps_what_others_wrote(
        self, store: Any
    ) -> None:
        """A change of id that is repeated keeps what others wrote under the new id meanwhile."""
        between = Interposed(store)
        repository = repository_of(between)
        _, session, late = await overlapping(repository, repository, user="alice")
        session.rotate_id()
        between.cancel_at(0, "after")
        await _interrupted(repository, session)
        late.set_attribute("late", 1)
        expect(await repository.commit(late), Outcome.MOVED, "the late commit")

        session.set_attribute("role", "admin")
        expect(await repository.commit(session), Outcome.STORED, "the second attempt")
        await expect_attributes(store, session.id, user="alice", late=1, role="admin")

    @before_and_after
    @promised_by("delete_moved", "rename", needs=Rename)
    async def test_a_logout_after_an_interrupted_rotation_ends_both_ids(
        self, store: Any, when: str
    ) -> None:
        """A logout holds: it ends both ids after a change of id that was interrupted."""
        between = Interposed(store)
        repository = repository_of(between)
        former = await start(repository, user="alice")
        session = await request(repository, former)
        session.rotate_id()
        between.cancel_at(0, when)
        await _interrupted(repository, session)
        session.invalidate()

        expect(await repository.commit(session), Outcome.ENDED, "the logout")
        await expect_gone(store, former, "the former id")
        await expect_gone(store, session.id, "the new id")

    @before_and_after
    @promised_by("delete_moved", needs=Rename)
    async def test_repeating_an_interrupted_logout_ends_the_session_wherever_it_is(
        self, store: Any, when: str
    ) -> None:
        """A logout holds: interrupted on its way through the ids, and repeated, it ends all."""
        for call in range(2):
            between = Interposed(store)
            repository = repository_of(between)
            former, login, logout = await overlapping(repository, repository, user="alice")
            login.rotate_id()
            await repository.commit(login)
            logout.invalidate()
            between.cancel_at(call, when)
            await _interrupted(repository, logout)
            for _ in range(2):
                expect(await repository.commit(logout), Outcome.ENDED, "a further attempt")

            await expect_gone(store, former, "the former id")
            await expect_gone(store, login.id, "the new id")
