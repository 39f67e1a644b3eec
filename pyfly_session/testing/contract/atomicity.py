"""Each capability is one step: calls that overlap leave what some order of them would leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pyfly_session.ids import new_id
from pyfly_session.ports import CompareAndSwap, CreateIfAbsent, LoadAndSlide, Moved, Rename
from pyfly_session.testing.contract.reporting import expect, promised_by
from pyfly_session.testing.contract.sessions import encoded, expect_gone, payload_of, plant
from pyfly_session.testing.contract.store_fixtures import StoreHooks

Call = Callable[[], Awaitable[Any]]

# How many turns of the event loop one call is ahead of the other: each way in which calls of
# a few steps can interleave is tried, the same ones in every run.
_LEADS = range(-6, 7)
_CROWD = 8


async def overlap(first: Call, second: Call, lead: int) -> tuple[Any, Any]:
    """Run two calls at once, the first one ``lead`` turns ahead; negative for behind."""

    async def after(turns: int, call: Call) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await call()

    calls = [after(max(0, -lead), first), after(max(0, lead), second)]
    answers = await asyncio.gather(*(calls if lead >= 0 else reversed(calls)))
    return (answers[0], answers[1]) if lead >= 0 else (answers[1], answers[0])


class Atomicity(StoreHooks):
    """Two callers at the same moment; on which of them is first nothing depends."""

    @promised_by("create_if_absent", needs=CreateIfAbsent)
    async def test_of_many_creators_of_one_id_one_wins(self, store: Any) -> None:
        """Of many who create one id at once, one is told True, and it is theirs that is stored."""
        session_id = new_id()
        values = [encoded(store, n=number) for number in range(_CROWD)]
        created = await asyncio.gather(
            *(store.create_if_absent(session_id, value, 60) for value in values)
        )
        expect(created.count(True), 1, "answers True to create_if_absent")
        stored = await payload_of(store, session_id)
        expect(stored, values[created.index(True)], "what is stored")

    @promised_by("compare_and_swap", needs=CompareAndSwap)
    async def test_of_many_writers_onto_one_value_one_wins(self, store: Any) -> None:
        """Of many who swap the same bytes at once, one wins; the others get the winner's bytes."""
        session_id, value = new_id(), encoded(store)
        await plant(store, session_id, value)
        values = [encoded(store, n=number) for number in range(_CROWD)]
        swapped = await asyncio.gather(
            *(store.compare_and_swap(session_id, value, each, 60) for each in values)
        )
        stored = await payload_of(store, session_id)
        expect(swapped, [stored] * _CROWD, "answers of compare_and_swap")

    @promised_by("compare_and_swap", "delete", needs=CompareAndSwap)
    async def test_a_delete_during_compare_and_swap_holds(self, store: Any) -> None:
        """A session deleted while `compare_and_swap` runs is not brought back."""
        for lead in _LEADS:
            session_id, value = new_id(), encoded(store)
            await plant(store, session_id, value)
            await overlap(
                partial(store.compare_and_swap, session_id, value, encoded(store, a=1), 60),
                partial(store.delete, session_id),
                lead,
            )
            await expect_gone(store, session_id, "after both")

    @promised_by("load_and_slide", "delete", needs=LoadAndSlide)
    async def test_a_delete_during_load_and_slide_holds(self, store: Any) -> None:
        """A session deleted while `load_and_slide` runs is not brought back."""
        for lead in _LEADS:
            session_id = new_id()
            await plant(store, session_id, encoded(store))
            await overlap(
                partial(store.load_and_slide, session_id, 60),
                partial(store.delete, session_id),
                lead,
            )
            await expect_gone(store, session_id, "after both")

    @promised_by("load_and_slide", needs=(LoadAndSlide, CompareAndSwap))
    async def test_a_write_during_load_and_slide_is_kept(self, store: Any) -> None:
        """What is written while `load_and_slide` runs is not undone by it."""
        for lead in _LEADS:
            session_id, value, written = new_id(), encoded(store), encoded(store, a=1)
            await plant(store, session_id, value)
            loaded, _ = await overlap(
                partial(store.load_and_slide, session_id, 60),
                partial(store.compare_and_swap, session_id, value, written, 60),
                lead,
            )
            expect(loaded in (value, written), True, "load_and_slide returned either value")
            expect(await payload_of(store, session_id), written, "what is stored after both")

    @promised_by("rename", needs=Rename)
    async def test_of_many_changes_of_id_one_wins(self, store: Any) -> None:
        """Of many who rename one session at once, one wins; the others are told its new id."""
        former, value = new_id(), encoded(store)
        await plant(store, former, value)
        new_ids = [new_id() for _ in range(_CROWD)]
        answers = await asyncio.gather(
            *(
                store.rename(former, new, value, encoded(store, n=number), 60)
                for number, new in enumerate(new_ids)
            )
        )
        alive = [new for new in new_ids if await store.exists(new)]
        expect(len(alive), 1, "new ids that are alive")
        losers = [answer for answer in answers if answer == Moved(alive[0])]
        expect(len(losers), _CROWD - 1, "answers Moved to the id that is alive")
        await expect_gone(store, former, "the former id")

    @promised_by("rename", "compare_and_swap", needs=(Rename, CompareAndSwap))
    async def test_a_write_during_a_rename_is_answered_truly(self, store: Any) -> None:
        """A write and a rename at once: the session is under one id, and both are told which."""
        for lead in _LEADS:
            former, new = new_id(), new_id()
            value, written, renamed = (encoded(store, n=number) for number in range(3))
            await plant(store, former, value)
            answers = await overlap(
                partial(store.rename, former, new, value, renamed, 60),
                partial(store.compare_and_swap, former, value, written, 60),
                lead,
            )
            held = [await payload_of(store, former), await payload_of(store, new)]
            if answers[0] == renamed:
                expect(answers[1], Moved(new), "compare_and_swap, after a rename that was done")
                expect(held, [None, renamed], "what is under the former and the new id")
            else:
                expect(answers, (written, written), "answers, after a write that was done")
                expect(held, [written, None], "what is under the former and the new id")

    @promised_by("rename", "delete_moved", needs=Rename)
    async def test_a_logout_during_a_rename_can_follow_it(self, store: Any) -> None:
        """A rename and `delete_moved` at once: who follows the way ends the session for good."""
        for lead in _LEADS:
            former, new, value = new_id(), new_id(), encoded(store)
            await plant(store, former, value)
            _, way = await overlap(
                partial(store.rename, former, new, value, value, 60),
                partial(store.delete_moved, former),
                lead,
            )
            if way is not None:
                expect(way, new, "delete_moved")
                await store.delete_moved(way)
            await expect_gone(store, former, "the former id")
            await expect_gone(store, new, "the new id")
