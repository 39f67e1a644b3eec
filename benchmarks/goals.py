"""What the sessions should cost at most, and whether they do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.correctness import WRITERS
from benchmarks.figures import BARE, FLOOR, Figures, median
from benchmarks.imports import OURS, THEIRS
from benchmarks.overload import PLAIN

_NAMES = {"memory": "ours-memory", "Redis": "ours-redis"}
_SERVER_CPU = {"load 200 B": 3, "swap 200 B": 6, "load 60 KB": 15, "swap 60 KB": 40}


@dataclass(frozen=True)
class Goal:
    """One bound.

    Attributes:
        number: Of the goal it belongs to.
        what: What is bounded.
        bound: In words.
        measured: In words; empty if it was not measured.
        reached: None if not all of it was measured.
    """

    number: int
    what: str
    bound: str
    measured: str
    reached: bool | None


Values = float | dict[str, float]


def _goal(
    number: int, what: str, bound: float, values: Values, form: str = ".2f", *, least: bool = False
) -> Goal:
    """Compare one value, or some with names; not-a-number was not measured."""
    values = values if isinstance(values, dict) else {"": values}
    known = {name: each for name, each in values.items() if not math.isnan(each)}
    told = ", ".join(f"{name} {each:{form}}".strip() for name, each in known.items())
    fine = all(each >= bound if least else each <= bound for each in known.values())
    sign = "≥" if least else "≤"
    reached = fine if len(known) == len(values) else None
    return Goal(number, what, f"{sign} {bound:g}", told, reached)


def goals(figures: Figures) -> list[Goal]:
    """Return all bounds in their order."""
    parts: list[Callable[[Figures], list[Goal]]] = [
        *(_memory, _redis, _trips, _server, _writers, _overload),
        *(_crowd, _held, _clean, _imported),
    ]
    return [goal for part in parts for goal in part(figures)]


def _memory(figures: Figures) -> list[Goal]:
    def over_floor(column: str) -> float:
        return figures.over_floor("ours-memory", column)

    served = f"µs of server CPU over a floor of {FLOOR:g}"
    direct = f"µs of CPU in process over a bare {BARE:g}"
    bounds = {"R": 14, "W": 24, "N": 30, "R0": 4}
    columns = {"R": "R small", "W": "W small"}
    more = {each: over_floor(f"{each} medium") / over_floor(f"{each} small") for each in "RW"}
    return [
        *(
            _goal(1, f"memory, {k}: {served}", bound, over_floor(columns.get(k, k)), ".1f")
            for k, bound in bounds.items()
        ),
        _goal(1, "memory: what 4 KB add in server CPU, over what 200 B add", 1.3, more),
        *(
            _goal(
                1,
                f"memory, {k}: {direct}",
                bound,
                figures.over_bare("ours-memory", columns.get(k, k)),
                ".1f",
            )
            for k, bound in {"R": 8, "W": 13, "R0": 2.5}.items()
        ),
    ]


def _redis(figures: Figures) -> list[Goal]:
    shares = {"R": 0.58, "W": 0.48}
    times = {"R small": 3.8, "W small": 3, "N": 2, "R large": 8, "W large": 5}
    found = []
    for kind, bound in shares.items():
        share = figures.share("ours-redis", f"{kind} small")
        what = f"Redis, {kind}: throughput as a share of the floor"
        found.append(_goal(2, what, bound, share, least=True))
    for column, bound in times.items():
        share = figures.share("ours-redis", column, "starsessions-redis")
        told = column.replace(" small", "").replace("large", "of 60 KB")
        found.append(_goal(2, f"Redis, {told}: times starsessions", bound, share, least=True))
    return found


def _trips(figures: Figures) -> list[Goal]:
    traffic = figures.results.traffic.get("ours-redis", {})

    def trips(what: str, bound: float, *steps: str) -> Goal:
        values = {each: traffic[each].trips if each in traffic else math.nan for each in steps}
        return _goal(3, f"round trips {what}", bound, values, "g")

    sent = traffic["read large"].sent if traffic else math.nan
    return [
        trips("without a usable cookie", 0, "R0", "malformed"),
        trips("of a request that reads", 1, "read", "read large"),
        trips("of one that writes", 2, "write", "write large"),
        trips("of a new session", 1, "new"),
        trips("of a logout", 2, "logout"),
        _goal(3, "bytes sent by a request that only reads 60 KB", 200, sent, ".0f"),
    ]


def _server(figures: Figures) -> list[Goal]:
    return [
        _goal(
            3,
            f"µs of the Redis server's CPU, {what}, where a plain GETEX takes"
            f" {PLAIN[what.partition(' ')[2]]:g}",
            _SERVER_CPU[what],
            each,
            ".1f",
        )
        for what, each in figures.results.server_cpu.items()
    ]


def _writers(figures: Figures) -> list[Goal]:
    found = []
    for kind, meetings in figures.results.met.items():
        what = f"{WRITERS} writers of one session, {kind}"
        cpu = f"µs of CPU each, where a bare read takes {BARE:g}"
        for part, told, bound in (("swaps", "swaps", 4), ("cpu", cpu, 100), ("lost", "lost", 0)):
            value = median(getattr(each, part) for each in meetings)
            found.append(_goal(4, f"{what}: {told}", bound, value, ".0f"))
    return found


def _overload(figures: Figures) -> list[Goal]:
    met = figures.results.overload
    if met is None:
        return []
    what = "under 1.5 times of it, served of what can be"
    return [
        _goal(5, what, 0.8, met.share, least=True),
        _goal(5, "longest wait at a deadline of 2 s, s", 2.2, met.slowest),
        _goal(5, "seconds until all is served again", 2, met.recovered),
    ]


def _crowd(figures: Figures) -> list[Goal]:
    failed, connections = figures.results.crowd.get("ours-redis", (math.nan, math.nan))
    count = f"{figures.results.plan.crowd:,}"
    return [
        _goal(6, f"of {count} requests at once, turned away", 0, failed, ".0f"),
        _goal(6, "connections that they used", 10, connections, ".0f"),
    ]


def _held(figures: Figures) -> list[Goal]:
    results = figures.results
    held = results.held.get("ours-memory")
    counts = sorted(results.growth) or [0]

    def cpu(count: int, column: str) -> float:
        return median(each.cpu for each in results.growth.get(count, {}).get(column, []))

    what = f"CPU time of a request with {counts[-1]:,} sessions over that with {counts[0]:,}"
    grown = {k: cpu(counts[-1], f"{k} small") / cpu(counts[0], f"{k} small") for k in "RW"}
    freed = results.freed.get("ours-memory", math.nan)
    size = held.bytes if held else math.nan
    followed = round(held.objects, 2) if held else math.nan
    return [
        _goal(7, f"bytes of memory for each of {results.plan.held:,} sessions", 500, size, ".0f"),
        _goal(7, "objects of a session that the collector follows", 0, followed),
        # Turns differ by as much.
        _goal(7, what, 1.1, grown),
        _goal(7, "share of memory that is free again when all expired", 0.99, freed, least=True),
    ]


def _clean(figures: Figures) -> list[Goal]:
    results, unknown = figures.results, {"": math.nan}
    cycles = {
        label: max(results.garbage.get(name, unknown).values()) for label, name in _NAMES.items()
    }
    steps = {
        f"{label}{path}": results.steps.get(name, {}).get(path, math.nan)
        for label, name in _NAMES.items()
        for path in ("/read", "/write")
    }
    expiring = results.steps.get("ours-memory", {}).get("expiring", math.nan)
    count = f"{results.plan.expiring:,}"
    return [
        _goal(8, "objects of a request that only the collector frees", 0, cycles, "g"),
        _goal(8, "longest step of the event loop with 60 KB, ms", 2, steps, ".1f"),
        _goal(8, f"the same while {count} sessions expire, ms", 2, expiring, ".1f"),
    ]


def _imported(figures: Figures) -> list[Goal]:
    times = figures.results.imported
    ratio = median(a / b for a, b in zip(times[OURS], times[THEIRS], strict=True))
    return [_goal(9, f"import {OURS}, over import {THEIRS}", 1.3, ratio)]
