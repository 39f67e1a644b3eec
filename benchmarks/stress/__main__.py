"""Run every scenario and print one table; see the package's docstring."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.stress import answers, identity, logins, outages, races, updates
from benchmarks.stress.report import Result, table
from tests.sql.postgresql import PROGRAMS, running_postgresql
from tests.topology.nodes import HOST, PASSWORD, Node, free_ports

Within = Callable[[Callable[[dict[str, Any]], Result]], Result]


def main() -> int:
    """Return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stress", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, in about a minute")
    parser.add_argument(
        "--only", metavar="WORD", default="", help="scenarios with this in the name"
    )
    options = parser.parse_args()
    scenarios = _scenarios(quick=options.quick)
    chosen = [name for name in scenarios if options.only.lower() in name.lower()]
    if not chosen:
        parser.error(f"no scenario has {options.only!r} in its name: {', '.join(scenarios)}")
    results = []
    for name in chosen:
        results.append(scenarios[name]())
        print(f"{name}: {'kept' if results[-1].kept else 'BROKEN'}", file=sys.stderr)
    print(table(results))
    broken = [each.scenario for each in results if not each.kept]
    print(f"\nbroken: {', '.join(broken)}" if broken else "\nevery promise held")
    return 1 if broken else 0


def _scenarios(*, quick: bool) -> dict[str, Callable[[], Result]]:
    count = 1_000 if quick else 10_000
    races_count = 300 if quick else 10_000
    # They are many requests each.
    meetings_count = 300 if quick else 2_000
    logins_count = 300 if quick else 1_000
    times = 1 if quick else 3

    def raced(name: str, race: races.Race, count: int = races_count) -> Callable[[], Result]:
        return lambda: _with_server(lambda redis: races.run(redis, name, race, count))

    def entered(strategy: str) -> Callable[[], Result]:
        return lambda: _with_server(lambda redis: logins.run(redis, strategy, logins_count))

    # What a store has to do for the core; the rest is the core's own.
    in_databases: dict[str, Callable[[dict[str, Any]], Result]] = {
        "updates": lambda place: updates.in_processes(place, count),
        "increments": lambda place: updates.increments(place, count),
        "logouts": lambda place: races.run(place, "logouts", races.logout_race, meetings_count),
        "rotations": lambda place: races.run(
            place, "rotations", races.rotation_race, meetings_count
        ),
        "logins, evict": lambda place: logins.run(place, "evict-oldest", logins_count),
    }
    databases = {"SQLite": _in_a_file}
    if PROGRAMS:
        databases["PostgreSQL"] = _in_postgresql
    else:
        print("PostgreSQL is left out: it is not installed", file=sys.stderr)

    return {
        "updates": lambda: _with_server(lambda redis: updates.in_processes(redis, count)),
        "increments": lambda: _with_server(lambda redis: updates.increments(redis, count)),
        "threads": lambda: updates.in_threads(count),
        "logouts": raced("logouts", races.logout_race),
        "rotations": raced("rotations", races.rotation_race),
        "held requests": raced("held requests", identity.held_race, meetings_count),
        "double logins": raced("double logins", identity.double_race, meetings_count),
        "late requests": raced("late requests", identity.late_race, meetings_count),
        "logins, evict": entered("evict-oldest"),
        "logins, reject": entered("reject-new"),
        "answers": lambda: _with_server(lambda redis: answers.run(redis, 10 * count)),
        "restarts": lambda: outages.restarts(times),
        "sentinel": lambda: outages.sentinel_failovers(times),
        "cluster": lambda: outages.cluster_failovers(times),
        **{
            f"{name}, {database}": partial(_named, database, within, scenario)
            for database, within in databases.items()
            for name, scenario in in_databases.items()
        },
    }


def _named(database: str, within: Within, scenario: Callable[[dict[str, Any]], Result]) -> Result:
    result = within(scenario)
    result.scenario += f", {database}"
    return result


def _in_a_file(scenario: Callable[[dict[str, Any]], Result]) -> Result:
    with tempfile.TemporaryDirectory() as directory:
        return scenario({"url": f"sqlite+aiosqlite:///{directory}/sessions.db"})


def _in_postgresql(scenario: Callable[[dict[str, Any]], Result]) -> Result:
    with running_postgresql() as server:
        return scenario({"url": server.url})


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
