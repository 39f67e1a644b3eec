"""What the sessions should cost at most, and whether they do: seven goals, some in parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.figures import Figures, median

_SMALL_AND_MEDIUM = ("R small", "W small", "N", "R medium", "W medium")
_OTHERS = ("starsessions-redis", "litestar-redis")
_HANDFUL = 10
_NOISE = 1.1
"""How much more a request may seem to cost with more sessions: turns differ by as much."""


@dataclass(frozen=True)
class Goal:
    """One bound.

    Attributes:
        number: Of the goal it belongs to.
        what: What is bounded.
        bound: In words.
        measured: In words.
        reached: None if it was not measured.
    """

    number: int
    what: str
    bound: str
    measured: str
    reached: bool | None


def goals(figures: Figures) -> list[Goal]:
    """Return all bounds in their order."""
    parts = (_memory, _redis, _trips, _untouched, _crowd, _held, _clean)
    return [goal for part in parts for goal in part(figures)]


def _at_most(
    number: int,
    what: str,
    bound: float,
    values: dict[str, float],
    form: str = ".2f",
    unit: str = "",
) -> Goal:
    return _compared(number, what, f"≤ {bound:g}{unit}", values, lambda each: each <= bound, form)


def _at_least(
    number: int,
    what: str,
    bound: float,
    values: dict[str, float],
    form: str = ".2f",
    unit: str = "",
) -> Goal:
    return _compared(number, what, f"≥ {bound:g}{unit}", values, lambda each: each >= bound, form)


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
    if len(known) < len(values) or not known:
        return Goal(number, what, bound, told or "not measured", None)
    return Goal(number, what, bound, told, all(map(fine, known.values())))


def _not_measured(number: int, what: str, bound: str) -> Goal:
    return Goal(number, what, bound, "not measured: it is not on the package index", None)


def _each(columns: Iterable[str], figure: Callable[[str], float]) -> dict[str, float]:
    return {column.removesuffix(" small"): figure(column) for column in columns}


def _memory(figures: Figures) -> list[Goal]:
    ours, other, small = "ours-memory", "starsessions-memory", ("R small", "W small")

    def cost(column: str) -> float:
        return figures.cost(ours, column)

    return [
        _at_most(1, "memory: µs that a session adds in process", 6, _each(small, cost), ".1f"),
        _at_most(
            1,
            "memory: that, as a share of what starsessions adds",
            0.25,
            _each(small, lambda column: cost(column) / figures.cost(other, column)),
        ),
        _at_most(
            1,
            "memory: what 4 KB add, over what 200 B add",
            1.3,
            {each: cost(f"{each} medium") / cost(f"{each} small") for each in "RW"},
        ),
        _at_least(
            1,
            "memory: throughput as a share of bare",
            0.8,
            _each(small, lambda column: figures.share(ours, column)),
        ),
    ]


def _redis(figures: Figures) -> list[Goal]:
    ours = "ours-redis"

    def times(columns: tuple[str, ...]) -> dict[str, float]:
        found = {}
        for column in columns:
            shares = [figures.share(ours, column, other) for other in _OTHERS]
            found[column] = math.nan if any(map(math.isnan, shares)) else min(shares)
        return found

    better = "Redis: times the better of starsessions and litestar"
    return [
        _at_least(2, "Redis, R small: share of bare", 0.5, {"": figures.share(ours, "R small")}),
        _at_least(2, "Redis, W small: share of bare", 0.4, {"": figures.share(ours, "W small")}),
        _at_least(2, f"{better}, small and medium", 3, times(_SMALL_AND_MEDIUM), ".1f"),
        _at_least(2, f"{better}, R large", 8, times(("R large",)), ".1f"),
        _at_least(2, f"{better}, W large", 5, times(("W large",)), ".1f"),
        _not_measured(2, "Redis: times the original, small and medium", "≥ 2.2"),
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


def _untouched(figures: Figures) -> list[Goal]:
    names = {"memory": "ours-memory", "Redis": "ours-redis"}

    def slower(name: str) -> float:
        return figures.microseconds(name, "R0") / figures.microseconds("bare", "R0")

    return [
        _at_most(
            4,
            "no cookie, session not touched: CPU time over bare, in process",
            1.2,
            {label: slower(name) for label, name in names.items()},
        ),
        _at_least(
            4,
            "no cookie, session not touched: throughput as a share of bare",
            0.95,
            {label: figures.share(name, "R0") for label, name in names.items()},
        ),
    ]


def _crowd(figures: Figures) -> list[Goal]:
    failed, connections = figures.results.crowd.get("ours-redis", (math.nan, math.nan))
    count = f"{figures.results.plan.crowd:,}"
    return [
        _at_most(5, f"of {count} requests at once, turned away", 0, {"": failed}, ".0f"),
        _at_most(5, "connections that they used", _HANDFUL, {"": connections}, ".0f"),
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
            6,
            f"bytes of memory for each of {results.plan.held:,} small sessions",
            500,
            {"": held.bytes if held else math.nan},
            ".0f",
        ),
        _at_most(
            6,
            "objects of a session that the collector follows",
            0,
            {"": round(held.objects, 2) if held else math.nan},
        ),
        _at_most(
            6,
            f"CPU time of a request with {many:,} sessions over that with {few:,}",
            _NOISE,
            _each(("R small", "W small"), lambda column: cpu(many, column) / cpu(few, column)),
        ),
        _at_least(
            6,
            "share of memory that is free again when all have expired",
            0.99,
            {"": results.freed.get("ours-memory", math.nan)},
        ),
    ]


def _clean(figures: Figures) -> list[Goal]:
    results = figures.results
    names = {"memory": "ours-memory", "Redis": "ours-redis"}
    cycles = {
        label: max(results.garbage.get(name, {"": math.nan}).values())
        for label, name in names.items()
    }
    steps = {
        f"{label}{path}": results.steps.get(name, {}).get(path, math.nan)
        for label, name in names.items()
        for path in ("/read", "/write")
    }
    expiring = results.steps.get("ours-memory", {}).get("expiring", math.nan)
    expired = f"{results.plan.expiring:,}"
    return [
        _at_most(7, "objects of a request that only the collector frees", 0, cycles, "g"),
        _at_most(7, "longest step of the event loop with 60 KB, ms", 2, steps, ".1f"),
        _at_most(7, f"the same while {expired} sessions expire, ms", 2, {"": expiring}, ".1f"),
    ]
