"""A change of id between other requests: the former id ends, no write is lost, a logout holds."""

from __future__ import annotations

import asyncio
from typing import Any

from pyfly_session.core.repository import Outcome
from pyfly_session.ports import CompareAndSwap, Rename
from pyfly_session.testing.contract.intercepting_store import Interposed
from pyfly_session.testing.contract.reporting import expect, promised_by
from pyfly_session.testing.contract.sessions import (
    expect_attributes,
    expect_gone,
    overlapping,
    repository_of,
    request,
    start,
)
from pyfly_session.testing.contract.store_fixtures import StoreHooks

_SAFE = (Rename, CompareAndSwap)


class Rotations(StoreHooks):
    """A login gives the session a new id while other requests work under the former one."""

    @promised_by("rename", "save", "delete")
    async def test_rotation_keeps_the_data_and_ends_the_former_id(self, store: Any) -> None:
        """After a change of id the data is under the new id, and the former id is dead."""
        repository = repository_of(store)
        former = await start(repository, user="alice", cart=[1])
        login = await request(repository, former)
        for number in range(2, 5):
            login.rotate_id()
            login.get_attribute("cart").append(number)
            expect(await repository.commit(login), Outcome.STORED, "the change of id")
            await expect_gone(store, former, "the former id")
            expect(await repository.load(former), None, "a request with the former id")
            former = login.id

        await expect_attributes(store, login.id, user="alice", cart=[1, 2, 3, 4])

    @promised_by("rename", "save", "get")
    async def test_a_write_before_the_rotation_is_taken_along(self, store: Any) -> None:
        """A write that another request made before the change of id is taken along."""
        repository = repository_of(store)
        former, writer, login = await overlapping(repository, repository, user="alice")
        writer.set_attribute("note", "early")
        await repository.commit(writer)

        login.rotate_id()
        expect(await repository.commit(login), Outcome.STORED, "the change of id")
        await expect_gone(store, former, "the former id")
        await expect_attributes(store, login.id, user="alice", note="early")

    @promised_by("rename", needs=_SAFE)
    async def test_a_write_that_arrives_during_the_rotation_is_taken_along(
        self, store: Any
    ) -> None:
        """A write between reading and changing the id is taken along."""
        between = Interposed(store)
        repository, other = repository_of(between), repository_of(store)
        former, login, writer = await overlapping(repository, other)
        login.rotate_id()
        writer.set_attribute("note", "meanwhile")
        between.before("rename", lambda: other.commit(writer))

        expect(await repository.commit(login), Outcome.STORED, "the change of id")
        await expect_gone(store, former, "the former id")
        await expect_attributes(store, login.id, note="meanwhile")

    @promised_by("compare_and_swap", "rename", needs=_SAFE)
    async def test_a_late_write_under_the_former_id_arrives_in_the_session(
        self, store: Any
    ) -> None:
        """A request that began before the change of id writes to the session where it is now."""
        repository = repository_of(store)
        former, late, last = await overlapping(repository, repository, user="alice")
        login = await request(repository, former)
        for number in range(1, 4):
            login.rotate_id()
            await repository.commit(login)
            late.set_attribute("late", number)
            expect(await repository.commit(late), Outcome.MOVED, "the late commit")
            await expect_gone(store, former, "the former id")
            await expect_attributes(store, login.id, user="alice", late=number)

        last.remove_attribute("user")
        expect(await repository.commit(last), Outcome.MOVED, "a commit after three changes of id")
        await expect_gone(store, former, "the former id")
        await expect_attributes(store, login.id, late=3)

    @promised_by("rename", needs=_SAFE)
    async def test_of_two_rotations_exactly_one_id_survives(self, store: Any) -> None:
        """Two requests change the id: the first one's survives, with the changes of both."""
        repository = repository_of(store)
        former, a, b = await overlapping(repository, repository, user="alice")
        for name, login in (("a", a), ("b", b)):
            login.rotate_id()
            login.set_attribute(name, 1)

        expect(await repository.commit(a), Outcome.STORED, "the first change of id")
        won, wanted = a.id, b.id
        expect(await repository.commit(b), Outcome.MOVED, "the second change of id")
        alive = [await store.exists(each) for each in (former, won, wanted)]
        expect(alive, [False, True, False], "exists: the former, the first, the second id")
        await expect_attributes(store, won, user="alice", a=1, b=1)

    @promised_by("rename", needs=_SAFE)
    async def test_a_rotation_that_another_one_overtakes_yields(self, store: Any) -> None:
        """Of two changes of id the first one wins, also if it comes while the other is stored."""
        between = Interposed(store)
        repository, other = repository_of(between), repository_of(store)
        former, slow, quick = await overlapping(repository, other, user="alice")
        for name, login in (("slow", slow), ("quick", quick)):
            login.rotate_id()
            login.set_attribute(name, 1)
        won, wanted = quick.id, slow.id
        between.before("rename", lambda: other.commit(quick))

        expect(await repository.commit(slow), Outcome.MOVED, "the change of id that came second")
        alive = [await store.exists(each) for each in (former, won, wanted)]
        expect(alive, [False, True, False], "exists: the former, the first, the second id")
        await expect_attributes(store, won, user="alice", slow=1, quick=1)

    @promised_by("rename", needs=_SAFE)
    async def test_rotations_at_the_same_moment_leave_one_session(self, store: Any) -> None:
        """Many requests change the id at once: the first one's survives, with all changes."""
        former = await start(repository_of(store))
        # As in so many processes: those of one do not meet in the store.
        processes = [repository_of(store) for _ in range(6)]
        logins = [await request(each, former) for each in processes]
        for number, login in enumerate(logins):
            login.rotate_id()
            login.set_attribute(f"n{number}", number)
        wanted = [login.id for login in logins]
        commits = (each.commit(login) for each, login in zip(processes, logins, strict=True))
        outcomes = await asyncio.gather(*commits)

        alive = [each for each in wanted if await store.exists(each)]
        won = [each for each, o in zip(wanted, outcomes, strict=True) if o is Outcome.STORED]
        expect(len(won), 1, "changes of id that were stored")
        expect(alive, won, "new ids that are alive")
        await expect_gone(store, former, "the former id")
        await expect_attributes(store, alive[0], **{f"n{number}": number for number in range(6)})

    @promised_by("rename", "save", "get")
    async def test_a_rotation_after_the_logout_does_not_resurrect_the_session(
        self, store: Any
    ) -> None:
        """No resurrection: a change of id that comes after the logout stores nothing."""
        repository = repository_of(store)
        former, login, logout = await overlapping(repository, repository, user="alice")
        login.rotate_id()
        logout.invalidate()
        await repository.commit(logout)

        expect(await repository.commit(login), Outcome.GONE, "the change of id")
        await expect_gone(store, former, "the former id")
        await expect_gone(store, login.id, "the new id")

    @promised_by("delete_moved", "rename", needs=Rename)
    async def test_a_logout_after_rotations_ends_every_id(self, store: Any) -> None:
        """A logout holds: it follows the session through any changes of id."""
        for rotations in (1, 5):
            repository = repository_of(store)
            former, logout, login = await overlapping(repository, repository, user="alice")
            for _ in range(rotations):
                login.rotate_id()
                await repository.commit(login)
            logout.invalidate()

            expect(await repository.commit(logout), Outcome.ENDED, "the logout")
            await expect_gone(store, former, "the former id")
            await expect_gone(store, login.id, f"the new id, after {rotations} changes")

    @promised_by("delete_moved", "rename", needs=Rename)
    async def test_a_logout_in_the_middle_of_a_rotation_ends_every_id(self, store: Any) -> None:
        """A logout holds: just before or just after the store changes the id, both ids end."""
        for when in ("before", "after"):
            between = Interposed(store)
            repository, other = repository_of(between), repository_of(store)
            former, login, logout = await overlapping(repository, other, user="alice")
            login.rotate_id()
            logout.invalidate()
            getattr(between, when)("rename", lambda logout=logout, by=other: by.commit(logout))

            await repository.commit(login)
            await expect_gone(store, former, f"the former id, logout {when} rename")
            await expect_gone(store, login.id, f"the new id, logout {when} rename")
