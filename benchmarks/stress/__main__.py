"""Run every scenario and print one table; see the package's docstring."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.stress import answers, identities, logins, races, updates
from benchmarks.stress.report import Result, table
from tests.sql.postgresql import PROGRAMS, running_postgresql
from tests.topology.nodes import HOST, PASSWORD, Node, free_ports

_SHARES = {
    "updates": 1,
    "increments": 1,
    "logouts": 1,
    "rotations": 1,
    "logins, evict": 0.1,
    "logins, reject": 0.1,
    "held requests": 1,
    "double logins": 1,
    "late requests": 1,
}
"""How many there are of each, as a share of the count; logins are many requests each."""
_ANSWERS = 10


def main() -> int:
    """Return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stress", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, in about a minute")
    parser.add_argument("--count", type=int, metavar="N", help="so many updates, and so on")
    parser.add_argument(
        "--only", metavar="WORD", default="", help="scenarios with this in the name"
    )
    options = parser.parse_args()
    count = options.count or (1_000 if options.quick else 10_000)
    scenarios = _scenarios(count)
    chosen = [name for name in scenarios if options.only.lower() in name.lower()]
    if not chosen:
        parser.error(f"no scenario has {options.only!r} in its name: {', '.join(scenarios)}")
    results = []
    for name in chosen:
        print(f"{name} …", file=sys.stderr)
        results.append(scenarios[name]())
        results[-1].scenario = name
        print(f"{name}: {'kept' if results[-1].kept else 'BROKEN'}", file=sys.stderr)
    print(table(results))
    broken = [each.scenario for each in results if not each.kept]
    print(f"\nbroken: {', '.join(broken)}" if broken else "\nevery promise held")
    return 1 if broken else 0


def _scenarios(count: int) -> dict[str, Callable[[], Result]]:
    places: dict[str, Any] = {"": _server, ", SQLite": _file}
    if PROGRAMS:
        places[", PostgreSQL"] = _postgresql
    else:
        print("PostgreSQL is left out: it is not installed", file=sys.stderr)
    kinds: dict[str, Callable[[dict[str, Any], int], Result]] = {
        "updates": updates.in_processes,
        "increments": updates.increments,
        "logouts": partial(races.run, races.logout_race),
        "rotations": partial(races.run, races.rotation_race),
        "logins, evict": partial(logins.run, "evict-oldest"),
        "logins, reject": partial(logins.run, "reject-new"),
        "held requests": partial(races.run, identities.held_race),
        "double logins": partial(races.run, identities.double_race),
        "late requests": partial(races.run, identities.late_race),
    }

    def over_a_bad_line() -> Result:
        with _server() as place:
            return answers.run(place, count * _ANSWERS)

    def at(place: Any, kind: str) -> Result:
        with place() as properties:
            return kinds[kind](properties, int(count * _SHARES[kind]))

    everywhere = {
        f"{kind}{name}": partial(at, place, kind)
        for name, place in places.items()
        for kind in kinds
    }
    return {"answers": over_a_bad_line} | everywhere


@contextlib.contextmanager
def _server() -> Iterator[dict[str, Any]]:
    [port] = free_ports(1)
    with contextlib.closing(Node(port, [("save", "")])) as node:
        node.start()
        yield {"url": f"redis://{HOST}:{port}/0", "password": PASSWORD}


@contextlib.contextmanager
def _file() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as directory:
        yield {"url": f"sqlite+aiosqlite:///{directory}/sessions.db"}


@contextlib.contextmanager
def _postgresql() -> Iterator[dict[str, Any]]:
    with running_postgresql() as server:
        yield {"url": server.url}


if __name__ == "__main__":
    sys.exit(main())
