"""Run every scenario and print one table; see the package's docstring."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.stress import logins, outages, races, updates
from benchmarks.stress.report import Result, table
from tests.topology.nodes import HOST, PASSWORD, Node, free_ports


def main() -> int:
    """Return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stress", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, in about a minute")
    parser.add_argument(
        "--only", metavar="WORD", default="", help="scenarios with this in the name"
    )
    options = parser.parse_args()
    results = []
    for name, scenario in _scenarios(quick=options.quick).items():
        if options.only.lower() in name.lower():
            results.append(scenario())
            print(f"{name}: {'kept' if results[-1].kept else 'BROKEN'}", file=sys.stderr)
    print(table(results))
    broken = [each.scenario for each in results if not each.kept]
    print(f"\nbroken: {', '.join(broken)}" if broken else "\nevery promise held")
    return 1 if broken or not results else 0


def _scenarios(*, quick: bool) -> dict[str, Callable[[], Result]]:
    count = 1_000 if quick else 10_000
    races_count = 600 if quick else 10_000
    times = 1 if quick else 3
    return {
        "updates": lambda: _with_server(lambda redis: updates.in_processes(redis, count)),
        "threads": lambda: updates.in_threads(count),
        "logouts": lambda: _with_server(lambda redis: races.run(redis, "logouts", races_count)),
        "rotations": lambda: _with_server(lambda redis: races.run(redis, "rotations", races_count)),
        "logins, evict": lambda: _with_server(lambda redis: logins.run(redis, "evict-oldest")),
        "logins, reject": lambda: _with_server(lambda redis: logins.run(redis, "reject-new")),
        "restarts": lambda: outages.restarts(times),
        "sentinel": lambda: outages.sentinel_failovers(times),
        "cluster": lambda: outages.cluster_failovers(times),
    }


def _with_server(scenario: Callable[[dict[str, Any]], Result]) -> Result:
    [port] = free_ports(1)
    node = Node(port, [("save", "")])
    try:
        node.start()
        return scenario({"url": f"redis://{HOST}:{port}/0", "password": PASSWORD})
    finally:
        node.close()


if __name__ == "__main__":
    sys.exit(main())
