"""`Timeline`: takes a test to one tick before a session's end, and to the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

Move = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Timeline:
    """How a test lets the time of a store pass.

    Attributes:
        move: Lets seconds pass.
        ttl: The time to live that tests give a session, in seconds.
        almost: Seconds from a write to the last look at a living session.
        rest: Seconds from there to the first look at an ended one.
        exact: True if time moves as it is told and nothing waits.
    """

    move: Move
    ttl: int
    almost: float
    rest: float
    exact: bool

    async def to_the_last_tick(self) -> None:
        """Go to just before the end of what was written now, to live for ``ttl``."""
        await self.move(self.almost)

    async def to_the_end(self) -> None:
        """Go on from the last tick to the end."""
        await self.move(self.rest)


def moved(move: Move, tick: float) -> Timeline:
    """Return the timeline of a store whose time can be moved."""
    return Timeline(move=move, ttl=60, almost=60 - tick, rest=tick, exact=True)


def waited() -> Timeline:
    """Return the timeline of a store whose time is the wall's: tests wait about a second."""
    return Timeline(move=anyio.sleep, ttl=1, almost=0.6, rest=0.55, exact=False)
