"""Timeouts that do not take a busy event loop for a silent server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

# A timer that is late fires before an answer is read that has lain in the socket for long. So a
# time is up when this many timers for parts of it have fired, each a turn of the loop after the
# one before.
_PARTS = 8


class Patience:
    """As `asyncio.timeout`, but time in which the event loop is stuck does not count in full.

    Entered, it gives what to call to have the time begin anew. A class, for a function that names
    itself is garbage that only the collector finds.
    """

    def __init__(self, seconds: float | None) -> None:
        self._part = None if seconds is None else seconds / _PARTS
        self._left = _PARTS
        self._timer: asyncio.TimerHandle | None = None
        self._scope = asyncio.timeout(None)

    async def __aenter__(self) -> Callable[[], None]:
        await self._scope.__aenter__()
        if self._part is not None:
            self._look(self._part)
        return self._begin

    async def __aexit__(self, *error: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._scope.__aexit__(*error)

    def _begin(self) -> None:
        self._left = _PARTS

    def _look(self, part: float) -> None:
        loop = asyncio.get_running_loop()
        if self._left:
            self._left -= 1
            self._timer = loop.call_later(part, self._look, part)
        else:
            self._scope.reschedule(loop.time())


def some_turns_later(callback: Callable[..., object], *arguments: object, turns: int = 4) -> None:
    """Call back when what lies in the sockets by now has been dealt with."""
    if turns:
        again = lambda: some_turns_later(callback, *arguments, turns=turns - 1)  # noqa: E731
        asyncio.get_running_loop().call_soon(again)
    else:
        callback(*arguments)
