"""Turns among the requests of one process that want to change the same thing."""

from __future__ import annotations

import asyncio
import random
from weakref import WeakValueDictionary


class Turns:
    """A lock for each name, for as long as somebody holds or wants it.

    Whoever changes something by compare-and-swap needs no lock; but where many meet, all but
    one fail each time. In turns they fail only against other processes.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        """Return the lock of this name, for the running event loop."""
        key = (id(asyncio.get_running_loop()), name)
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


async def back_off(attempt: int, seconds: float = 0.001) -> None:
    """Spread out writers that keep meeting each other, each time by so much more."""
    await asyncio.sleep(random.uniform(0, seconds * attempt))  # noqa: S311 - no secret
