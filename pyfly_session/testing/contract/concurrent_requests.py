"""Two requests on one session: no update is lost, and what has ended stays ended.

They run through `SessionRepository`, which is what the filter uses, without HTTP around it.
Nothing is left to luck: either both have loaded before the first one commits, or the one acts
while the other is about to call the store.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pyfly_session.core.repository import Outcome, SessionRepository
from pyfly_session.ports import CompareAndSwap
from pyfly_session.testing.clock import Clock
from pyfly_session.testing.contract.intercepting_store import Interposed
from pyfly_session.testing.contract.reporting import expect, promised_by
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


class ConcurrentRequests(StoreHooks):
    """Writers, readers and logouts that overlap."""

    @promised_by("compare_and_swap", "get", "save")
    async def test_two_requests_that_set_different_attributes_both_win(self, store: Any) -> None:
        """No lost update: two requests change different attributes, and both changes are kept."""
        repository = repository_of(store)
        session_id, a, b = await overlapping(repository, repository, both="old")
        a.set_attribute("a", 1)
        b.set_attribute("b", 2)

        expect(await repository.commit(a), Outcome.STORED, "the first commit")
        expect(await repository.commit(b), Outcome.STORED, "the second commit")
        await expect_attributes(store, session_id, both="old", a=1, b=2)

    @promised_by("compare_and_swap", needs=CompareAndSwap)
    async def test_a_write_that_arrives_during_the_commit_is_merged(self, store: Any) -> None:
        """No lost update: what is written between reading and storing is merged, not replaced."""
        between = Interposed(store)
        repository, other = repository_of(between), repository_of(store)
        session_id, a, b = await overlapping(repository, other)
        a.set_attribute("a", 1)
        b.set_attribute("b", 2)
        between.before("compare_and_swap", lambda: other.commit(b))

        expect(await repository.commit(a), Outcome.STORED, "the commit")
        await expect_attributes(store, session_id, a=1, b=2)

    @promised_by("compare_and_swap", needs=CompareAndSwap)
    async def test_many_writers_at_once_lose_nothing(self, store: Any) -> None:
        """No lost update: of many requests at once, the change of each one is kept.

        As in so many processes: those of one are stored together, by one swap.
        """
        session_id = await start(repository_of(store))

        async def write(number: int) -> Outcome:
            repository = repository_of(store)
            session = await request(repository, session_id)
            await asyncio.sleep(0)
            session.set_attribute(f"n{number}", number)
            return await repository.commit(session)

        outcomes = await asyncio.gather(*(write(number) for number in range(20)))
        expect(outcomes, [Outcome.STORED] * 20, "the commits")
        await expect_attributes(store, session_id, **{f"n{number}": number for number in range(20)})

    @promised_by("compare_and_swap", "get", "save")
    async def test_two_requests_that_update_one_attribute_both_count(self, store: Any) -> None:
        """No lost update: `update_attribute` is applied to what another request stored.

        At the same moment by the clock, so that only what is new with every write tells the
        one from the other.
        """
        repository, elsewhere = repository_of(store), repository_of(store)
        session_id, a, b = await overlapping(repository, elsewhere)
        for session in (a, b):
            session.update_attribute("visits", one_more)

        expect(await repository.commit(a), Outcome.STORED, "the first commit")
        expect(await elsewhere.commit(b), Outcome.STORED, "the second commit")
        await expect_attributes(store, session_id, visits=2)

    @promised_by("compare_and_swap", needs=CompareAndSwap)
    async def test_an_update_that_arrives_during_the_commit_counts(self, store: Any) -> None:
        """No lost update: one that is stored between reading and storing counts as well."""
        between = Interposed(store)
        repository, other = repository_of(between), repository_of(store)
        session_id, a, b = await overlapping(repository, other, visits=10)
        for session in (a, b):
            session.update_attribute("visits", one_more)
        between.before("compare_and_swap", lambda: other.commit(b))

        expect(await repository.commit(a), Outcome.STORED, "the commit")
        await expect_attributes(store, session_id, visits=12)

    @promised_by("compare_and_swap", needs=CompareAndSwap)
    async def test_many_updates_of_one_attribute_lose_nothing(self, store: Any) -> None:
        """No lost update: many requests of several processes update one attribute at once."""
        processes = [repository_of(store) for _ in range(4)]
        session_id = await start(processes[0])

        async def visit(repository: SessionRepository) -> Outcome:
            session = await request(repository, session_id)
            await asyncio.sleep(0)
            session.update_attribute("visits", one_more)
            return await repository.commit(session)

        outcomes = await asyncio.gather(*(visit(each) for each in processes * 5))
        expect(outcomes, [Outcome.STORED] * 20, "the commits")
        await expect_attributes(store, session_id, visits=20)

    @promised_by("compare_and_swap", "get", "save")
    async def test_a_write_after_the_logout_does_not_resurrect_the_session(
        self, store: Any
    ) -> None:
        """No resurrection: a request slower than the logout does not bring the session back."""
        repository = repository_of(store)
        session_id, slow, logout = await overlapping(repository, repository, user="alice")
        logout.invalidate()
        expect(await repository.commit(logout), Outcome.ENDED, "the logout")

        slow.set_attribute("x", 1)
        for _ in range(2):
            expect(await repository.commit(slow), Outcome.GONE, "the slow commit")
            await expect_gone(store, session_id, "after the slow commit")

    @promised_by("compare_and_swap", needs=CompareAndSwap)
    async def test_a_logout_that_arrives_during_the_commit_is_not_undone(self, store: Any) -> None:
        """No resurrection: a logout between reading and storing is not undone."""
        between = Interposed(store)
        repository, other = repository_of(between), repository_of(store)
        session_id, slow, logout = await overlapping(repository, other, user="alice")
        slow.set_attribute("x", 1)
        logout.invalidate()
        between.before("compare_and_swap", lambda: other.commit(logout))

        expect(await repository.commit(slow), Outcome.GONE, "the slow commit")
        await expect_gone(store, session_id, "after the slow commit")

    @promised_by("load_and_slide", "get")
    async def test_a_request_after_the_logout_finds_nothing(self, store: Any) -> None:
        """No resurrection: loading a session that has ended does not bring it back."""
        repository = repository_of(store)
        session_id, reader, logout = await overlapping(repository, repository, user="alice")
        logout.invalidate()
        await repository.commit(logout)

        expect(reader.get_attribute("user"), "alice", "what an earlier reader holds")
        expect(await repository.load(session_id), None, "load, after the logout")
        await expect_gone(store, session_id, "after that load")

    @promised_by("exists", "delete")
    async def test_a_slow_reader_learns_of_the_logout_and_changes_nothing(self, store: Any) -> None:
        """A slow request that only read learns that its session ended, and brings nothing back.

        Its response must not carry the cookie any more.
        """
        clock = Clock()
        repository, elsewhere = repository_of(store, clock), repository_of(store, clock)
        session_id, slow, logout = await overlapping(repository, elsewhere, user="alice")
        slow.get_attribute("user")
        logout.invalidate()
        await elsewhere.commit(logout)
        clock.advance(1)

        expect(await repository.commit(slow), Outcome.GONE, "the reader's commit")
        await expect_gone(store, session_id, "after the reader's commit")

    @promised_by("exists", "rename", "delete")
    async def test_a_slow_reader_learns_that_the_id_was_changed(self, store: Any) -> None:
        """A slow request that only read learns that the session has another id now.

        Its response must not put the former id over the new cookie.
        """
        clock = Clock()
        repository, elsewhere = repository_of(store, clock), repository_of(store, clock)
        _, slow, login = await overlapping(repository, elsewhere)
        login.rotate_id()
        expect(await elsewhere.commit(login), Outcome.STORED, "the change of id")
        clock.advance(1)

        expect(await repository.commit(slow), Outcome.GONE, "the reader's commit")
        expect(await store.exists(login.id), True, "exists, the new id")
