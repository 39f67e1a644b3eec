"""The server dies, or its master does, while several processes write: honest answers, no loss."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import redis as driver

from benchmarks.stress import processes
from benchmarks.stress.report import Result, Tally
from benchmarks.stress.site import Site
from benchmarks.stress.updates import new_sessions
from tests.topology.cluster import Cluster, running_cluster
from tests.topology.nodes import HOST, PASSWORD, Node, free_ports, wait_until
from tests.topology.sentinels import MASTER_NAME, SENTINEL_PASSWORD, Watched, running_sentinels

SESSIONS = 120
_WRITERS = 12
_CALM_SECONDS = 1.0
_AWAY_SECONDS = 0.7
_IN_STEP: list[tuple[str, ...]] = [("min-replicas-to-write", "1")]


@dataclass
class Told:
    """What one worker was told, and when.

    Attributes:
        writes: Session, attribute and time of each acknowledged write.
        ends: Session and time of each acknowledged logout.
    """

    tally: Tally = field(default_factory=Tally)
    writes: list[tuple[str, str, float]] = field(default_factory=list)
    ends: list[tuple[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Outage:
    """A server's death and what followed.

    Attributes:
        in_step: The last moment at which all acknowledged before was known to be safe.
        killed: When the process was ended.
        replaced: When another server was known to have taken over.
        over: When sessions of every kind were served again.
    """

    in_step: float
    killed: float
    replaced: float
    over: float

    def covers(self, moment: float) -> bool:
        """Tell whether something acknowledged then may be gone with the server."""
        return self.in_step < moment < self.replaced


async def work(worker: int, board: processes.Board, spec: dict[str, Any]) -> Told:
    """Write and log out as one of the worker processes, until told to stop."""
    site, told, numbers = Site(spec["redis"]), Told(), itertools.count()

    async def write_on() -> None:
        while not board.stop.is_set():
            cookie, name = random.choice(spec["cookies"]), f"w{worker}.{next(numbers)}"
            answer = await site.ask(f"/add?name={name}", cookie, told.tally)
            if answer is not None and answer.status == 200:
                told.writes.append((cookie, name, time.monotonic()))
            board.show(worker, told.tally)
            await asyncio.sleep(0.005)

    async def log_out() -> None:
        while not board.stop.is_set():
            first = await site.ask("/add", None, told.tally)
            if first is not None and first.status == 200:
                cookie = first.session_id
                last = await site.ask("/logout", cookie, told.tally)
                if last is not None and last.status == 200:
                    told.ends.append((cookie, time.monotonic()))
            await asyncio.sleep(0.05)

    await asyncio.gather(*(write_on() for _ in range(_WRITERS)), log_out())
    await site.close()
    return told


def run(scenario: str, redis: dict[str, Any], harm: Callable[[], list[Outage]]) -> Result:
    """Let the workers write while harm is done, and count what is missing afterwards."""
    began = time.monotonic()
    result = Result(scenario=scenario)
    outages: list[Outage] = []
    spec = {"redis": redis, "cookies": asyncio.run(_prepare(redis))}
    everything = processes.run(scenario, work, spec, meanwhile=lambda: outages.extend(harm()))
    asyncio.run(_check(redis, result, everything, outages))
    result.seconds = time.monotonic() - began
    return result


async def _prepare(redis: dict[str, Any]) -> list[str]:
    site = Site(redis)
    cookies = await new_sessions(site, SESSIONS)
    await site.close()
    return cookies


async def _check(
    redis: dict[str, Any], result: Result, everything: list[Told], outages: list[Outage]
) -> None:
    site = Site(redis)
    stored: dict[str, dict[str, Any]] = {}
    unpromised = 0
    for told in everything:
        result.add(told.tally)
        for cookie, name, moment in told.writes:
            if cookie not in stored:
                stored[cookie] = await _stored(site, cookie)
            if name not in stored[cookie]:
                covered = any(each.covers(moment) for each in outages)
                unpromised += covered
                result.lost += not covered
        for cookie, moment in told.ends:
            if await _stored(site, cookie):
                covered = any(each.covers(moment) for each in outages)
                unpromised += covered
                result.revived += not covered
    await site.close()
    away = ", ".join(f"{each.over - each.killed:.1f} s" for each in outages)
    result.notes.append(f"until all were served again after the end of the server: {away}")
    if any(each.in_step < each.killed for each in outages):
        result.notes.append(
            f"{unpromised} acknowledged in the master's last moments and gone with it, before its"
            " replica had them (replication is asynchronous)"
        )
        result.notes.append(
            "with min-replicas-to-write 1 a new master takes no writes before it has a replica"
        )


async def _stored(site: Site, cookie: str) -> dict[str, Any]:
    answer = await site.ask("/read", cookie)
    assert answer is not None
    assert answer.status == 200, answer.text
    data: dict[str, Any] = json.loads(answer.body)
    return data


def restarts(times: int) -> Result:
    """Kill a lone server that writes every command to disk, and start it again."""
    [port] = free_ports(1)
    settings = [("appendonly", "yes"), ("appendfsync", "always"), ("save", "")]
    redis = {"url": f"redis://{HOST}:{port}/0", "password": PASSWORD}
    with contextlib.closing(Node(port, settings)) as node:
        node.start()

        def harm() -> list[Outage]:
            outages = []
            for _ in range(times):
                time.sleep(_CALM_SECONDS)
                node.kill()
                killed = time.monotonic()
                time.sleep(_AWAY_SECONDS)
                node.start()
                outages.append(Outage(killed, killed, killed, _served_again(redis)))
            time.sleep(_CALM_SECONDS)
            return outages

        return run("server killed and restarted", redis, harm)


def sentinel_failovers(times: int) -> Result:
    """Kill the master that Sentinels watch, and start it again as a replica."""
    with running_sentinels(settings=_IN_STEP) as watched:
        redis = {
            "sentinel": {
                "master": MASTER_NAME,
                "nodes": watched.addresses,
                "password": SENTINEL_PASSWORD,
            },
            "password": PASSWORD,
        }
        return run("Sentinel failover", redis, lambda: _fail_over(watched, redis, times))


def cluster_failovers(times: int) -> Result:
    """Kill a master of a cluster, and start it again as a replica."""
    with running_cluster(settings=_IN_STEP) as cluster:
        redis = {"cluster": {"nodes": cluster.addresses}, "password": PASSWORD}
        return run("Cluster failover", redis, lambda: _fail_over(cluster, redis, times))


def _fail_over(topology: Watched | Cluster, redis: dict[str, Any], times: int) -> list[Outage]:
    outages = []
    for number in range(times):
        if isinstance(topology, Watched):
            victim, heir, key = topology.master(), topology.other(), "barrier"
        else:
            slot, key = _slot_and_key(number)
            victim = topology.owner_of_slot(slot)
            heir = topology.replica_of(victim)
        with _barriers(victim, key) as last:
            time.sleep(_CALM_SECONDS)
            victim.kill()
            killed = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            served = pool.submit(_served_again, redis)
            wait_until(_is_master(heir), "the replica took over")
            replaced = time.monotonic()
            topology.settle()
            outages.append(Outage(last(), killed, replaced, served.result()))
    time.sleep(_CALM_SECONDS)
    return outages


def _slot_and_key(number: int) -> tuple[int, str]:
    """Return a slot of another third of the cluster each time, and a key in it."""
    from redis.crc import key_slot

    wanted = number % 3
    keys = (f"barrier{n}" for n in itertools.count())
    key = next(each for each in keys if key_slot(each.encode()) * 3 // 16_384 == wanted)
    return key_slot(key.encode()), key


def _is_master(node: Node) -> Callable[[], bool]:
    return lambda: node.info("replication")["role"] == "master"


@contextlib.contextmanager
def _barriers(master: Node, key: str) -> Iterator[Callable[[], float]]:
    """Keep asking when the replica had all; return the latest moment of which that is known.

    A replica gets everything in its order. So when it has a key that was written at one moment,
    it has all that was acknowledged before.
    """
    safe, done = [time.monotonic()], threading.Event()

    def ask() -> None:
        with master.client() as client, contextlib.suppress(driver.RedisError, OSError):
            while not done.is_set():
                moment = time.monotonic()
                client.execute_command("SET", key, "1")
                if client.execute_command("WAIT", 1, 1000) >= 1:
                    safe.append(moment)
                done.wait(0.005)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield lambda: safe[-1]
    finally:
        done.set()
        thread.join()


def _served_again(redis: dict[str, Any]) -> float:
    """Wait until sessions of every kind are written again, and return when that was."""

    async def ask() -> None:
        site = Site(redis)
        end, served = time.monotonic() + 20, 0
        while served < SESSIONS and time.monotonic() < end:
            answer = await site.ask("/add", None)
            served = served + 1 if answer is not None and answer.status == 200 else 0
            if not served:
                await asyncio.sleep(0.02)
        await site.close()

    asyncio.run(ask())
    return time.monotonic()
