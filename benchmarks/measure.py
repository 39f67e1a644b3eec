"""The measurements in their order."""

from __future__ import annotations

import os
from collections.abc import Callable

from benchmarks import alone, turns
from benchmarks.bench import Bench

PARTS: dict[str, tuple[Callable[[Bench], None], ...]] = {
    "in-process": (turns.in_process,),
    "served": (turns.through_uvicorn,),
    "counted": (alone.count,),
    "memory": (alone.weigh, alone.grow),
    "steps": (alone.watch_steps,),
    "writers": (alone.meet,),
    "overload": (alone.watch_the_store,),
    "imports": (alone.time_imports,),
}


def measure(bench: Bench, parts: str | None) -> None:
    """Measure the parts of these names, with commas between; all if there is None."""
    bench.results.load = os.getloadavg()[0]
    wanted = set(parts.split(",")) if parts else PARTS.keys()
    if unknown := wanted - PARTS.keys():
        raise SystemExit(
            f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}"
        )
    for name, steps in PARTS.items():
        if name in wanted:
            for step in steps:
                step(bench)
