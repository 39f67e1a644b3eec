"""The measurements in their order; contestants take turns, and who fails is left out."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import redis

from benchmarks import correctness, counting, generator, inprocess, memory, pauses, served
from benchmarks.contestants import BY_NAME, Contestant
from benchmarks.plan import COLUMNS, IN_PROCESS, Results
from benchmarks.worker import Worker, WorkerError

HOST = "127.0.0.1"
PARTS = ("in-process", "served", "counted", "memory", "steps")
LONE = ("bare", "ours-redis")
_AT_ONCE = 3


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

    def run(self, parts: Collection[str] = PARTS) -> None:
        """Measure these parts, or everything."""
        self.results.load = os.getloadavg()[0]
        if "in-process" in parts:
            with self._workers() as workers:
                self._take_turns(workers)
                self._check(workers)
        if "served" in parts:
            self._through_uvicorn()
        if "counted" in parts:
            self._count()
        if "memory" in parts:
            self._weigh()
            self._grow()
        if "steps" in parts:
            self._watch_steps()

    def say(self, what: str) -> None:
        """Show how far it is."""
        print(f"[{time.monotonic() - self._began:5.0f} s] {what}", file=sys.stderr, flush=True)

    # In one process each.

    @contextlib.contextmanager
    def _workers(self) -> Iterator[dict[str, Worker]]:
        self.say("start a process for each contestant")
        workers: dict[str, Worker] = {}
        try:
            # All at once would only get in each other's way.
            for chunk in _chunks(self._in_process(), _AT_ONCE):
                for each in chunk:
                    workers[each.name] = Worker(each, self.url)
                for each in chunk:
                    self._try(each, workers[each.name].wait_until_ready)
            yield workers
        finally:
            for worker in workers.values():
                worker.close()
            redis.Redis(port=self.port).flushall()

    def _in_process(self) -> list[Contestant]:
        present = self.results.roster.present
        return [each for each in present if each.everywhere or each.store == "none"]

    def _take_turns(self, workers: dict[str, Worker]) -> None:
        plan, results = self.plan, self.results
        cookies: dict[tuple[str, str | None], Any] = {}
        for turn in range(plan.rounds + 1):  # the first one warms up
            self.say(f"in process, round {turn} of {plan.rounds}")
            for column, whom in IN_PROCESS.items():
                path, size = COLUMNS[column]
                for each in self._in_process():
                    if whom == "Starlette" and each.bare != "bare":
                        continue
                    at_once = plan.connections if each.interface == "asgi" else 1
                    worker, key = workers[each.name], (each.name, size)
                    with self._leaving_out(each):
                        if key not in cookies:
                            cookies[key] = worker.call(inprocess.cookies_for, size, at_once)
                        spun = worker.call(
                            inprocess.spin, path, cookies[key], at_once, plan.seconds
                        )
                        if turn:
                            results.turn(results.inprocess, each.name, column).append(spun)
            self._lone_in_process(workers, cookies, keep=turn > 0)

    def _lone_in_process(self, workers: dict[str, Worker], cookies: Any, *, keep: bool) -> None:
        results, seconds = self.results, self.plan.seconds
        for name in LONE:
            if results.roster.has(name):
                mine = cookies[name, "small"][:1]
                spun = workers[name].call(inprocess.spin, "/read", mine, 1, seconds)
                if keep:
                    results.alone[name].append(spun)
        trip = workers["bare"].call(inprocess.raw_trip, HOST, self.port, seconds)
        if keep:
            results.trip.append(trip.microseconds)

    def _check(self, workers: dict[str, Worker]) -> None:
        plan, results = self.plan, self.results
        for each in results.roster.of("none", "cookie", "memory", "redis", interface=None):
            self.say(f"races and cycles: {each.label}")
            worker = workers[each.name]
            with self._leaving_out(each):
                if each.store != "none":
                    results.kept[each.name] = worker.call(correctness.races, plan.races, 8)
                results.garbage[each.name] = worker.call(correctness.garbage, 20)

    # Through uvicorn.

    def _through_uvicorn(self) -> None:
        plan, results = self.plan, self.results
        self.say("start a uvicorn for each contestant")
        load = served.Generator()
        servers: dict[str, served.Server] = {}
        try:
            for chunk in _chunks(results.roster.of("none", "cookie", "memory", "redis"), _AT_ONCE):
                for each in chunk:
                    servers[each.name] = served.Server(each, self.url)
                for each in chunk:
                    self._try(each, servers[each.name].wait_until_ready)
            results.capacity = load.call(served.capacity, plan.served_seconds)
            for turn in range(plan.served_rounds + 1):
                self.say(f"through uvicorn, round {turn} of {plan.served_rounds}")
                for column in COLUMNS:
                    self._burst_each(servers, load, column, warm_up=turn == 0)
                if turn:
                    self._lone_served(servers, load)
        finally:
            load.close()
            for server in servers.values():
                server.close()
            redis.Redis(port=self.port).flushall()

    def _burst_each(
        self,
        servers: dict[str, served.Server],
        load: served.Generator,
        column: str,
        *,
        warm_up: bool,
    ) -> None:
        plan, results = self.plan, self.results
        seconds = plan.served_seconds / 4 if warm_up else plan.served_seconds
        path, size = COLUMNS[column]
        for name, server in servers.items():
            if size == "large" and server.contestant.store == "cookie":
                continue
            if results.roster.has(name):
                with self._leaving_out(server.contestant):
                    burst = server.burst(load, path, size, plan.connections, seconds)
                    if not warm_up:
                        results.turn(results.served, name, column).append(burst)

    def _lone_served(self, servers: dict[str, served.Server], load: served.Generator) -> None:
        seconds = self.plan.served_seconds
        for name in LONE:
            if self.results.roster.has(name):
                lone = servers[name].burst(load, "/read", "small", 1, seconds)
                self.results.alone_served[name].append(lone.p50)
        trip = load.call(generator.raw_trip, HOST, self.port, seconds)
        self.results.trip_served.append(trip)

    # One by one, in processes of their own.

    def _count(self) -> None:
        self.say("count what goes to Redis")
        redis_users = [each for each in self.results.roster.present if each.store == "redis"]
        with counting.CountingProxy(HOST, self.port) as proxy:
            for each, worker in self._fresh(redis_users, proxy.url):
                with self._noting(each):
                    traffic = counting.traffic(proxy, worker, self.plan.requests)
                    self.results.traffic[each.name] = traffic

    def _weigh(self) -> None:
        plan, results = self.plan, self.results
        in_memory = results.roster.of("memory")
        self.say("have sessions expire")
        workers = {each: Worker(each, self.url, lifetime=memory.LIFETIME) for each in in_memory}
        waiting = {}
        for each, worker in workers.items():
            with self._noting(each):
                waiting[each] = worker.begin(memory.freed_after_expiry, 2_000)
        for each, freed in waiting.items():
            with self._noting(each):
                results.freed[each.name] = freed()
            workers[each].close()
        for each, worker in self._fresh(in_memory, self.url):
            count = plan.held if each.ours else plan.held_others
            self.say(f"weigh {count:,} sessions: {each.label}")
            with self._noting(each):
                results.held[each.name] = worker.call(memory.held, count)

    def _grow(self) -> None:
        """Compare few and many sessions turn by turn, each number in a process of its own."""
        results, each = self.results, BY_NAME["ours-unbounded"]
        if not results.roster.has("ours-memory"):
            return
        workers: dict[int, Worker] = {}
        cookies: dict[int, Any] = {}
        try:
            for count in self.plan.growth:
                self.say(f"make {count:,} sessions, to compare what a request costs")
                workers[count] = Worker(each, self.url)
                cookies[count] = workers[count].call(memory.fill, count, 2_000)
            for turn in range(self.plan.rounds + 1):
                for count, worker in workers.items():
                    for column in ("R small", "W small"):
                        spun = worker.call(
                            inprocess.spin,
                            COLUMNS[column][0],
                            cookies[count],
                            self.plan.connections,
                            self.plan.seconds,
                        )
                        if turn:
                            results.growth.setdefault(count, {}).setdefault(column, []).append(spun)
        except WorkerError as error:
            results.notes.append(f"cost by number of sessions: {error}")
        finally:
            for worker in workers.values():
                worker.close()

    def _watch_steps(self) -> None:
        plan, results = self.plan, self.results
        everybody = results.roster.of("none", "memory", "redis")
        client = redis.Redis(port=self.port)
        for each, worker in self._fresh(everybody, self.url, plain=True):
            self.say(f"the steps of the event loop, and a crowd: {each.label}")
            with self._noting(each):
                before = client.info("clients")["connected_clients"]
                for path in ("/read", "/write"):
                    results.steps[each.name][path] = worker.call(
                        pauses.longest_step, path, "large", plan.connections, plan.step_seconds
                    )
                if each.store == "redis":
                    # Last, for who is turned away may be so for a while.
                    failed = worker.call(correctness.crowd, plan.crowd)
                    more = client.info("clients")["connected_clients"] - before
                    # It made one when it started.
                    results.crowd[each.name] = failed, more + 1
        client.close()
        if results.roster.has("ours-memory"):
            self.say(f"watch the event loop while {plan.expiring:,} sessions expire")
            for each, worker in self._fresh([BY_NAME["ours-unbounded"]], self.url, plain=True):
                with self._noting(each):
                    results.steps["ours-memory"]["expiring"] = worker.call(
                        pauses.longest_while_expiring, plan.expiring
                    )

    def _fresh(
        self, contestants: list[Contestant], url: str, **options: Any
    ) -> Iterator[tuple[Contestant, Worker]]:
        """Yield each with a process that has done nothing else, and end the process."""
        for chunk in _chunks(contestants, _AT_ONCE):
            workers = [(each, Worker(each, url, **options)) for each in chunk]
            try:
                for each, worker in workers:
                    with self._noting(each):
                        worker.wait_until_ready()
                        yield each, worker
            finally:
                for _, worker in workers:
                    worker.close()

    # Who cannot be measured is left out, visibly.

    @contextlib.contextmanager
    def _noting(self, contestant: Contestant) -> Iterator[None]:
        try:
            yield
        except WorkerError as error:
            self.say(f"{contestant.label}: {error}")
            self.results.notes.append(f"{contestant.label}: {error}")

    @contextlib.contextmanager
    def _leaving_out(self, contestant: Contestant) -> Iterator[None]:
        try:
            yield
        except WorkerError as error:
            if contestant.name == "bare":
                raise
            self.say(f"{contestant.label} is left out: {error}")
            self.results.roster.skip(contestant, str(error))

    def _try(self, contestant: Contestant, step: Callable[[], None]) -> None:
        with self._leaving_out(contestant):
            step()


def _chunks(everybody: list[Contestant], size: int) -> list[list[Contestant]]:
    return [everybody[start : start + size] for start in range(0, len(everybody), size)]
