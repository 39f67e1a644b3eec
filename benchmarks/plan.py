"""How much is measured: for a smoke test, quickly, in full; and what came out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from benchmarks.contestants import Roster

COLUMNS: dict[str, tuple[str, str | None]] = {
    "R0": ("/untouched", None),
    "R small": ("/read", "small"),
    "W small": ("/write", "small"),
    "N": ("/new", None),
    "R medium": ("/read", "medium"),
    "W medium": ("/write", "medium"),
    "R large": ("/read", "large"),
    "W large": ("/write", "large"),
}
"""What requests do: the path, and the size of the session that they bring."""

IN_PROCESS = {
    "R small": True,
    "W small": True,
    "R0": False,
    "R medium": False,
    "W medium": False,
}
"""What is called directly, and whether on other frameworks, too, to see what their sessions add."""

SMOKE, QUICK, FULL = range(3)
_AMOUNTS: dict[str, tuple[Any, Any, Any]] = {
    # Turns of each contestant in process, and the length of one; and through uvicorn.
    "rounds": (1, 5, 15),
    "seconds": (0.01, 0.04, 0.1),
    "served_rounds": (1, 3, 7),
    "served_seconds": (0.02, 0.1, 0.5),
    "connections": (4, 64, 64),
    # Requests of each kind that are counted on the way to Redis.
    "requests": (3, 5, 50),
    # Times that requests meet in one session, that many write to one, that the package is imported.
    "races": (1, 10, 100),
    "meetings": (1, 15, 50),
    "imports": (1, 11, 25),
    # Requests at once.
    "crowd": (150, 1_000, 1_000),
    # Sessions in memory that are weighed, of ours, and of others, which take longer to make.
    "held": (500, 100_000, 100_000),
    "held_others": (500, 20_000, 100_000),
    # Numbers of sessions whose cost is compared.
    "growth": ((100, 500), (1_000, 50_000), (1_000, 10_000, 100_000, 1_000_000)),
    # Sessions that expire while steps are watched, and how long steps of large ones are watched.
    "expiring": (2_000, 100_000, 100_000),
    "step_seconds": (0.02, 0.3, 2.0),
    # How long the store alone loads, and swaps; how long it is warmed up before the overload, and
    # how long that lasts.
    "store_seconds": (0.2, 4.0, 4.0),
    "warm_up_seconds": (0.5, 3, 3),
    "overload_seconds": (3, 8, 8),
}


def amounts(length: int, **others: Any) -> SimpleNamespace:
    """Return how much is measured: `SMOKE`, `QUICK` or `FULL`, with some of it otherwise."""
    return SimpleNamespace(**{name: each[length] for name, each in _AMOUNTS.items()} | others)


def _turns() -> Any:
    return defaultdict(lambda: defaultdict(list))


@dataclass
class Results:
    """Everything that was measured, by the name of the contestant.

    Attributes:
        plan: How much.
        partial: Whether only some parts or contestants were wanted.
        served: Bursts of each column.
        inprocess: Rounds of each column.
        growth: The same for each number of sessions.
        met: For each kind of writers, what it took that they met.
        imported: Milliseconds of each import of a module.
        crowd: Requests that were turned away, and connections that were made for all.
        server_cpu: Microseconds of the Redis server's CPU for each thing that the store does.
        overload: What more requests come to than a slow server can carry.
        capacity: Requests a second that the load generator can send.
        load: How many processes wanted to run when it began.
        notes: What could not be measured.
    """

    plan: SimpleNamespace
    roster: Roster
    versions: dict[str, str]
    partial: bool
    served: Any = field(default_factory=_turns)
    inprocess: Any = field(default_factory=_turns)
    growth: Any = field(default_factory=_turns)
    met: dict[str, list[Any]] = field(default_factory=dict)
    imported: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    traffic: dict[str, Any] = field(default_factory=dict)
    held: dict[str, Any] = field(default_factory=dict)
    freed: dict[str, float] = field(default_factory=dict)
    steps: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    kept: dict[str, Any] = field(default_factory=dict)
    crowd: dict[str, tuple[int, int]] = field(default_factory=dict)
    garbage: dict[str, dict[str, float]] = field(default_factory=dict)
    server_cpu: dict[str, float] = field(default_factory=dict)
    overload: Any = None
    capacity: float = 0.0
    load: float = 0.0
    notes: list[str] = field(default_factory=list)
