"""What contestants take turns at, round by round: called directly, and through uvicorn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import redis

from benchmarks import correctness, inprocess, served
from benchmarks.bench import Bench, chunks, end
from benchmarks.contestants import Contestant
from benchmarks.plan import COLUMNS, IN_PROCESS
from benchmarks.worker import Worker


def in_process(bench: Bench) -> None:
    """Call the applications, and see whether they are right."""
    with _workers(bench) as workers:
        _take_turns(bench, workers)
        _check(bench, workers)


@contextlib.contextmanager
def _workers(bench: Bench) -> Iterator[dict[str, Worker]]:
    bench.say("start a process for each contestant")
    workers: dict[str, Worker] = {}
    try:
        for chunk in chunks(_in_process(bench)):
            for each in chunk:
                workers[each.name] = Worker(each, bench.url)
            for each in chunk:
                bench.attempt(each, workers[each.name].wait_until_ready)
        yield workers
    finally:
        end(workers.values())
        redis.Redis(port=bench.port).flushall()


def _in_process(bench: Bench) -> list[Contestant]:
    present = bench.results.roster.present
    return [each for each in present if each.everywhere or each.store == "none"]


def _take_turns(bench: Bench, workers: dict[str, Worker]) -> None:
    plan, results = bench.plan, bench.results
    cookies: dict[tuple[str, str | None], Any] = {}
    for turn in range(plan.rounds + 1):  # the first one warms up
        bench.say(f"in process, round {turn} of {plan.rounds}")
        for column, whom in IN_PROCESS.items():
            path, size = COLUMNS[column]
            for each in _in_process(bench):
                if whom == "Starlette" and each.bare != "bare":
                    continue
                worker, key = workers[each.name], (each.name, size)
                with bench.leaving_out(each):
                    if key not in cookies:
                        cookies[key] = worker.call(inprocess.cookies_for, size, plan.connections)
                    spun = worker.call(
                        inprocess.spin, path, cookies[key], plan.connections, plan.seconds
                    )
                    if turn:
                        results.turn(results.inprocess, each.name, column).append(spun)


def _check(bench: Bench, workers: dict[str, Worker]) -> None:
    plan, results = bench.plan, bench.results
    for each in results.roster.of("none", "cookie", "memory", "redis", "sql"):
        bench.say(f"races and cycles: {each.label}")
        worker = workers[each.name]
        with bench.leaving_out(each):
            if each.store != "none":
                results.kept[each.name] = worker.call(correctness.races, plan.races, 8)
            results.garbage[each.name] = worker.call(correctness.garbage, 20)


def through_uvicorn(bench: Bench) -> None:
    """Send requests over sockets, from another process."""
    plan, results = bench.plan, bench.results
    bench.say("start a uvicorn for each contestant")
    load = Worker()
    servers: dict[str, served.Server] = {}
    try:
        for chunk in chunks(results.roster.of("none", "cookie", "memory", "redis", "sql")):
            for each in chunk:
                servers[each.name] = served.Server(each, bench.url)
            for each in chunk:
                bench.attempt(each, servers[each.name].wait_until_ready)
        results.capacity = load.call(served.capacity, plan.served_seconds)
        for turn in range(plan.served_rounds + 1):
            bench.say(f"through uvicorn, round {turn} of {plan.served_rounds}")
            for column in COLUMNS:
                _burst_each(bench, servers, load, column, warm_up=turn == 0)
    finally:
        load.close()
        end(servers.values())
        redis.Redis(port=bench.port).flushall()


def _burst_each(
    bench: Bench,
    servers: dict[str, served.Server],
    load: Worker,
    column: str,
    *,
    warm_up: bool,
) -> None:
    plan, results = bench.plan, bench.results
    seconds = plan.served_seconds / 4 if warm_up else plan.served_seconds
    path, size = COLUMNS[column]
    for name, server in servers.items():
        if size == "large" and server.contestant.store == "cookie":
            continue
        if results.roster.has(name):
            with bench.leaving_out(server.contestant):
                burst = server.burst(load, path, size, plan.connections, seconds)
                if not warm_up:
                    results.turn(results.served, name, column).append(burst)
