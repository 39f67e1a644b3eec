"""Time: a session ends exactly when its time is over, for every method."""

from __future__ import annotations

from typing import Any

import pytest

from pyfly_session.core.repository import Outcome
from pyfly_session.ids import new_id
from pyfly_session.ports import (
    FORWARD_SECONDS,
    CompareAndSwap,
    CreateIfAbsent,
    LoadAndSlide,
    Moved,
    Rename,
)
from pyfly_session.testing.contract.reporting import expect, promised_by
from pyfly_session.testing.contract.sessions import (
    encoded,
    expect_gone,
    plant,
    repository_of,
    request,
    start,
)
from pyfly_session.testing.contract.store_fixtures import StoreHooks
from pyfly_session.testing.contract.time_travel import Timeline


class Expiry(StoreHooks):
    """Pairs of looks: one tick before the end, and exactly at it."""

    @promised_by("save", "get", "exists")
    async def test_a_session_is_gone_exactly_at_its_ttl(
        self, store: Any, timeline: Timeline
    ) -> None:
        """A session lives for `ttl` seconds from `save`, and is absent from that very moment."""
        session_id = new_id()
        await store.save(session_id, {"a": 1}, timeline.ttl)

        await timeline.to_the_last_tick()
        expect(await store.get(session_id), {"a": 1}, "get, one tick before the end")
        expect(await store.exists(session_id), True, "exists, one tick before the end")

        await timeline.to_the_end()
        await expect_gone(store, session_id, "exactly at the end")

    @promised_by("get", "exists")
    async def test_looking_does_not_prolong_the_session(
        self, store: Any, timeline: Timeline
    ) -> None:
        """`get` and `exists` do not count as an access: they leave the time to live as it is."""
        session_id = new_id()
        await store.save(session_id, {"a": 1}, timeline.ttl)
        await timeline.to_the_last_tick()
        await store.get(session_id)
        await store.exists(session_id)

        await timeline.to_the_end()
        await expect_gone(store, session_id, "at the end, after both looked a tick before")

    @promised_by("save")
    async def test_saving_again_starts_the_time_anew(self, store: Any, timeline: Timeline) -> None:
        """`save` gives the session the time to live of this call, be it longer or shorter."""
        longer, shorter = new_id(), new_id()
        await store.save(longer, {}, timeline.ttl)
        await store.save(shorter, {}, 100 * timeline.ttl)
        await timeline.to_the_last_tick()
        await store.save(longer, {}, timeline.ttl)
        await store.save(shorter, {}, timeline.ttl)

        await timeline.to_the_last_tick()
        expect(await store.exists(longer), True, "exists, a tick before the new end")
        expect(await store.exists(shorter), True, "exists, a tick before the new end")
        await timeline.to_the_end()
        await expect_gone(store, longer, "at the end that the second save gave")
        await expect_gone(store, shorter, "at the shorter end that the second save gave")

    @promised_by("load_and_slide", needs=LoadAndSlide)
    async def test_load_and_slide_gives_the_full_time(self, store: Any, timeline: Timeline) -> None:
        """`load_and_slide` lets the session live `ttl` seconds from the call."""
        session_id, value = new_id(), encoded(store)
        await plant(store, session_id, value, timeline.ttl)
        await timeline.to_the_last_tick()
        await store.load_and_slide(session_id, timeline.ttl)
        await _expect_full_time(store, session_id, timeline)

    @promised_by("load_and_slide", needs=LoadAndSlide)
    async def test_load_and_slide_never_shortens_a_life(
        self, store: Any, timeline: Timeline
    ) -> None:
        """`load_and_slide` leaves a session as it is that lives longer than `ttl` seconds."""
        session_id, value = new_id(), encoded(store)
        await plant(store, session_id, value, 100 * timeline.ttl)
        await store.load_and_slide(session_id, timeline.ttl)
        await timeline.to_the_last_tick()
        await timeline.to_the_end()
        expect(await store.exists(session_id), True, "exists, after the shorter time of the load")

    @promised_by("load_and_slide", needs=LoadAndSlide)
    async def test_load_and_slide_with_0_is_no_access(self, store: Any, timeline: Timeline) -> None:
        """`load_and_slide` with 0 returns the session and leaves its life as it is."""
        session_id, value = new_id(), encoded(store)
        await plant(store, session_id, value, timeline.ttl)
        await timeline.to_the_last_tick()
        expect(await store.load_and_slide(session_id, 0), value, "load_and_slide, with 0")
        expect(await store.exists(session_id), True, "exists, a tick before the end")
        await timeline.to_the_end()
        await expect_gone(store, session_id, "at the end, after a load with 0")

    @promised_by("load_and_slide", needs=LoadAndSlide)
    async def test_load_and_slide_does_not_revive_an_expired_session(
        self, store: Any, timeline: Timeline
    ) -> None:
        """An expired session is absent for `load_and_slide`, and stays so."""
        session_id = new_id()
        await plant(store, session_id, encoded(store), timeline.ttl)
        await timeline.to_the_last_tick()
        await timeline.to_the_end()

        expect(await store.load_and_slide(session_id, 60), None, "load_and_slide, at the end")
        await expect_gone(store, session_id, "after load_and_slide of an expired session")

    @promised_by("create_if_absent", needs=CreateIfAbsent)
    async def test_create_if_absent_gives_the_full_time_and_takes_an_expired_id(
        self, store: Any, timeline: Timeline
    ) -> None:
        """`create_if_absent` lets the session live `ttl` seconds; an expired one is absent."""
        session_id, value = new_id(), encoded(store)
        await store.create_if_absent(session_id, value, timeline.ttl)
        await _expect_full_time(store, session_id, timeline)

        created = await store.create_if_absent(session_id, value, 60)
        expect(created, True, "create_if_absent, the id of an expired session")
        expect(await store.exists(session_id), True, "exists, after that")

    @promised_by("compare_and_swap", needs=CompareAndSwap)
    async def test_compare_and_swap_gives_the_full_time(
        self, store: Any, timeline: Timeline
    ) -> None:
        """`compare_and_swap` lets the session live `ttl` seconds from the call."""
        session_id, value = new_id(), encoded(store)
        await plant(store, session_id, value, timeline.ttl)
        await timeline.to_the_last_tick()
        await store.compare_and_swap(session_id, value, encoded(store, a=1), timeline.ttl)
        await _expect_full_time(store, session_id, timeline)

    @promised_by("compare_and_swap", needs=CompareAndSwap)
    async def test_compare_and_swap_does_not_revive_an_expired_session(
        self, store: Any, timeline: Timeline
    ) -> None:
        """An expired session is absent for `compare_and_swap`, and stays so."""
        session_id, value = new_id(), encoded(store)
        await plant(store, session_id, value, timeline.ttl)
        await timeline.to_the_last_tick()
        await timeline.to_the_end()

        swapped = await store.compare_and_swap(session_id, value, encoded(store, a=1), 60)
        expect(swapped, None, "compare_and_swap, at the end")
        await expect_gone(store, session_id, "after compare_and_swap of an expired session")

    @promised_by("rename", needs=Rename)
    async def test_rename_gives_the_full_time(self, store: Any, timeline: Timeline) -> None:
        """`rename` lets the session live `ttl` seconds from the call, under its new id."""
        former, new, value = new_id(), new_id(), encoded(store)
        await plant(store, former, value, timeline.ttl)
        await timeline.to_the_last_tick()
        await store.rename(former, new, value, value, timeline.ttl)
        await _expect_full_time(store, new, timeline)

    @promised_by("rename", "delete_moved", needs=Rename)
    async def test_rename_does_not_revive_an_expired_session(
        self, store: Any, timeline: Timeline
    ) -> None:
        """An expired session is absent for `rename` and `delete_moved`."""
        former, new, value = new_id(), new_id(), encoded(store)
        await plant(store, former, value, timeline.ttl)
        await timeline.to_the_last_tick()
        await timeline.to_the_end()

        expect(await store.rename(former, new, value, value, 60), None, "rename, at the end")
        await expect_gone(store, new, "the new id of an expired session")
        expect(await store.delete_moved(former), None, "delete_moved, at the end")

    @promised_by("load_and_slide", needs=(Rename, LoadAndSlide))
    async def test_a_load_under_a_former_id_prolongs_nothing(
        self, store: Any, timeline: Timeline
    ) -> None:
        """A load under a former id is no access: the session under the new id ends as before."""
        former, new, value = new_id(), new_id(), encoded(store)
        await plant(store, former, value, timeline.ttl)
        await store.rename(former, new, value, value, timeline.ttl)
        await timeline.to_the_last_tick()
        await store.load_and_slide(former, 100 * timeline.ttl)

        await timeline.to_the_end()
        await expect_gone(store, new, "the new id, at its end")

    @promised_by("rename", "compare_and_swap", "delete_moved", "load_and_slide", needs=Rename)
    async def test_the_way_to_the_new_id_is_remembered_for_its_time(
        self, store: Any, timeline: Timeline
    ) -> None:
        """Latecomers are told `Moved` for `FORWARD_SECONDS`, and nothing from then on."""
        if not timeline.exact:
            pytest.skip(f"waits {FORWARD_SECONDS} s; give the store the fixture clock instead")
        former, new, value = new_id(), new_id(), encoded(store)
        await plant(store, former, value, 3600)
        await store.rename(former, new, value, value, 3600)

        await timeline.move(FORWARD_SECONDS - self.tick)
        expect(await store.delete_moved(former), new, "delete_moved, a tick before the end")
        if isinstance(store, CompareAndSwap):
            late = await store.compare_and_swap(former, value, value, 60)
            expect(late, Moved(new), "compare_and_swap, a tick before the end")
        if isinstance(store, LoadAndSlide):
            found = await store.load_and_slide(former, 3600)
            expect(found, Moved(new), "load_and_slide, a tick before the end")
        await timeline.move(self.tick)
        expect(await store.delete_moved(former), None, "delete_moved, at the end of the way")
        late = await store.rename(former, new_id(), value, value, 60)
        expect(late, None, "rename of the former id, at the end of the way")
        if isinstance(store, LoadAndSlide):
            found = await store.load_and_slide(former, 3600)
            expect(found, None, "load_and_slide, at the end of the way")
        expect(await store.exists(new), True, "exists, the new id")

    @promised_by("load_and_slide", "save", "get")
    async def test_reading_keeps_a_session_alive(self, store: Any, timeline: Timeline) -> None:
        """Requests that only read, each within the idle time of the one before, stay logged in."""
        repository = repository_of(store, ttl=timeline.ttl)
        session_id = await start(repository, user="alice")
        for _ in range(3):
            await timeline.to_the_last_tick()
            session = await request(repository, session_id)
            expect(session.get_attribute("user"), "alice", "attribute, after a pause")

        await timeline.to_the_last_tick()
        await timeline.to_the_end()
        expect(await repository.load(session_id), None, "load, after the idle time")

    @promised_by("compare_and_swap", "get", "save")
    async def test_a_write_after_the_end_does_not_revive_the_session(
        self, store: Any, timeline: Timeline
    ) -> None:
        """A request slower than the idle time finds its session ended, and does not revive it."""
        repository = repository_of(store, ttl=timeline.ttl)
        session_id = await start(repository, user="alice")
        slow = await request(repository, session_id)
        await timeline.to_the_last_tick()
        await timeline.to_the_end()
        slow.set_attribute("x", 1)

        expect(await repository.commit(slow), Outcome.GONE, "commit, after the end")
        await expect_gone(store, session_id, "after the late commit")


async def _expect_full_time(store: Any, session_id: str, timeline: Timeline) -> None:
    await timeline.to_the_last_tick()
    expect(await store.exists(session_id), True, "exists, one tick before the end")
    await timeline.to_the_end()
    await expect_gone(store, session_id, "exactly at the end")
