"""From rounds to figures: medians, spreads, ratios, costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from benchmarks.contestants import BY_NAME
from benchmarks.plan import Results

FLOOR, BARE = 43.0, 10.0
"""Microseconds of CPU of a request on the floor, and of a bare read in process, on the machine
where the goals were set. Measured values are scaled to these before they are compared."""


def median(values: Iterable[float]) -> float:
    """Return the median, or not-a-number if there is nothing."""
    found = list(values)
    return statistics.median(found) if found else math.nan


def spread(values: Iterable[float]) -> float:
    """Return half the distance between the quartiles, as a share of the median."""
    found = list(values)
    if len(found) < 2:
        return 0.0 if found else math.nan
    low, middle, high = statistics.quantiles(found, method="inclusive")
    return (high - low) / 2 / middle


class Turns:
    """The rounds of one kind of measurement.

    Contestants are compared turn by turn, because a disturbance hits neighbouring turns alike.

    Args:
        rounds: By contestant and column.
    """

    def __init__(self, rounds: Mapping[str, Mapping[str, list[Any]]]) -> None:
        self._rounds = rounds

    def values(self, name: str, column: str, of: str = "cpu") -> list[float]:
        """Return a contestant's values of one kind."""
        return [getattr(each, of) for each in self._rounds.get(name, {}).get(column, [])]

    def median(self, name: str, column: str, of: str = "cpu") -> float:
        """Return their median."""
        return median(self.values(name, column, of))

    def more(self, name: str, column: str, than: str) -> float:
        """Return the median of the microseconds that it takes more than another, turn by turn."""
        return self._compared(name, column, than, "cpu", lambda mine, its: mine - its)

    def times(self, name: str, column: str, than: str, of: str = "cpu") -> float:
        """Return the median of the ratio to another."""
        return self._compared(name, column, than, of, lambda mine, its: mine / its)

    def _compared(
        self, name: str, column: str, than: str, of: str, how: Callable[[float, float], float]
    ) -> float:
        pairs = zip(self.values(name, column, of), self.values(than, column, of), strict=False)
        return median(how(*pair) for pair in pairs)


class Figures:
    """What the table, the goals and the picture are made of. Not-a-number: not measured.

    Attributes:
        served: The turns through uvicorn.
        inprocess: Those in process.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self.served = Turns(results.served)
        self.inprocess = Turns(results.inprocess)

    def share(self, name: str, column: str, other: str = "floor") -> float:
        """Return the throughput as a share of another one's."""
        return self.served.times(name, column, other, "rate")

    def over_floor(self, name: str, column: str) -> float:
        """Return the microseconds of server CPU over the floor, where that takes `FLOOR`."""
        return (self.served.times(name, column, "floor") - 1) * FLOOR

    def over_bare(self, name: str, column: str) -> float:
        """Return what sessions add to a request in process, where a read without takes `BARE`."""
        turns = self.inprocess
        mine, its = turns.values(name, column), turns.values(BY_NAME[name].bare, column)
        reads = turns.values("bare", "R small")
        return BARE * median((a - b) / read for a, b, read in zip(mine, its, reads, strict=False))

    def failures(self) -> list[str]:
        """Return, in words, which measured requests were not answered as they should."""
        found = []
        kinds = {"": self.results.served, ", in process": self.results.inprocess}
        for kind, name, column in (
            (kind, name, column)
            for kind, turns in kinds.items()
            for name, columns in turns.items()
            for column in columns
        ):
            rounds = kinds[kind][name][column]
            failed = sum(each.failed for each in rounds)
            wrong = sum(getattr(each, "wrong", 0) for each in rounds)
            if failed or wrong:
                label = BY_NAME[name].label
                found.append(f"{label}, {column}{kind}: {failed} failed, {wrong} wrong")
        return found
