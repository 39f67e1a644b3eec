"""What sessions in memory hold, how the collector sees them, and whether they go."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

from benchmarks import inprocess
from benchmarks.client import Site

LIFETIME = 2
"""Seconds that sessions live where they are to expire; some know no shorter time."""


@dataclass(frozen=True)
class Held:
    """What many small sessions cost.

    Attributes:
        bytes: For each session, with its share of the dictionary around it.
        objects: For each session, as far as the cyclic collector follows them.
        pause: Milliseconds of a full collection with all of them.
        pause_before: Without them.
    """

    bytes: float
    objects: float
    pause: float
    pause_before: float


async def held(site: Site, count: int) -> Held:
    """Make so many new sessions, by requests, and weigh them."""
    await inprocess.spin(site, "/new", [None], 1, 0, limit=200)
    pause_before = _pause()
    objects, before = len(gc.get_objects()), _resident()
    await inprocess.spin(site, "/new", [None], 1, 0, limit=count)
    gc.collect()
    more, after = len(gc.get_objects()) - objects, _resident()
    return Held((after - before) / count, more / count, _pause(), pause_before)


def _resident() -> int:
    """Return the bytes of memory that the process has; to trace each one takes too long."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _pause() -> float:
    """Return the milliseconds of a full collection, the best of some."""
    times = []
    for _ in range(3):
        began = time.thread_time()
        gc.collect()
        times.append((time.thread_time() - began) * 1e3)
    return min(times)


async def fill(site: Site, count: int, keep: int) -> list[str]:
    """Make so many new sessions, and return the cookies of some of them, from all over."""
    kept = []
    for number in range(count):
        if number % max(1, count // keep):
            await site.ask("/new")
        else:
            kept.append(await site.session())
    random.shuffle(kept)
    return kept


async def freed_after_expiry(site: Site, count: int) -> float:
    """Return the share of memory that is free when all sessions have expired.

    Nobody asks for them: what comes then are requests of one other session, which is gone too.
    """
    await inprocess.spin(site, "/new", [None], 1, 0, limit=50)
    cookie = await site.session()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    await inprocess.spin(site, "/new", [None], 1, 0, limit=count)
    gc.collect()
    full = tracemalloc.get_traced_memory()[0]
    await asyncio.sleep(LIFETIME + 0.2)
    await inprocess.spin(site, "/read", [cookie], 1, 0, limit=200)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    # The first ones went too.
    return min(1.0, (full - after) / (full - before))
