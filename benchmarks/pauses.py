"""How long one step of the event loop takes at most: nobody else is served meanwhile.

Measured as CPU time, so that other processes on the machine do not count, and without what
the cyclic collector takes, which `benchmarks.memory` shows. Runs on asyncio's own event loop,
whose steps can be watched.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import secrets
import time
from asyncio import events
from collections.abc import Iterator
from typing import Any

from benchmarks import inprocess, work
from benchmarks.client import Site

# Long enough to make all of them before the first one expires.
_LIFETIME = 2


class Steps:
    """The steps that were watched.

    Attributes:
        longest: Milliseconds of the longest.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._collecting = 0.0
        self._began = 0.0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch every step meanwhile."""
        handles: Any = events.Handle
        run = handles._run

        def timed(handle: Any) -> None:
            collecting, began = self._collecting, time.thread_time()
            run(handle)
            seconds = time.thread_time() - began - (self._collecting - collecting)
            self.longest = max(self.longest, seconds * 1e3)

        gc.callbacks.append(self._collector)
        handles._run = timed
        try:
            yield
        finally:
            handles._run = run
            gc.callbacks.remove(self._collector)

    def _collector(self, phase: str, info: Any) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            self._collecting += time.thread_time() - self._began


async def longest_step(site: Site, path: str, size: str, in_flight: int, seconds: float) -> float:
    """Return the milliseconds of the longest step while requests are served."""
    cookies = await inprocess.cookies_for(site, size, in_flight)
    await inprocess.spin(site, path, cookies, in_flight, seconds / 2)
    steps = Steps()
    with steps.watched():
        await inprocess.spin(site, path, cookies, in_flight, seconds)
    return steps.longest


async def longest_while_expiring(site: Site, count: int) -> float:
    """Return the same while so many sessions of ours, in memory, expire."""
    store = site.app.state.session_container.session_store()
    cookie = await site.session()
    data = work.session_data("small")
    for _ in range(count):
        await store.save(secrets.token_hex(16), data, _LIFETIME)
    await asyncio.sleep(_LIFETIME + 0.1)
    steps = Steps()
    with steps.watched():
        # Each request removes some; these are more than enough for all.
        await inprocess.spin(site, "/read", [cookie], 64, 0, limit=max(1_000, count // 50))
    return steps.longest
