"""Two or three requests about one session, let go at the same moment, thousands of times."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.stress.report import WORKERS, Result, in_processes
from benchmarks.stress.site import Site
from tests.web.driver import Answer

_AT_ONCE = 16
# A request that took longer asks once more what became of its session.
_LONG_SECONDS = 0.06


class Node:
    """Two applications that share nothing but the server, as machines would.

    Args:
        place: Where the sessions are.
        worker: The number of this process.
    """

    def __init__(self, place: dict[str, Any], worker: int) -> None:
        # Every other process knows hashes of the ids only.
        limit = {"enabled": True, "max-sessions": 1}
        self.sites = [Site(place, hash_ids=worker % 2 == 1, concurrency=limit) for _ in range(2)]
        self.worker = worker
        self.requests = Result()

    async def race(
        self, number: int, actions: list[str], *, in_order: bool = False
    ) -> tuple[str, list[Answer | None]]:
        """Do the actions as requests that have all loaded the session before any goes on.

        Args:
            number: Of the race.
            actions: What they ask for, and with which arguments.
            in_order: The first is answered before the others go on, which are long requests then.

        Returns:
            The id that all came with, and the answers.
        """
        first = await self.sites[0].ask("/add?name=first", None, self.requests)
        if first is None:
            raise UnansweredError
        racers = []
        for index, action in enumerate(actions):
            site, gate = self.sites[index % 2], f"{number}.{index}"
            task = await site.late(action, first.session_id, gate, self.requests)
            racers.append((site, gate, task))
        order = random.sample(racers, len(racers))
        if in_order:
            site, gate, task = racers[0]
            site.open_gate(gate)
            await task
            await asyncio.sleep(_LONG_SECONDS)
            order.remove(racers[0])
        for site, gate, _ in order:
            site.open_gate(gate)
            for _ in range(random.randrange(12)):
                await asyncio.sleep(0)
        return first.session_id, [await task for _, _, task in racers]

    async def ask(self, path: str, cookie: str) -> Answer:
        """Send a request with this id, and return the answer."""
        answer = await self.sites[0].ask(path, cookie, self.requests)
        if answer is None:
            raise UnansweredError
        return answer

    async def seen(self, cookie: str) -> tuple[str | None, dict[str, Any]]:
        """Return who is logged in with this id, and the attributes."""
        page = json.loads((await self.ask("/read", cookie)).body)
        return page["user"], page["attributes"]

    async def stored(self, cookie: str) -> dict[str, Any]:
        """Return the attributes of the session with this id."""
        return (await self.seen(cookie))[1]


def told_by(answer: Answer | None) -> str | None:
    """Return the id that an answer gives to its client."""
    cookie = None if answer is None else answer.cookie()
    return None if cookie is None or cookie.is_deletion else cookie.value


class UnansweredError(Exception):
    """A race cannot go on, for a request got no answer that it can go on with."""


Race = Callable[[Node, int, Result], Awaitable[bool]]


async def logout_race(node: Node, number: int, result: Result) -> bool:
    """Let a slow writer meet a logout; the session must be gone."""
    former, answers = await node.race(number, ["add", "logout"])
    result.revived += await node.stored(former) != {}
    return None not in answers


async def rotation_race(node: Node, number: int, result: Result) -> bool:
    """Let a slow writer meet one or two changes of id; one id lives, with the write."""
    actions = ["add", "rotate", *(["rotate"] if number % 4 == 0 else [])]
    former, answers = await node.race(number, actions)
    given = {told for each in answers[1:] if (told := told_by(each))}
    alive = {each: data for each in given if (data := await node.stored(each))}
    result.revived += await node.stored(former) != {}
    result.revived += max(0, len(alive) - 1)
    expected = {"first", "written"} if answers[0] is not None else {"first"}
    result.lost += not any(expected <= set(data) for data in alive.values())
    return None not in answers


async def work(worker: int, spec: dict[str, Any]) -> tuple[Result, None]:
    """Run the races of one process; one is acknowledged if all its requests were."""
    node, result, race = Node(spec["place"], worker), Result(), spec["race"]
    numbers = iter(range(spec["each"]))

    async def go_on() -> None:
        for number in numbers:
            result.tried += 1
            try:
                fine = await race(node, number, result)
            except UnansweredError:
                fine = False
            result.acknowledged += fine
            result.failed += not fine

    async with node.sites[0], node.sites[1]:
        await asyncio.gather(*(go_on() for _ in range(_AT_ONCE)))
    result.slowest, result.late = node.requests.slowest, node.requests.late
    result.odd = node.requests.odd
    return result, None


def run(race: Race, place: dict[str, Any], total: int) -> Result:
    """Run so many races in several processes, over one server.

    Args:
        race: A function at the top of a module; returns whether every request was answered.
        place: Where the sessions are.
        total: How many.
    """
    spec = {"place": place, "race": race, "each": total // WORKERS}
    return in_processes(work, spec)[0]
