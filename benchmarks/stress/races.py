"""Two or three requests about one session, let go at the same moment, thousands of times."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.stress import processes
from benchmarks.stress.report import Result, Tally
from benchmarks.stress.site import Site
from tests.web.driver import Answer

_AT_ONCE = 16
_MAX_HEADSTART = 12


@dataclass
class Raced:
    """What one worker saw.

    Attributes:
        tally: A race counts as acknowledged if all its requests were answered 200.
        found: How often something came about that is worth telling.
    """

    tally: Tally = field(default_factory=Tally)
    lost: int = 0
    leaked: int = 0
    revived: int = 0
    found: dict[str, int] = field(default_factory=dict)

    def note(self, what: str) -> None:
        """Count something worth telling."""
        self.found[what] = self.found.get(what, 0) + 1


class Node:
    """Applications that share nothing but the server, as machines would.

    Args:
        redis: Properties under ``pyfly.session.redis``.
        worker: The number of this process.
    """

    def __init__(self, redis: dict[str, Any], worker: int) -> None:
        self.worker = worker
        # Nobody harms the server: what is slow is the machine.
        self._redis = {"timeout": 5.0, "deadline": 30.0, **redis}
        # Every other process knows hashes of the ids only.
        self._settings = {"hash_ids": worker % 2 == 1}
        self.sites = self._two()
        self._limited: dict[str, list[Site]] = {}

    def _two(self, **settings: Any) -> list[Site]:
        return [Site(self._redis, **self._settings, **settings) for _ in range(2)]

    def limited(self, strategy: str) -> list[Site]:
        """Return two applications where a user may have one session."""
        if strategy not in self._limited:
            limit = {"enabled": True, "max-sessions": 1, "strategy": strategy}
            self._limited[strategy] = self._two(concurrency=limit)
        return self._limited[strategy]

    async def race(self, number: int, cookie: str, actions: list[str]) -> list[Answer | None]:
        """Do the actions as requests that have all loaded the session before any goes on."""
        racers = []
        for index, action in enumerate(actions):
            site, gate = self.sites[index % 2], f"{number}.{index}"
            racers.append((site, gate, await site.late(action, cookie, gate)))
        random.shuffle(racers)
        for site, gate, _ in racers:
            site.open_gate(gate)
            await headstart()
        by_gate = {gate: await task for _, gate, task in racers}
        return [by_gate[f"{number}.{index}"] for index in range(len(actions))]

    async def stored(self, cookie: str) -> dict[str, Any]:
        """Return what a request with this id sees."""
        answer = await self.sites[0].ask("/read", cookie)
        if answer is None or answer.status != 200:
            raise UnansweredError
        data: dict[str, Any] = json.loads(answer.body)
        return data

    async def close(self) -> None:
        """Close all."""
        for site in [*self.sites, *(each for pair in self._limited.values() for each in pair)]:
            await site.close()


class UnansweredError(Exception):
    """A race cannot go on, for a request got no answer that it can go on with."""


Race = Callable[[Node, int, Raced], Awaitable[bool]]


async def headstart(most: int = _MAX_HEADSTART) -> None:
    """Let others go first, for some turns of the event loop."""
    for _ in range(random.randrange(most)):
        await asyncio.sleep(0)


async def logout_race(node: Node, number: int, raced: Raced) -> bool:
    """Let a slow writer meet a logout; the session must be gone."""
    first = await node.sites[0].ask("/add", None)
    if first is None or first.status != 200:
        raise UnansweredError
    answers = await node.race(number, first.session_id, ["add", "logout"])
    raced.revived += await node.stored(first.session_id) != {}
    return all(each is not None and each.status == 200 for each in answers)


async def rotation_race(node: Node, number: int, raced: Raced) -> bool:
    """Let a slow writer meet one or two changes of id; one id lives, with the write."""
    first = await node.sites[0].ask("/add?name=first", None)
    if first is None or first.status != 200:
        raise UnansweredError
    former = first.session_id
    actions = ["add", "rotate", *(["rotate"] if number % 4 == 0 else [])]
    answers = await node.race(number, former, actions)
    wrote = answers[0]
    issued = [each.cookie() for each in answers[1:] if each is not None]
    given = {each.value for each in issued if each is not None and not each.is_deletion}
    alive = {each: data for each in given if (data := await node.stored(each))}
    raced.revived += await node.stored(former) != {}
    raced.revived += max(0, len(alive) - 1)
    expected = {"first", "written"} if wrote is not None and wrote.status == 200 else {"first"}
    raced.lost += not any(expected <= set(data) for data in alive.values())
    return all(each is not None and each.status == 200 for each in answers)


async def work(worker: int, board: processes.Board, spec: dict[str, Any]) -> Raced:
    """Run the races of one worker process."""
    node, raced = Node(spec["redis"], worker), Raced()
    race: Race = spec["race"]
    numbers = iter(range(spec["each"]))

    async def go_on() -> None:
        for number in numbers:
            raced.tally.tried += 1
            began = time.monotonic()
            try:
                fine = await race(node, number, raced)
            except UnansweredError:
                fine = False
            raced.tally.slowest = max(raced.tally.slowest, time.monotonic() - began)
            raced.tally.acknowledged += fine
            raced.tally.failed += not fine
            board.show(worker, raced.tally)

    await asyncio.gather(*(go_on() for _ in range(_AT_ONCE)))
    await node.close()
    return raced


def run(redis: dict[str, Any], kind: str, race: Race, total: int) -> Result:
    """Run so many races in several processes, over one server.

    Args:
        redis: Properties under ``pyfly.session.redis``.
        kind: What they are called.
        race: A function at the top of a module; returns whether every request was answered.
        total: How many.
    """
    began = time.monotonic()
    result = Result(scenario=f"{kind}, {processes.WORKERS} processes")
    spec = {"redis": redis, "race": race, "each": total // processes.WORKERS}
    found: dict[str, int] = {}
    for raced in processes.run(kind, work, spec, total=total):
        result.add(raced.tally)
        result.lost += raced.lost
        result.leaked += raced.leaked
        result.revived += raced.revived
        for what, count in raced.found.items():
            found[what] = found.get(what, 0) + count
    result.notes += [f"{count:,} {what}" for what, count in sorted(found.items())]
    result.seconds = time.monotonic() - began
    return result
