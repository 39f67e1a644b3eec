"""The measurements in their order, and what they have in common."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import redis

from benchmarks import (
    correctness,
    counting,
    generator,
    imports,
    inprocess,
    memory,
    overload,
    pauses,
    work,
)
from benchmarks.contestants import BY_NAME, POSTGRESQL, POSTGRESQL_URL, Contestant
from benchmarks.figures import BARE
from benchmarks.plan import COLUMNS, IN_PROCESS, Results
from benchmarks.worker import Worker, WorkerError

_AT_ONCE = 3
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
        self.has = results.roster.has
        self.client: Any = redis.Redis(port=port)
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"
        self._began = time.monotonic()

    def run(self, parts: str | None) -> None:
        """Measure the parts of these names, with commas between; all if there is None."""
        self.results.load = os.getloadavg()[0]
        wanted = set(parts.split(",")) if parts else PARTS.keys()
        if unknown := wanted - PARTS.keys():
            raise SystemExit(
                f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}"
            )
        for name, part in PARTS.items():
            if name in wanted:
                part(self)
                self.client.flushall()

    def say(self, what: str) -> None:
        """Show how far it is."""
        print(f"[{time.monotonic() - self._began:5.0f} s] {what}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def trying(self, contestant: Contestant, *, or_leave_out: bool = False) -> Iterator[None]:
        """Go on after a failure, which becomes a warning, or without a contestant that fails."""
        try:
            yield
        except WorkerError as error:
            if or_leave_out and contestant.name == "bare":
                raise
            self.say(f"{contestant.label}: {error}")
            if or_leave_out:
                self.results.roster.skip(contestant, str(error))
            else:
                self.results.notes.append(f"{contestant.label}: {error}")

    @contextlib.contextmanager
    def started(
        self, contestants: list[Contestant], *, or_leave_out: bool = False, **options: Any
    ) -> Iterator[dict[Contestant, Worker]]:
        """Give each a process that has done nothing else, and end all of them."""
        url = options.pop("url", self.url)
        workers: dict[Contestant, Worker] = {}
        ready = {}
        try:
            for start in range(0, len(contestants), _AT_ONCE):
                chunk = contestants[start : start + _AT_ONCE]
                for each in chunk:
                    workers[each] = Worker(each, url, **options)
                for each in chunk:
                    with self.trying(each, or_leave_out=or_leave_out):
                        workers[each].wait_until_ready()
                        ready[each] = workers[each]
            yield ready
        finally:
            for worker in workers.values():
                worker.leave()
            for worker in workers.values():
                worker.close()

    def spun(self, worker: Worker, path: str, cookies: Any) -> inprocess.Round:
        """Have a process call its site for one turn."""
        return worker.call(inprocess.spin, path, cookies, self.plan.connections, self.plan.seconds)


def _in_process(bench: Bench) -> None:
    """Call the applications, and see whether they are right."""
    plan, results = bench.plan, bench.results
    everybody = [each for each in results.roster.present if each.everywhere or each.store == "none"]
    cookies: dict[Any, Any] = {}
    bench.say("start a process for each contestant")
    with bench.started(everybody, or_leave_out=True) as workers:
        for turn in range(plan.rounds + 1):  # the first one warms up
            bench.say(f"in process, round {turn} of {plan.rounds}")
            for column, on_all in IN_PROCESS.items():
                path, size = COLUMNS[column]
                for each, worker in workers.items():
                    if not bench.has(each.name) or not (on_all or each.bare == "bare"):
                        continue
                    with bench.trying(each, or_leave_out=True):
                        if (each, size) not in cookies:
                            cookies[each, size] = worker.call(
                                inprocess.cookies_for, size, plan.connections
                            )
                        spun = bench.spun(worker, path, cookies[each, size])
                        if turn:
                            results.inprocess[each.name][column].append(spun)
        for each in results.roster.of():
            bench.say(f"races and cycles: {each.label}")
            with bench.trying(each, or_leave_out=True):
                if each.store != "none":
                    kept = workers[each].call(correctness.races, plan.races, 8)
                    results.kept[each.name] = kept
                results.garbage[each.name] = workers[each].call(correctness.garbage, 20)


def _through_uvicorn(bench: Bench) -> None:
    """Send requests over sockets, from another process."""
    plan, results = bench.plan, bench.results
    bench.say("start a uvicorn for each contestant")
    load = Worker()
    cookies: dict[Any, Any] = {}
    try:
        with bench.started(results.roster.of(), or_leave_out=True, serves=True) as servers:
            results.capacity = load.call(generator.capacity, plan.served_seconds)
            for turn in range(plan.served_rounds + 1):
                bench.say(f"through uvicorn, round {turn} of {plan.served_rounds}")
                for column in COLUMNS:
                    for each, server in servers.items():
                        if bench.has(each.name) and not (
                            each.store == "cookie" and column.endswith("large")
                        ):
                            with bench.trying(each, or_leave_out=True):
                                burst = _burst(bench, load, each, server, column, cookies, turn)
                                if turn:
                                    results.served[each.name][column].append(burst)
    finally:
        load.close()


def _burst(
    bench: Bench,
    load: Worker,
    contestant: Contestant,
    server: Worker,
    column: str,
    cookies: dict[Any, Any],
    turn: int,
) -> generator.Burst:
    """Have the generator send load, with a session of its own on each connection."""
    plan, (path, size) = bench.plan, COLUMNS[column]
    key = contestant, size
    if key not in cookies:
        cookies[key] = [None] * plan.connections
        if size is not None:
            cookies[key] = load.call(
                generator.seeded, server.port, server.pid, size, plan.connections
            )
    expected = "user"
    if path == "/write":
        # Without sessions there is one counter, for everybody.
        expected = "anything" if contestant.store == "none" else "count"
    return load.call(
        generator.burst,
        server.port,
        server.pid,
        path,
        cookies[key],
        plan.served_seconds if turn else plan.served_seconds / 4,
        keep=contestant.store == "cookie",
        expected=expected,
    )


def _count(bench: Bench) -> None:
    """Count round trips and bytes on the way to Redis, and to PostgreSQL."""
    bench.say("count what goes to Redis")
    everybody = bench.results.roster.present
    in_redis = [each for each in everybody if each.store == "redis" and each.name != _COUNTED]
    with counting.CountingProxy(bench.port) as proxy:
        _count_each(bench, proxy, in_redis, f"redis://127.0.0.1:{proxy.port}/0")
    if bench.has(POSTGRESQL):
        url = os.environ[POSTGRESQL_URL]
        port = urlsplit(url).port or 0
        with counting.CountingProxy(port) as proxy:
            os.environ[POSTGRESQL_URL] = url.replace(str(port), str(proxy.port))
            _count_each(bench, proxy, [BY_NAME[POSTGRESQL]], bench.url)
            os.environ[POSTGRESQL_URL] = url


def _count_each(
    bench: Bench, proxy: counting.CountingProxy, contestants: list[Contestant], url: str
) -> None:
    for each in contestants:
        # One at a time: what another one's process sends would be counted too.
        with bench.started([each], url=url) as workers, bench.trying(each):
            for worker in workers.values():
                traffic = counting.traffic(proxy, worker, bench.plan.requests)
                bench.results.traffic[each.name] = traffic


def _weigh(bench: Bench) -> None:
    """Weigh sessions in memory, have some expire, and compare what few and many cost."""
    plan, results = bench.plan, bench.results
    in_memory = results.roster.of("memory")
    bench.say("have sessions expire")
    with bench.started(in_memory, lifetime=memory.LIFETIME) as workers:
        waiting = {
            each: worker.begin(memory.freed_after_expiry, 1_000) for each, worker in workers.items()
        }
        for each, freed in waiting.items():
            with bench.trying(each):
                results.freed[each.name] = freed()
    with bench.started(in_memory) as workers:
        for each, worker in workers.items():
            count = plan.held if each.ours else plan.held_others
            bench.say(f"weigh {count:,} sessions: {each.label}")
            with bench.trying(each):
                results.held[each.name] = worker.call(memory.held, count)
    if bench.has("ours-memory"):
        with bench.trying(BY_NAME["ours-memory"]):
            _grow(bench)


def _grow(bench: Bench) -> None:
    """Compare few and many sessions turn by turn, each number in a process of its own."""
    workers: dict[int, Worker] = {}
    cookies: dict[int, Any] = {}
    try:
        for count in bench.plan.growth:
            bench.say(f"make {count:,} sessions, to compare what a request costs")
            workers[count] = Worker(BY_NAME["ours-unbounded"], bench.url)
            cookies[count] = workers[count].call(memory.fill, count, 2_000)
        for turn in range(bench.plan.rounds + 1):
            for count, worker in workers.items():
                for column in ("R small", "W small"):
                    spun = bench.spun(worker, COLUMNS[column][0], cookies[count])
                    if turn:
                        bench.results.growth[count][column].append(spun)
    finally:
        for worker in workers.values():
            worker.close()


def _watch_steps(bench: Bench) -> None:
    """Watch the steps of the event loop, and send a crowd."""
    plan, results = bench.plan, bench.results
    for each in results.roster.of("none", "memory", "redis"):
        bench.say(f"the steps of the event loop, and a crowd: {each.label}")
        with bench.started([each], plain=True) as workers, bench.trying(each):
            for worker in workers.values():
                before = bench.client.info("clients")["connected_clients"]
                for path in ("/read", "/write"):
                    results.steps[each.name][path] = worker.call(
                        pauses.longest_step, path, "large", plan.connections, plan.step_seconds
                    )
                if each.store == "redis":
                    # Last, for who is turned away may be so for a while.
                    failed = worker.call(correctness.crowd, plan.crowd)
                    more = bench.client.info("clients")["connected_clients"] - before
                    # It made one when it started.
                    results.crowd[each.name] = failed, more + 1
    if bench.has("ours-memory"):
        bench.say(f"watch the event loop while {plan.expiring:,} sessions expire")
        unbounded = BY_NAME["ours-unbounded"]
        with bench.started([unbounded], plain=True) as workers, bench.trying(unbounded):
            for worker in workers.values():
                longest = worker.call(pauses.longest_while_expiring, plan.expiring)
                results.steps["ours-memory"]["expiring"] = longest


def _meet(bench: Bench) -> None:
    """Have many write to one session of ours at once, in Redis."""
    plan, results, ours, bare = bench.plan, bench.results, BY_NAME[_COUNTED], BY_NAME["bare"]
    if not bench.has("ours-redis"):
        return
    with bench.started([bare, ours]) as workers, bench.trying(ours):
        for kind in correctness.MEETINGS:
            bench.say(f"{correctness.WRITERS} writers of one session: {kind}")
            meetings = results.met[kind] = []
            for turn in range(plan.meetings + 1):
                read = bench.spun(workers[bare], "/read", [work.NO_COOKIE])
                met = workers[ours].call(correctness.meet, kind)
                if turn:
                    meetings.append(replace(met, cpu=met.cpu * BARE / read.cpu))


def _load_the_store(bench: Bench) -> None:
    """Take the Redis server's CPU, and send more than a slow one can carry."""
    plan, results = bench.plan, bench.results
    if bench.has("ours-redis"):
        bench.say("the CPU of the Redis server")
        results.server_cpu = overload.server_cpu(bench.port, plan.store_seconds)
        bench.say(f"1.5 times what a slow server can carry, for {plan.overload_seconds} s")
        results.overload = overload.overloaded(
            bench.port, plan.warm_up_seconds, plan.overload_seconds
        )


def _time_imports(bench: Bench) -> None:
    """Import the package and Starlette, in turns, each in a process of its own."""
    if bench.has("ours-memory"):
        bench.say("import the package")
        for turn in range(bench.plan.imports + 1):
            for module in (imports.OURS, imports.THEIRS):
                took = imports.milliseconds(module)
                if turn:
                    bench.results.imported[module].append(took)


_COUNTED = "ours-counted"
PARTS: dict[str, Callable[[Bench], None]] = {
    "in-process": _in_process,
    "served": _through_uvicorn,
    "counted": _count,
    "memory": _weigh,
    "steps": _watch_steps,
    "writers": _meet,
    "overload": _load_the_store,
    "imports": _time_imports,
}
