"""The measurements in their order."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from benchmarks import alone, turns
from benchmarks.bench import Bench

PARTS: dict[str, tuple[Callable[[Bench], None], ...]] = {
    "in-process": (turns.in_process,),
    "served": (turns.through_uvicorn,),
    "counted": (alone.count,),
    "memory": (alone.weigh, alone.grow),
    "steps": (alone.watch_steps,),
}


def measure(bench: Bench, parts: Collection[str] = tuple(PARTS)) -> None:
    """Measure these parts, or everything."""
    bench.results.load = os.getloadavg()[0]
    for name, steps in PARTS.items():
        if name in parts:
            for step in steps:
                step(bench)
