"""One run of the benchmark: what it knows, and how it starts, leaves out and ends contestants."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.contestants import Contestant
from benchmarks.plan import Results
from benchmarks.served import Server
from benchmarks.worker import Worker, WorkerError

HOST = "127.0.0.1"
AT_ONCE = 3
"""Processes that are started together; all at once would only get in each other's way."""


class Bench:
    """One run against one Redis server.

    Args:
        results: Where everything goes; its plan tells how much to do.
        port: The server's.
    """

    def __init__(self, results: Results, port: int) -> None:
        self.results = results
        self.plan = results.plan
        self.port = port
        self.url = f"redis://{HOST}:{port}/0"
        self._began = time.monotonic()

    def say(self, what: str) -> None:
        """Show how far it is."""
        print(f"[{time.monotonic() - self._began:5.0f} s] {what}", file=sys.stderr, flush=True)

    def fresh(
        self, contestants: list[Contestant], url: str, **options: Any
    ) -> Iterator[tuple[Contestant, Worker]]:
        """Yield each with a process that has done nothing else, and end the process."""
        for chunk in chunks(contestants):
            workers = [(each, Worker(each, url, **options)) for each in chunk]
            try:
                ready = []
                for each, worker in workers:
                    with self.noting(each):
                        worker.wait_until_ready()
                        ready.append((each, worker))
                yield from ready
            finally:
                end(worker for _, worker in workers)

    # Who cannot be measured is left out, visibly.

    @contextlib.contextmanager
    def noting(self, contestant: Contestant) -> Iterator[None]:
        """Go on after a failure, which becomes a warning below the table."""
        try:
            yield
        except WorkerError as error:
            self.say(f"{contestant.label}: {error}")
            self.results.notes.append(f"{contestant.label}: {error}")

    @contextlib.contextmanager
    def leaving_out(self, contestant: Contestant) -> Iterator[None]:
        """Go on without a contestant that fails, which becomes the reason in the table."""
        try:
            yield
        except WorkerError as error:
            if contestant.name == "bare":
                raise
            self.say(f"{contestant.label} is left out: {error}")
            self.results.roster.skip(contestant, str(error))

    def attempt(self, contestant: Contestant, step: Callable[[], None]) -> None:
        """Take one step, or go on without the contestant."""
        with self.leaving_out(contestant):
            step()


def chunks(everybody: list[Contestant], size: int = AT_ONCE) -> list[list[Contestant]]:
    """Return them in lists of at most this size."""
    return [everybody[start : start + size] for start in range(0, len(everybody), size)]


def end(processes: Iterable[Worker | Server]) -> None:
    """End all of them together."""
    everybody = list(processes)
    for each in everybody:
        each.leave()
    for each in everybody:
        each.close()
