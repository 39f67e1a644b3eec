"""Timeouts that do not take a busy event loop for a silent server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

# A timer that is late fires before an answer is read that has lain in the socket for long. So a
# time is up when this many timers for parts of it have fired, each a turn of the loop after the
# one before.
_PARTS = 8


@contextlib.asynccontextmanager
async def patience(seconds: float | None) -> AsyncIterator[Callable[[], None]]:
    """As `asyncio.timeout`, but time in which the event loop is stuck does not count in full.

    Yields:
        What to call to have the time begin anew.
    """
    left = _PARTS
    timers: list[asyncio.TimerHandle] = []

    def begin() -> None:
        nonlocal left
        left = _PARTS

    def look(part: float) -> None:
        nonlocal left
        if left:
            left -= 1
            timers[:] = [loop.call_later(part, look, part)]
        else:
            scope.reschedule(loop.time())

    async with asyncio.timeout(None) as scope:
        loop = asyncio.get_running_loop()
        if seconds is not None:
            look(seconds / _PARTS)
        try:
            yield begin
        finally:
            for timer in timers:
                timer.cancel()


def some_turns_later(callback: Callable[..., object], *arguments: object, turns: int = 4) -> None:
    """Call back when what lies in the sockets by now has been dealt with."""
    if turns:
        again = lambda: some_turns_later(callback, *arguments, turns=turns - 1)  # noqa: E731
        asyncio.get_running_loop().call_soon(again)
    else:
        callback(*arguments)
