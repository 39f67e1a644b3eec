"""Two or three requests about one session, let go at the same moment, thousands of times."""

from __future__ import annotations

import asyncio
import json
import random
import time
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
    """

    tally: Tally = field(default_factory=Tally)
    lost: int = 0
    revived: int = 0


class Node:
    """Two applications that share nothing but the server, as two machines would."""

    def __init__(self, redis: dict[str, Any]) -> None:
        self.sites = [Site(redis), Site(redis)]

    async def race(self, number: int, cookie: str, actions: list[str]) -> list[Answer | None]:
        """Do the actions as requests that have all loaded the session before any goes on."""
        racers = []
        for index, action in enumerate(actions):
            site, gate = self.sites[index % 2], f"{number}.{index}"
            racers.append((site, gate, await site.late(action, cookie, gate)))
        random.shuffle(racers)
        for site, gate, _ in racers:
            site.open_gate(gate)
            for _ in range(random.randrange(_MAX_HEADSTART)):
                await asyncio.sleep(0)
        by_gate = {gate: await task for _, gate, task in racers}
        return [by_gate[f"{number}.{index}"] for index in range(len(actions))]

    async def stored(self, cookie: str) -> dict[str, Any]:
        """Return what a request with this id sees."""
        answer = await self.sites[0].ask("/read", cookie)
        data: dict[str, Any] = json.loads(answer.body) if answer is not None else {}
        return data

    async def close(self) -> None:
        """Close both."""
        for site in self.sites:
            await site.close()


async def logout_race(node: Node, number: int, raced: Raced) -> bool:
    """Let a slow writer meet a logout; the session must be gone."""
    first = await node.sites[0].ask("/add", None)
    assert first is not None
    answers = await node.race(number, first.session_id, ["add", "logout"])
    raced.revived += await node.stored(first.session_id) != {}
    return all(each is not None and each.status == 200 for each in answers)


async def rotation_race(node: Node, number: int, raced: Raced) -> bool:
    """Let a slow writer meet one or two changes of id; one id lives, with the write."""
    first = await node.sites[0].ask("/add?name=first", None)
    assert first is not None
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
    node, raced = Node(spec["redis"]), Raced()
    race = logout_race if spec["kind"] == "logouts" else rotation_race
    numbers = iter(range(spec["each"]))

    async def go_on() -> None:
        for number in numbers:
            raced.tally.tried += 1
            began = time.monotonic()
            fine = await race(node, number, raced)
            raced.tally.slowest = max(raced.tally.slowest, time.monotonic() - began)
            raced.tally.acknowledged += fine
            raced.tally.failed += not fine
            board.show(worker, raced.tally)

    await asyncio.gather(*(go_on() for _ in range(_AT_ONCE)))
    await node.close()
    return raced


def run(redis: dict[str, Any], kind: str, total: int) -> Result:
    """Run so many races in several processes, over one server."""
    began = time.monotonic()
    result = Result(scenario=f"{kind}, {processes.WORKERS} processes")
    spec = {"redis": redis, "kind": kind, "each": total // processes.WORKERS}
    for raced in processes.run(kind, work, spec, total=total):
        result.add(raced.tally)
        result.lost += raced.lost
        result.revived += raced.revived
    result.seconds = time.monotonic() - began
    return result
