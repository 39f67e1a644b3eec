"""What the sessions should cost at most, and whether they do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.correctness import WRITERS
from benchmarks.figures import BARE, FLOOR, Figures, median
from benchmarks.imports import OURS, THEIRS

_NAMES = {"memory": "ours-memory", "Redis": "ours-redis"}
_HANDFUL = 10
_PARTS = {
    "swaps": "swaps",
    "cpu": f"µs of CPU each, where a bare read takes {BARE:g}",
    "lost": "lost",
}
_SERVER_CPU = {"load 200 B": 3, "swap 200 B": 6, "load 60 KB": 15, "swap 60 KB": 40}
_NOISE = 1.1
"""How much more a request may seem to cost with more sessions: turns differ by as much."""


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


def goals(figures: Figures) -> list[Goal]:
    """Return all bounds in their order."""
    parts = (
        _memory,
        _redis,
        _trips,
        _server,
        _writers,
        _overload,
        _crowd,
        _held,
        _clean,
        _imported,
    )
    return [goal for part in parts for goal in part(figures)]


def _at_most(
    number: int, what: str, bound: float, values: dict[str, float], form: str = ".2f"
) -> Goal:
    return _compared(number, what, f"≤ {bound:g}", values, lambda each: each <= bound, form)


def _at_least(
    number: int, what: str, bound: float, values: dict[str, float], form: str = ".2f"
) -> Goal:
    return _compared(number, what, f"≥ {bound:g}", values, lambda each: each >= bound, form)


def _compared(
    number: int,
    what: str,
    bound: str,
    values: dict[str, float],
    fine: Callable[[float], bool],
    form: str,
) -> Goal:
    known = {name: each for name, each in values.items() if not math.isnan(each)}
    told = ", ".join(f"{name} {each:{form}}".strip() for name, each in known.items())
    reached = all(map(fine, known.values())) if len(known) == len(values) else None
    return Goal(number, what, bound, told, reached)


def _memory(figures: Figures) -> list[Goal]:
    def over_floor(column: str) -> float:
        return figures.over_floor("ours-memory", column)

    def over_bare(column: str) -> float:
        return figures.over_bare("ours-memory", column)

    served = f"µs of server CPU over a floor of {FLOOR:g}"
    direct = f"µs of CPU in process over a bare {BARE:g}"
    return [
        _at_most(1, f"memory, R: {served}", 14, {"": over_floor("R small")}, ".1f"),
        _at_most(1, f"memory, W: {served}", 24, {"": over_floor("W small")}, ".1f"),
        _at_most(1, f"memory, N: {served}", 30, {"": over_floor("N")}, ".1f"),
        _at_most(1, f"memory, R0: {served}", 4, {"": over_floor("R0")}, ".1f"),
        _at_most(
            1,
            "memory: what 4 KB add in server CPU, over what 200 B add",
            1.3,
            {each: over_floor(f"{each} medium") / over_floor(f"{each} small") for each in "RW"},
        ),
        _at_most(1, f"memory, R: {direct}", 8, {"": over_bare("R small")}, ".1f"),
        _at_most(1, f"memory, W: {direct}", 13, {"": over_bare("W small")}, ".1f"),
        _at_most(1, f"memory, R0: {direct}", 2.5, {"": over_bare("R0")}, ".1f"),
    ]


def _redis(figures: Figures) -> list[Goal]:
    def share(column: str) -> dict[str, float]:
        return {"": figures.share("ours-redis", column)}

    def times(column: str) -> dict[str, float]:
        return {"": figures.share("ours-redis", column, "starsessions-redis")}

    floor, other = "throughput as a share of the floor", "times starsessions"
    return [
        _at_least(2, f"Redis, R: {floor}", 0.58, share("R small")),
        _at_least(2, f"Redis, W: {floor}", 0.48, share("W small")),
        _at_least(2, f"Redis, R: {other}", 3.8, times("R small")),
        _at_least(2, f"Redis, W: {other}", 3, times("W small")),
        _at_least(2, f"Redis, N: {other}", 2, times("N")),
        _at_least(2, f"Redis, R of 60 KB: {other}", 8, times("R large")),
        _at_least(2, f"Redis, W of 60 KB: {other}", 5, times("W large")),
    ]


def _trips(figures: Figures) -> list[Goal]:
    traffic = figures.results.traffic.get("ours-redis", {})

    def trips(*steps: str) -> dict[str, float]:
        return {each: traffic[each].trips if each in traffic else math.nan for each in steps}

    read = traffic.get("read large")
    return [
        _at_most(3, "round trips without a usable cookie", 0, trips("R0", "malformed"), "g"),
        _at_most(3, "round trips of a request that reads", 1, trips("read", "read large"), "g"),
        _at_most(3, "round trips of one that writes", 2, trips("write", "write large"), "g"),
        _at_most(3, "round trips of a new session", 1, trips("new"), "g"),
        _at_most(3, "round trips of a logout", 2, trips("logout"), "g"),
        _at_most(
            3,
            "bytes sent by a request that only reads 60 KB",
            200,
            {"": read.sent if read else math.nan},
            ".0f",
        ),
    ]


def _server(figures: Figures) -> list[Goal]:
    return [
        _at_most(3, f"µs of the Redis server's CPU, {what}", _SERVER_CPU[what], {"": each}, ".1f")
        for what, each in figures.results.server_cpu.items()
    ]


def _overload(figures: Figures) -> list[Goal]:
    met = figures.results.overload
    if met is None:
        return []
    return [
        _at_least(5, "under 1.5 times of it, served of what can be", 0.8, {"": met.share}),
        _at_most(5, "longest wait at a deadline of 2 s, s", 2.2, {"": met.slowest}),
        _at_most(5, "seconds until all is served again", 2, {"": met.recovered}),
    ]


def _writers(figures: Figures) -> list[Goal]:
    found = []
    for kind, meetings in figures.results.met.items():
        what = f"{WRITERS} writers of one session, {kind}"
        if not meetings:
            found.append(Goal(4, what, "", "skipped: sessions have no update_attribute", None))
            continue
        for part, bound, form in (("swaps", 4, "g"), ("cpu", 100, ".0f"), ("lost", 0, "g")):
            value = median(getattr(each, part) for each in meetings)
            found.append(_at_most(4, f"{what}: {_PARTS[part]}", bound, {"": value}, form))
    return found


def _crowd(figures: Figures) -> list[Goal]:
    failed, connections = figures.results.crowd.get("ours-redis", (math.nan, math.nan))
    count = f"{figures.results.plan.crowd:,}"
    return [
        _at_most(6, f"of {count} requests at once, turned away", 0, {"": failed}, ".0f"),
        _at_most(6, "connections that they used", _HANDFUL, {"": connections}, ".0f"),
    ]


def _held(figures: Figures) -> list[Goal]:
    results = figures.results
    held = results.held.get("ours-memory")
    counts = sorted(results.growth)
    few, many = (counts[0], counts[-1]) if counts else (0, 0)

    def cpu(count: int, column: str) -> float:
        return median(each.cpu for each in results.growth.get(count, {}).get(column, []))

    return [
        _at_most(
            7,
            f"bytes of memory for each of {results.plan.held:,} small sessions",
            500,
            {"": held.bytes if held else math.nan},
            ".0f",
        ),
        _at_most(
            7,
            "objects of a session that the collector follows",
            0,
            {"": round(held.objects, 2) if held else math.nan},
        ),
        _at_most(
            7,
            f"CPU time of a request with {many:,} sessions over that with {few:,}",
            _NOISE,
            {each: cpu(many, f"{each} small") / cpu(few, f"{each} small") for each in "RW"},
        ),
        _at_least(
            7,
            "share of memory that is free again when all have expired",
            0.99,
            {"": results.freed.get("ours-memory", math.nan)},
        ),
    ]


def _clean(figures: Figures) -> list[Goal]:
    results = figures.results
    cycles = {
        label: max(results.garbage.get(name, {"": math.nan}).values())
        for label, name in _NAMES.items()
    }
    steps = {
        f"{label}{path}": results.steps.get(name, {}).get(path, math.nan)
        for label, name in _NAMES.items()
        for path in ("/read", "/write")
    }
    expiring = results.steps.get("ours-memory", {}).get("expiring", math.nan)
    expired = f"{results.plan.expiring:,}"
    return [
        _at_most(8, "objects of a request that only the collector frees", 0, cycles, "g"),
        _at_most(8, "longest step of the event loop with 60 KB, ms", 2, steps, ".1f"),
        _at_most(8, f"the same while {expired} sessions expire, ms", 2, {"": expiring}, ".1f"),
    ]


def _imported(figures: Figures) -> list[Goal]:
    times = figures.results.imported
    ratio = median(a / b for a, b in zip(times.get(OURS, []), times.get(THEIRS, []), strict=True))
    return [_at_most(9, f"import {OURS}, over import {THEIRS}", 1.3, {"": ratio})]
