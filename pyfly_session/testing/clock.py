"""`Clock`: a time that stands still until a test moves it."""

from __future__ import annotations


class Clock:
    """Seconds that only a test moves. Call it for the time, as ``time.time`` is called.

    Owned by one test; not shared between threads that move it.

    Args:
        now: Where it stands at first, Unix time in seconds.

    Attributes:
        now: Where it stands; reading this does not count as use.
        used: True once somebody asked it for the time by calling it.
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.used = False

    def __call__(self) -> float:
        """Return the time."""
        self.used = True
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the time forward."""
        self.now += seconds
