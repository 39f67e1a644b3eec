"""Worker processes: started afresh, watched while they run, ended in any case."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import queue
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.stress.report import Tally

WORKERS = 4
_LONGEST_SECONDS = 240.0
# What all workers import is imported once.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [f"benchmarks.stress.{name}" for name in ("identity", "logins", "outages", "updates")]
)


class Board:
    """What a worker and those who watch it have in common.

    Attributes:
        stop: Set when workers without a count of their own shall come to an end.
    """

    def __init__(self) -> None:
        self.stop = _context.Event()
        self._numbers = _context.Array("q", 3 * WORKERS, lock=False)

    def show(self, worker: int, tally: Tally) -> None:
        """Let the watchers see how far a worker has come."""
        self._numbers[3 * worker : 3 * worker + 3] = [
            tally.tried,
            tally.acknowledged,
            tally.failed,
        ]

    def all_began(self) -> bool:
        """Tell whether every worker has tried something."""
        return all(self._numbers[::3])

    def line(self, title: str, total: int | None, seconds: float) -> str:
        """Return how far all have come, in one line."""
        tried, acknowledged, failed = (sum(self._numbers[index::3]) for index in range(3))
        share = f" of {total:,}" if total else ""
        told = f"{acknowledged:,} acknowledged, {failed:,} failed"
        return f"{title}: {tried:,}{share} tried, {told}, {seconds:.0f} s"


Work = Callable[[int, Board, Any], Coroutine[Any, Any, Any]]


def run(
    title: str,
    work: Work,
    spec: Any,
    *,
    total: int | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> list[Any]:
    """Let every worker do the work, and return what each made of it.

    Args:
        title: The scenario, for the progress.
        work: An asynchronous function at the top of a module.
        spec: What it gets; has to be picklable.
        total: How many there are to try, if that is known.
        meanwhile: Done here while the workers run; they are told to stop after it.

    Raises:
        RuntimeError: A worker failed, or did not come to an end.
    """
    board = Board()
    answers: Any = _context.Queue()
    workers = [
        _context.Process(target=_work, args=(number, work, spec, board, answers), daemon=True)
        for number in range(WORKERS)
    ]
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(board, title, total, done))
    try:
        for each in workers:
            each.start()
        watcher.start()
        if meanwhile is not None:
            _await_start(board, workers)
            meanwhile()
        board.stop.set()
        return [_take(answers) for _ in workers]
    finally:
        done.set()
        if watcher.ident is not None:
            watcher.join()
        for each in workers:
            if each.is_alive():
                each.join(2)
            if each.is_alive():
                each.kill()
                each.join()


def _await_start(board: Board, workers: list[Any]) -> None:
    end = time.monotonic() + _LONGEST_SECONDS
    while not board.all_began():
        if time.monotonic() > end or not all(each.is_alive() for each in workers):
            raise RuntimeError("a worker did not begin")
        time.sleep(0.02)


def _take(answers: Any) -> Any:
    try:
        failure, answer = answers.get(timeout=_LONGEST_SECONDS)
    except queue.Empty:
        raise RuntimeError(f"a worker did not end within {_LONGEST_SECONDS} s") from None
    if failure is not None:
        raise RuntimeError(f"a worker failed: {failure}")
    return answer


def _work(number: int, work: Work, spec: Any, board: Board, answers: Any) -> None:
    # Each 503 would be a line.
    logging.disable(logging.CRITICAL)
    try:
        answers.put((None, asyncio.run(work(number, board, spec))))
    except BaseException as error:
        answers.put((repr(error), None))
        raise


def _watch(board: Board, title: str, total: int | None, done: threading.Event) -> None:
    began = time.monotonic()
    in_place = sys.stderr.isatty()
    while not done.wait(1.0):
        line = board.line(title, total, time.monotonic() - began)
        print(
            f"\r\x1b[K{line}" if in_place else line, end="" if in_place else "\n", file=sys.stderr
        )
        sys.stderr.flush()
    if in_place:
        print("\r\x1b[K", end="", file=sys.stderr)
