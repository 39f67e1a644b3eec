"""Many write to the same sessions at once: nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from benchmarks.stress.report import WORKERS, Result
from benchmarks.stress.report import in_processes as run
from benchmarks.stress.site import Site

_SESSIONS = 25
_FEW = 4
_AT_ONCE = 8
Told = Counter[tuple[str, str]]
"""How often a request about an attribute of a session was answered 200."""


async def new_sessions(site: Site, count: int) -> list[str]:
    """Store so many sessions and return their ids."""
    answers = [await site.ask("/add?name=first", None, Result()) for _ in range(count)]
    return [each.session_id for each in answers if each is not None]


async def write(site: Site, worker: int, cookies: list[str], each: int) -> tuple[Result, Told]:
    """Let one writer for each session write so often, all at once."""
    result, told = Result(), Told()

    async def write_on(cookie: str) -> None:
        for number in range(each):
            names = f"w{worker}.{number}", f"count{worker}"
            path = "/add?name={}&counter={}".format(*names)
            if await site.ask(path, cookie, result):
                told.update((cookie, name) for name in names)

    await asyncio.gather(*map(write_on, cookies))
    return result, told


async def write_in_process(worker: int, spec: dict[str, Any]) -> tuple[Result, Told]:
    """Write as one of the processes."""
    async with Site(spec["place"]) as site:
        return await write(site, worker, spec["cookies"], spec["each"])


async def count_up(worker: int, spec: dict[str, Any]) -> tuple[Result, Told]:
    """Count up attributes that all processes count up, by functions of their value."""
    result, told, turns = Result(), Told(), iter(range(spec["each"]))

    async def go_on() -> None:
        for turn in turns:
            cookie, name = spec["cookies"][turn % _FEW], f"count{turn % 3}"
            if await site.ask(f"/count_up?name={name}", cookie, result):
                told[cookie, name] += 1

    async with Site(spec["place"]) as site:
        await asyncio.gather(*(go_on() for _ in range(_AT_ONCE)))
    return result, told


async def check(site: Site, result: Result, told: Told) -> None:
    """Count what was acknowledged and is not there."""
    stored = {}
    for cookie in {cookie for cookie, _ in told}:
        answer = await site.ask("/read", cookie, Result())
        stored[cookie] = json.loads(answer.body)["attributes"] if answer else {}
    for (cookie, name), count in told.items():
        there = stored[cookie].get(name, 0)
        result.lost += max(0, count - there)
        if there > count and not result.failed:
            result.odd.append(f"{count} increments counted as {there}")


def _run(work: Any, place: dict[str, Any], sessions: int, each: int) -> Result:
    async def prepare() -> list[str]:
        async with Site(place) as site:
            return await new_sessions(site, sessions)

    async def verify(told: Told) -> None:
        async with Site(place) as site:
            await check(site, result, told)

    spec = {"place": place, "cookies": asyncio.run(prepare()), "each": each}
    result, everything = run(work, spec)
    asyncio.run(verify(sum(everything, Told())))
    return result


def in_processes(place: dict[str, Any], total: int) -> Result:
    """Let several processes write to the same sessions, over one server."""
    return _run(write_in_process, place, _SESSIONS, total // (WORKERS * _SESSIONS))


def increments(place: dict[str, Any], total: int) -> Result:
    """Let several processes count up the same few attributes of the same few sessions."""
    return _run(count_up, place, _FEW, total // WORKERS)
