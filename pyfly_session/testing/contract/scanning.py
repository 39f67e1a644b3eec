"""The promises of `ScanSessions`: every session is told, and nothing but sessions."""

from __future__ import annotations

import asyncio
from typing import Any

from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.ids import new_id, record_id
from pyfly_session.ports import SCAN_HEAD, SCAN_STEP, Scanned, ScanSessions
from pyfly_session.testing.contract.reporting import BrokenPromiseError, expect, promised_by
from pyfly_session.testing.contract.sessions import encoded, expect_gone, plant
from pyfly_session.testing.contract.store_fixtures import StoreHooks
from pyfly_session.testing.contract.time_travel import Timeline


async def _scanned(store: Any) -> dict[str, Scanned]:
    return {each.session_id: each async for step in store.scan_sessions() for each in step}


class Scanning(StoreHooks):
    """What a store promises that can show which sessions it has."""

    @promised_by("scan_sessions", needs=ScanSessions)
    async def test_a_scan_tells_of_each_session_what_it_is(self, store: Any) -> None:
        """A scan gives id, front, size and time left of each session, and of nothing else."""
        small, large = encoded(store, a=1), encoded(store, a="x" * 2 * SCAN_HEAD)
        planted = {new_id(): small, new_id(): large}
        for session_id, value in planted.items():
            await plant(store, session_id, value, 60)
        await store.save(record_id("kind", new_id()), {"a": 1}, 60)
        former, renamed = new_id(), new_id()
        await plant(store, former, small, 60)
        await CapableStore(store).rename(former, renamed, small, large, 60)
        planted[renamed] = large

        found = await _scanned(store)
        expect(sorted(found), sorted(planted), "the ids of a scan")
        for session_id, value in planted.items():
            told = found[session_id]
            expect(bytes(told.head), value[:SCAN_HEAD], "the front of a session, in a scan")
            expect(told.size, len(value), "the size of a session, in a scan")
            expect(50 < told.seconds_left <= 60, True, f"the time left, {told.seconds_left!r}")

    @promised_by("scan_sessions", needs=ScanSessions)
    async def test_a_scan_goes_on_in_short_steps_while_others_write(self, store: Any) -> None:
        """A scan gives, in short steps, every session that is there all the time."""
        value, capable = encoded(store, a=1), CapableStore(store)
        everybody = [new_id() for _ in range(2 * SCAN_STEP)]
        await asyncio.gather(*(plant(store, each, value) for each in everybody))
        staying, leaving = {*everybody[::2]}, everybody[1::2]
        found: set[str] = set()
        async for step in store.scan_sessions():
            expect(len(step) <= SCAN_STEP, True, f"a step of {len(step)} sessions is short")
            found.update(each.session_id for each in step)
            # Some are used, and stand elsewhere in many a backend then; some go, some come.
            used = [*(staying - found)][:50]
            await asyncio.gather(*(capable.load_and_slide(each, 90) for each in used))
            for each in leaving[:20]:
                await store.delete(each)
            del leaving[:20]
            await plant(store, new_id(), value)
        if missing := staying - found:
            raise BrokenPromiseError(f"{len(missing)} of {len(staying)} sessions were not given")

    @promised_by("scan_sessions", needs=ScanSessions)
    async def test_to_be_scanned_is_no_access(self, store: Any, timeline: Timeline) -> None:
        """A scan extends no life, and gives no session whose time is over."""
        session_id = new_id()
        await store.save(session_id, {"a": 1}, timeline.ttl)
        await timeline.to_the_last_tick()
        expect([*await _scanned(store)], [session_id], "a scan one tick before its end")
        await timeline.to_the_end()
        expect([*await _scanned(store)], [], "a scan exactly at its end")
        await expect_gone(store, session_id, "a session that was scanned, at its end")
