"""How much is measured: quick, full, or a smoke test's worth; and what came out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contestants import Roster
from benchmarks.correctness import Kept, Met
from benchmarks.counting import Traffic
from benchmarks.generator import Burst
from benchmarks.inprocess import Round
from benchmarks.memory import Held
from benchmarks.overload import Overload

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
    "R small": "everybody",
    "W small": "everybody",
    "R0": "Starlette",
    "R medium": "Starlette",
    "W medium": "Starlette",
}
"""What is called directly, and on whom: other frameworks only to see what their sessions add."""


@dataclass(frozen=True)
class Plan:
    """How often and how long.

    Attributes:
        rounds: Times that each contestant has its turn, in process.
        seconds: Length of a turn.
        served_rounds: Turns through uvicorn.
        served_seconds: Length of those.
        requests: Requests of each kind that are counted on the way to Redis.
        races: Times that requests meet in one session.
        meetings: Times that many write to one session at once.
        imports: Times that the package is imported.
        crowd: Requests at once.
        held: Sessions in memory that are weighed, of ours.
        held_others: Of the others, which take longer to make.
        growth: Numbers of sessions whose cost is compared.
        expiring: Sessions that expire while steps are watched.
        step_seconds: How long steps are watched with large sessions.
        store_seconds: How long the store alone loads, and swaps; overload lasts twice as long.
    """

    rounds: int = 5
    seconds: float = 0.04
    served_rounds: int = 3
    served_seconds: float = 0.1
    requests: int = 5
    races: int = 10
    meetings: int = 15
    imports: int = 11
    crowd: int = 1_000
    held: int = 100_000
    held_others: int = 20_000
    growth: tuple[int, ...] = (1_000, 50_000)
    expiring: int = 100_000
    step_seconds: float = 0.3
    store_seconds: float = 4.0
    connections: int = 64


QUICK = Plan()
FULL = Plan(
    rounds=15,
    seconds=0.1,
    served_rounds=7,
    served_seconds=0.5,
    requests=50,
    races=100,
    meetings=50,
    imports=25,
    held_others=100_000,
    growth=(1_000, 10_000, 100_000, 1_000_000),
    step_seconds=2.0,
)
SMOKE = Plan(
    rounds=1,
    seconds=0.01,
    served_rounds=1,
    served_seconds=0.02,
    requests=3,
    races=1,
    meetings=1,
    imports=1,
    crowd=150,
    held=500,
    held_others=500,
    growth=(100, 500),
    expiring=2_000,
    step_seconds=0.02,
    store_seconds=2.0,
    connections=4,
)


@dataclass
class Results:
    """Everything that was measured, by the name of the contestant.

    Attributes:
        served: Bursts of each column.
        inprocess: Rounds of each column, 64 at a time.
        met: For each kind of writers, what it took that they met.
        imported: Milliseconds of each import of a module.
        growth: For each number of sessions, rounds of each column.
        crowd: Requests that were turned away, and connections that were made for all.
        server_cpu: Microseconds of the Redis server's CPU for each thing that the store does.
        overload: What more requests come to than a slow server can carry.
        capacity: Requests a second that the load generator can send.
        load: How many processes wanted to run when it began.
        partial: Whether only some parts or contestants were wanted.
    """

    plan: Plan
    roster: Roster
    versions: dict[str, str]
    served: dict[str, dict[str, list[Burst]]] = field(default_factory=dict)
    inprocess: dict[str, dict[str, list[Round]]] = field(default_factory=dict)
    traffic: dict[str, dict[str, Traffic]] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    freed: dict[str, float] = field(default_factory=dict)
    met: dict[str, list[Met]] = field(default_factory=dict)
    imported: dict[str, list[float]] = field(default_factory=dict)
    growth: dict[int, dict[str, list[Round]]] = field(default_factory=dict)
    steps: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    kept: dict[str, Kept] = field(default_factory=dict)
    crowd: dict[str, tuple[int, int]] = field(default_factory=dict)
    server_cpu: dict[str, float] = field(default_factory=dict)
    overload: Overload | None = None
    garbage: dict[str, dict[str, float]] = field(default_factory=dict)
    capacity: float = 0.0
    load: float = 0.0
    partial: bool = False
    notes: list[str] = field(default_factory=list)

    def turn(self, where: dict[str, dict[str, list[Any]]], name: str, column: str) -> list[Any]:
        """Return the list of a contestant's turns, to add to."""
        return where.setdefault(name, {}).setdefault(column, [])
