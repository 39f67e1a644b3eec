"""What came out of a scenario, how its processes are run, and the table of all."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from benchmarks.worker import Worker

WORKERS = 4
_BROKEN = ("lost", "revived", "leaked", "late")
_COLUMNS = ("tried", "acknowledged", "failed", *_BROKEN, "slowest", "seconds")
# What all processes import is imported once.
multiprocessing.set_forkserver_preload(["benchmarks.stress.__main__"])


@dataclass
class Result:
    """Counts of requests, added up over tasks and processes: a scenario's line in the table.

    Attributes:
        scenario: Its name.
        tried: Requests, or races, that were begun.
        acknowledged: Those that were answered 2xx.
        failed: Those that were answered 5xx.
        lost: Acknowledged writes and logins that are gone.
        revived: Sessions, or former ids, that live although they should not.
        leaked: Answers that told one client what is another's.
        late: Answers that came after the deadline.
        slowest: Seconds of the slowest answer.
        odd: What ended in any other way, in words.
        notes: What a number needs to be understood.
    """

    scenario: str = ""
    tried: int = 0
    acknowledged: int = 0
    failed: int = 0
    lost: int = 0
    revived: int = 0
    leaked: int = 0
    late: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    odd: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Result) -> None:
        """Add the counts of another one."""
        for name in ("tried", "acknowledged", "failed", *_BROKEN, "odd"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest = max(self.slowest, other.slowest)

    @property
    def kept(self) -> bool:
        """True if every promise held, and there was something to hold."""
        broken = self.odd or any(getattr(self, name) for name in _BROKEN)
        return not broken and self.acknowledged > 0


Work = Callable[[int, Any], Coroutine[Any, Any, tuple[Result, Any]]]


def in_processes(work: Work, spec: Any) -> tuple[Result, list[Any]]:
    """Let several processes do the work, and return the sum and what else each found.

    Args:
        work: An asynchronous function at the top of a module.
        spec: What it gets besides its number; has to be picklable.
    """
    began, result, found = time.monotonic(), Result(), []
    workers = [Worker(start="forkserver") for _ in range(WORKERS)]
    try:
        waiting = [each.begin(work, number, spec) for number, each in enumerate(workers)]
        for wait in waiting:
            counted, more = wait()
            result.add(counted)
            found.append(more)
    finally:
        for each in workers:
            each.close()
    result.seconds = time.monotonic() - began
    return result, found


def table(results: list[Result]) -> str:
    """Return all results, one line each, and their notes."""
    width = max(len(each.scenario) for each in results)
    lines = ["".join([" " * width, *(f"{name:>14}" for name in _COLUMNS)])]
    for each in results:
        cells = [getattr(each, name) for name in _COLUMNS]
        told = (f"{cell:>14.1f}" if isinstance(cell, float) else f"{cell:>14,}" for cell in cells)
        lines.append("".join([each.scenario.ljust(width), *told]))
    for each in results:
        lines += [f"{each.scenario}: {note}" for note in each.notes]
        lines += [f"{each.scenario}: BROKEN: {what}" for what in sorted(set(each.odd))[:5]]
    return "\n".join(lines)
