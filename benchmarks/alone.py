"""What each contestant does alone, in a process that has done nothing else."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import redis

from benchmarks import correctness, counting, imports, inprocess, memory, overload, pauses, work
from benchmarks.bench import HOST, Bench, end
from benchmarks.contestants import BY_NAME, POSTGRESQL, POSTGRESQL_URL, Contestant
from benchmarks.figures import BARE
from benchmarks.plan import COLUMNS
from benchmarks.worker import Worker, WorkerError

COUNTED = "ours-counted"


def count(bench: Bench) -> None:
    """Count round trips, commands and bytes."""
    bench.say("count what goes to Redis")
    everybody = bench.results.roster.present
    redis_users = [each for each in everybody if each.store == "redis" and each.name != COUNTED]
    with counting.CountingProxy(HOST, bench.port) as proxy:
        for each, worker in bench.fresh(redis_users, proxy.url):
            with bench.noting(each):
                traffic = counting.traffic(proxy, worker, bench.plan.requests)
                bench.results.traffic[each.name] = traffic
    for each in (each for each in everybody if each.name == POSTGRESQL):
        _count_in_a_database(bench, each)


def _count_in_a_database(bench: Bench, contestant: Contestant) -> None:
    """Count the same on the way to PostgreSQL, but for the commands."""
    url = os.environ[POSTGRESQL_URL]
    where = urlsplit(url)
    with counting.CountingProxy(HOST, int(where.port or 0), redis=False) as proxy:
        os.environ[POSTGRESQL_URL] = url.replace(str(where.port), str(urlsplit(proxy.url).port))
        try:
            for each, worker in bench.fresh([contestant], bench.url):
                with bench.noting(each):
                    traffic = counting.traffic(proxy, worker, bench.plan.requests)
                    bench.results.traffic[each.name] = traffic
        finally:
            os.environ[POSTGRESQL_URL] = url


def weigh(bench: Bench) -> None:
    """Weigh sessions in memory, and have some expire."""
    plan, results = bench.plan, bench.results
    in_memory = results.roster.of("memory")
    bench.say("have sessions expire")
    workers = {each: Worker(each, bench.url, lifetime=memory.LIFETIME) for each in in_memory}
    waiting = {}
    for each, worker in workers.items():
        with bench.noting(each):
            waiting[each] = worker.begin(memory.freed_after_expiry, 1_000)
    for each, freed in waiting.items():
        with bench.noting(each):
            results.freed[each.name] = freed()
    end(workers.values())
    for each, worker in bench.fresh(in_memory, bench.url):
        count = plan.held if each.ours else plan.held_others
        bench.say(f"weigh {count:,} sessions: {each.label}")
        with bench.noting(each):
            results.held[each.name] = worker.call(memory.held, count)


def grow(bench: Bench) -> None:
    """Compare few and many sessions turn by turn, each number in a process of its own."""
    results, each = bench.results, BY_NAME["ours-unbounded"]
    if not results.roster.has("ours-memory"):
        return
    workers: dict[int, Worker] = {}
    cookies: dict[int, Any] = {}
    try:
        for count in bench.plan.growth:
            bench.say(f"make {count:,} sessions, to compare what a request costs")
            workers[count] = Worker(each, bench.url)
            cookies[count] = workers[count].call(memory.fill, count, 2_000)
        for turn in range(bench.plan.rounds + 1):
            for count, worker in workers.items():
                for column in ("R small", "W small"):
                    spun = worker.call(
                        inprocess.spin,
                        COLUMNS[column][0],
                        cookies[count],
                        bench.plan.connections,
                        bench.plan.seconds,
                    )
                    if turn:
                        results.growth.setdefault(count, {}).setdefault(column, []).append(spun)
    except WorkerError as error:
        results.notes.append(f"cost by number of sessions: {error}")
    finally:
        end(workers.values())


def watch_steps(bench: Bench) -> None:
    """Watch the steps of the event loop, and send a crowd."""
    plan, results = bench.plan, bench.results
    everybody = results.roster.of("none", "memory", "redis")
    client = redis.Redis(port=bench.port)
    for each, worker in bench.fresh(everybody, bench.url, plain=True):
        bench.say(f"the steps of the event loop, and a crowd: {each.label}")
        with bench.noting(each):
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
        bench.say(f"watch the event loop while {plan.expiring:,} sessions expire")
        for each, worker in bench.fresh([BY_NAME["ours-unbounded"]], bench.url, plain=True):
            with bench.noting(each):
                results.steps["ours-memory"]["expiring"] = worker.call(
                    pauses.longest_while_expiring, plan.expiring
                )


def watch_the_store(bench: Bench) -> None:
    """Take the Redis server's CPU, and send more than a slow one can carry."""
    if bench.results.roster.has("ours-redis"):
        seconds = bench.plan.store_seconds
        bench.say("the CPU of the Redis server")
        bench.results.server_cpu = overload.server_cpu(bench.port, seconds)
        bench.say(f"1.5 times what a slow server can carry, for {2 * seconds:g} s")
        bench.results.overload = overload.overloaded(bench.port, 2 * seconds)


def meet(bench: Bench) -> None:
    """Have many write to one session of ours at once, in Redis."""
    plan, results, ours = bench.plan, bench.results, BY_NAME[COUNTED]
    if not results.roster.has("ours-redis"):
        return
    workers = [Worker(each, bench.url) for each in (BY_NAME["bare"], ours)]
    try:
        for kind in correctness.MEETINGS:
            bench.say(f"{correctness.WRITERS} writers of one session: {kind}")
            meetings = results.met[kind] = []
            with bench.noting(ours):
                for turn in range(plan.meetings + 1):
                    read = workers[0].call(
                        inprocess.spin, "/read", [work.NO_COOKIE], plan.connections, plan.seconds
                    )
                    met = workers[1].call(correctness.meet, kind)
                    if turn and met is not None:
                        meetings.append(replace(met, cpu=met.cpu * BARE / read.cpu))
    finally:
        end(workers)


def time_imports(bench: Bench) -> None:
    """Import the package and Starlette, in turns, each in a process of its own."""
    if not bench.results.roster.has("ours-memory"):
        return
    bench.say("import the package")
    for turn in range(bench.plan.imports + 1):
        for module in (imports.OURS, imports.THEIRS):
            took = imports.milliseconds(module)
            if turn:
                bench.results.imported.setdefault(module, []).append(took)
