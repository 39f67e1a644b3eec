"""The promises of `Rename`, one call at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from pyfly_session.ids import new_id
from pyfly_session.ports import CompareAndSwap, LoadAndSlide, Moved, Rename
from pyfly_session.testing.contract.reporting import expect, promised_by
from pyfly_session.testing.contract.sessions import encoded, expect_gone, payload_of, plant
from pyfly_session.testing.contract.store_fixtures import StoreHooks


class Renaming(StoreHooks):
    """A change of id is one step, and latecomers are told the way."""

    @promised_by("rename", needs=Rename)
    async def test_a_renamed_session_is_under_the_new_id(self, store: Any) -> None:
        """`rename` stores `value` under the new id and returns it."""
        former, new, first, second = new_id(), new_id(), encoded(store, a=1), encoded(store, a=2)
        await plant(store, former, first)

        expect(await store.rename(former, new, first, second, 60), second, "rename")
        expect(await payload_of(store, new), second, "what is under the new id")

    @promised_by("rename", "load_and_slide", "get", "exists", needs=Rename)
    async def test_the_former_id_is_absent_after_a_rename(self, store: Any) -> None:
        """After `rename` nothing is stored under the former id: it opens no session."""
        former, new, value = new_id(), new_id(), encoded(store, a=1)
        await plant(store, former, value)
        await store.rename(former, new, value, value, 60)

        await expect_gone(store, former, "the former id")
        expect(await payload_of(store, former), None, "what load_and_slide finds there")
        await expect_gone(store, former, "the former id, after load_and_slide")

    @promised_by("rename", "compare_and_swap", "delete_moved", needs=Rename)
    async def test_latecomers_are_told_where_the_session_moved(self, store: Any) -> None:
        """After `rename` the writing methods answer a latecomer `Moved`, and write nothing."""
        former, new, third, value = new_id(), new_id(), new_id(), encoded(store)
        await plant(store, former, value)
        await store.rename(former, new, value, value, 60)

        late = encoded(store, a=1)
        if isinstance(store, CompareAndSwap):
            swapped = await store.compare_and_swap(former, value, late, 60)
            expect(swapped, Moved(new), "compare_and_swap of the former id")
        expect(await store.rename(former, third, value, late, 60), Moved(new), "rename once more")
        expect(await store.delete_moved(former), new, "delete_moved of the former id")
        await expect_gone(store, third, "the id of the late rename")
        expect(await payload_of(store, new), value, "what is under the new id")

    @promised_by("load_and_slide", needs=(Rename, LoadAndSlide))
    async def test_a_load_under_a_former_id_is_told_that_it_moved(self, store: Any) -> None:
        """After `rename` a load under the former id answers `Moved`, and returns no session.

        So a request that comes with an id of yesterday is told from a stranger's in one trip.
        """
        former, new, third, value = new_id(), new_id(), new_id(), encoded(store)
        await plant(store, former, value)
        await store.rename(former, new, value, value, 60)
        for _ in range(2):
            found = await store.load_and_slide(former, 60)
            expect(found, Moved(new), "load_and_slide of the former id")
            await store.delete(former)
        await expect_gone(store, former, "the former id, after load_and_slide")
        expect(await store.load_and_slide(new, 60), value, "load_and_slide of the new id")

        await store.rename(new, third, value, value, 60)
        ways = [await store.load_and_slide(each, 60) for each in (former, new)]
        expect(ways, [Moved(new), Moved(third)], "load_and_slide of each former id")

    @promised_by("delete", "delete_moved", needs=Rename)
    async def test_deleting_the_former_id_leaves_the_way(self, store: Any) -> None:
        """`delete` and `delete_moved` leave the way to the new id: it ends by its time only."""
        former, new, value = new_id(), new_id(), encoded(store)
        await plant(store, former, value)
        await store.rename(former, new, value, value, 60)
        await store.delete(former)

        for _ in range(2):
            expect(await store.delete_moved(former), new, "delete_moved, called again")
        expect(await payload_of(store, new), value, "what is under the new id")

    @promised_by("rename", needs=Rename)
    async def test_renaming_what_another_writer_changed_moves_nothing(self, store: Any) -> None:
        """`rename` moves nothing if another writer stored something, and returns those bytes."""
        former, new = new_id(), new_id()
        expected, theirs, mine = (encoded(store, a=number) for number in range(3))
        await plant(store, former, theirs)

        expect(await store.rename(former, new, expected, mine, 60), theirs, "rename")
        expect(await payload_of(store, former), theirs, "what is under the former id")
        await expect_gone(store, new, "the new id, of which nothing was stored")
        expect(await store.delete_moved(former), None, "delete_moved: there is no way")

    @promised_by("rename", needs=Rename)
    async def test_renaming_an_absent_session_creates_nothing(self, store: Any) -> None:
        """`rename` of an absent session answers None and brings nothing into being."""
        unknown, deleted, new, value = new_id(), new_id(), new_id(), encoded(store)
        await plant(store, deleted, value)
        await store.delete(deleted)
        for each in (unknown, deleted):
            expect(await store.rename(each, new, value, value, 60), None, "rename")
            await expect_gone(store, each, "the absent id")
            await expect_gone(store, new, "the new id")

    @promised_by("rename", needs=Rename)
    async def test_renaming_again_after_an_interruption_destroys_nothing(self, store: Any) -> None:
        """A caller that was interrupted asks again: `Moved`, and later writes are left alone."""
        former, new = new_id(), new_id()
        first, second, again = (encoded(store, a=number) for number in range(3))
        await plant(store, former, first)
        await store.rename(former, new, first, second, 60)
        await store.save(new, {"theirs": 1}, 60)
        theirs = await payload_of(store, new)

        renamed = await store.rename(former, new, first, again, 60)
        expect(renamed, Moved(new), "rename to the same id again")
        expect(await payload_of(store, new), theirs, "what is under the new id")

    @promised_by("rename", needs=Rename)
    async def test_renaming_a_session_that_already_is_the_value_moves_it(self, store: Any) -> None:
        """`rename` moves a session that already is `value`: another writer stored the same."""
        former, new, first, second = new_id(), new_id(), encoded(store, a=1), encoded(store, a=2)
        await plant(store, former, second)

        expect(await store.rename(former, new, first, second, 60), second, "rename")
        await expect_gone(store, former, "the former id")
        expect(await payload_of(store, new), second, "what is under the new id")
        expect(await store.delete_moved(former), new, "delete_moved of the former id")

    @promised_by("rename", "delete_moved", needs=Rename)
    async def test_each_change_of_id_leaves_its_own_way(self, store: Any) -> None:
        """Each of several changes of id leaves a way to the next one."""
        ids, value = [new_id() for _ in range(4)], encoded(store)
        await plant(store, ids[0], value)
        for former, new in pairwise(ids):
            expect(await store.rename(former, new, value, value, 60), value, "rename")

        ways = [await store.delete_moved(former) for former in ids]
        expect(ways, [*ids[1:], None], "delete_moved of each id in turn")
        await expect_gone(store, ids[-1], "after delete_moved of the last id")

    @promised_by("delete_moved", needs=Rename)
    async def test_delete_moved_ends_a_session_that_was_not_moved(self, store: Any) -> None:
        """`delete_moved` removes the session, and answers None if it was never moved."""
        session_id, other = new_id(), new_id()
        await plant(store, session_id, encoded(store))
        await plant(store, other, encoded(store))

        expect(await store.delete_moved(session_id), None, "delete_moved")
        await expect_gone(store, session_id, "after delete_moved")
        expect(await store.delete_moved(session_id), None, "delete_moved of an absent session")
        expect(await store.exists(other), True, "exists, another session")
