"""Records: what the library stores about sessions, under ids that no client can send."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.ids import new_id, record_id
from pyfly_session.testing.contract.reporting import BrokenPromiseError, expect, promised_by
from pyfly_session.testing.contract.sessions import encoded, expect_gone
from pyfly_session.testing.contract.store_fixtures import StoreHooks
from pyfly_session.testing.contract.time_travel import Timeline

T = TypeVar("T")

_LONGEST = 160


async def _taken(call: Awaitable[T]) -> T:
    """Return the answer to a call with the id of a record, unless the store refuses the id."""
    try:
        return await call
    except BrokenPromiseError:
        raise
    except Exception as error:
        raise BrokenPromiseError(
            f"the store refused the id of a record, which has a colon and up to {_LONGEST}"
            f" characters: {type(error).__name__}: {error}"
        ) from error


class Records(StoreHooks):
    """A record is an entry like a session, for every method but `rename`."""

    @promised_by("save", "get", "exists", "delete")
    async def test_a_record_is_kept_like_a_session(self, store: Any) -> None:
        """A record is kept, found, replaced and deleted like a session; its id has a colon."""
        for key in (new_id(), "z" * (_LONGEST - len("kind:"))):
            record = record_id("kind", key)
            await expect_gone(store, record, "a record that was never stored")
            await _taken(store.save(record, {"a": 1, "b": [2]}, 60))
            expect(await store.get(record), {"a": 1, "b": [2]}, "get, a record")
            expect(await store.exists(record), True, "exists, a record")
            await store.save(record, {"a": 3}, 60)
            expect(await store.get(record), {"a": 3}, "get, a record that was replaced")
            await store.delete(record)
            await expect_gone(store, record, "a record that was deleted")

    @promised_by("create_if_absent", "load_and_slide", "compare_and_swap", "delete_moved")
    async def test_every_capability_takes_records(self, store: Any) -> None:
        """What a store can do besides the four verbs it does for records, too."""
        capable, record = CapableStore(store), record_id("kind", new_id())
        first, second, third = (encoded(store, a=number) for number in range(3))
        created = await _taken(capable.create_if_absent(record, first, 60))
        expect(created, True, "create_if_absent, a record")
        taken = await capable.create_if_absent(record, second, 60)
        expect(taken, False, "create_if_absent, a record that is there")
        expect(await capable.load_and_slide(record, 60), first, "load_and_slide, a record")
        swapped = await capable.compare_and_swap(record, first, second, 60)
        expect(swapped, second, "compare_and_swap, a record")
        swapped = await capable.compare_and_swap(record, first, third, 60)
        expect(swapped, second, "compare_and_swap, a record that another writer changed")
        expect(await capable.load_and_slide(record, 60), second, "load_and_slide, a record")
        expect(await capable.delete_moved(record), None, "delete_moved, a record")
        await expect_gone(store, record, "a record after delete_moved")

    @promised_by("save", "get", "exists")
    async def test_a_record_is_gone_exactly_at_its_ttl(
        self, store: Any, timeline: Timeline
    ) -> None:
        """A record lives for `ttl` seconds, like a session, and is absent from that moment."""
        record = record_id("kind", new_id())
        await _taken(store.save(record, {"a": 1}, timeline.ttl))

        await timeline.to_the_last_tick()
        expect(await store.get(record), {"a": 1}, "get, a record one tick before its end")
        await timeline.to_the_end()
        await expect_gone(store, record, "a record exactly at its end")

    @promised_by("save", "get", "delete")
    async def test_records_and_sessions_do_not_see_each_other(self, store: Any) -> None:
        """A session and the records of the same key are entries of their own."""
        key = new_id()
        alike = [key, record_id("a", key), record_id("b", key), record_id("a", key + "c")]
        for each in alike:
            await _taken(store.save(each, {"id": each}, 60))
        await store.delete(alike[1])

        await expect_gone(store, alike[1], "the record that was deleted")
        for each in (alike[0], *alike[2:]):
            expect(await store.get(each), {"id": each}, f"get, the id {each!r}")
