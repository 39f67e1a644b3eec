"""From rounds to figures: medians, spreads, ratios, costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

from benchmarks.contestants import BY_NAME
from benchmarks.plan import Results


def median(values: Iterable[float]) -> float:
    """Return the median, or not-a-number if there is nothing."""
    found = list(values)
    return statistics.median(found) if found else math.nan


def spread(values: Iterable[float]) -> float:
    """Return half the distance from the least to the greatest, as a share of the median."""
    found = list(values)
    return (max(found) - min(found)) / 2 / statistics.median(found) if found else math.nan


class Figures:
    """What the table, the goals and the picture are made of. Not-a-number: not measured."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def rates(self, name: str, column: str) -> list[float]:
        """Return the requests a second of each turn through uvicorn."""
        return [each.rate for each in self.results.served.get(name, {}).get(column, [])]

    def rate(self, name: str, column: str) -> float:
        """Return their median."""
        return median(self.rates(name, column))

    def share(self, name: str, column: str, other: str = "bare") -> float:
        """Return the throughput as a share of another one's."""
        return self.rate(name, column) / self.rate(other, column)

    def microseconds(self, name: str, column: str) -> float:
        """Return the median CPU time of a request in process."""
        return median(e.cpu for e in self.results.inprocess.get(name, {}).get(column, []))

    def wobble(self, name: str, column: str) -> float:
        """Return half the distance from the least to the greatest of it."""
        rounds = self.results.inprocess.get(name, {}).get(column, [])
        return spread(each.cpu for each in rounds) * self.microseconds(name, column)

    def cost(self, name: str, column: str) -> float:
        """Return what sessions add to a request on the contestant's own framework."""
        bare = BY_NAME[name].bare
        return self.microseconds(name, column) - self.microseconds(bare, column)

    def failures(self) -> list[str]:
        """Return, in words, which measured requests were not answered as they should."""
        found = []
        for name, columns in self.results.served.items():
            for column, bursts in columns.items():
                failed = sum(each.failed for each in bursts)
                wrong = sum(each.wrong for each in bursts)
                if failed or wrong:
                    found.append(f"{BY_NAME[name].label}, {column}: {failed} failed, {wrong} wrong")
        for name, turns in self.results.inprocess.items():
            for column, rounds in turns.items():
                failed = sum(each.failed for each in rounds)
                if failed:
                    found.append(f"{BY_NAME[name].label}, {column}, in process: {failed} failed")
        return found
