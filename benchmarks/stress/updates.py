"""Many write to the same sessions at once: nothing is lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from benchmarks.stress import processes
from benchmarks.stress.report import Result, Tally
from benchmarks.stress.site import Site

SESSIONS = 25
_FEW = 4
_AT_ONCE = 8


@dataclass
class Written:
    """What one worker was told of its writes.

    Attributes:
        tally: The counts.
        names: Session and attribute of each acknowledged write.
        counters: How often each session's counter was counted up, at least.
    """

    tally: Tally = field(default_factory=Tally)
    names: list[tuple[str, str]] = field(default_factory=list)
    counters: Counter[tuple[str, str]] = field(default_factory=Counter)


async def new_sessions(site: Site, count: int) -> list[str]:
    """Store so many sessions and return their ids."""
    answers = [await site.ask("/add?name=first", None) for _ in range(count)]
    return [each.session_id for each in answers if each is not None]


async def write(
    site: Site, worker: int, cookies: list[str], each: int, board: processes.Board
) -> Written:
    """Let one writer for each session write so often, all at once."""
    written = Written()

    async def write_on(cookie: str) -> None:
        counter = f"count{worker}"
        for number in range(each):
            name = f"w{worker}.{number}"
            path = f"/add?name={name}&counter={counter}"
            answer = await site.ask(path, cookie, written.tally)
            if answer is not None and answer.status == 200:
                written.names.append((cookie, name))
                written.counters[cookie, counter] += 1
            board.show(worker, written.tally)

    await asyncio.gather(*map(write_on, cookies))
    return written


async def check(site: Site, result: Result, everything: list[Written]) -> None:
    """Add up what the workers were told, and count what of it is not there."""
    stored: dict[str, dict[str, Any]] = {}
    for written in everything:
        result.add(written.tally)
        for cookie, name in written.names:
            if cookie not in stored:
                answer = await site.ask("/read", cookie)
                stored[cookie] = json.loads(answer.body) if answer is not None else {}
            result.lost += name not in stored[cookie]
        for (cookie, counter), count in written.counters.items():
            result.lost += max(0, count - stored[cookie].get(counter, 0))


async def work(worker: int, board: processes.Board, spec: dict[str, Any]) -> Written:
    """Write as one of the worker processes."""
    site = Site(spec["redis"])
    written = await write(site, worker, spec["cookies"], spec["each"], board)
    await site.close()
    return written


def in_processes(redis: dict[str, Any], total: int) -> Result:
    """Let several processes write to the same sessions, over one server."""
    began = time.monotonic()
    each = total // (processes.WORKERS * SESSIONS)
    result = Result(scenario=f"updates, {processes.WORKERS} processes")

    async def prepare() -> list[str]:
        site = Site(redis)
        cookies = await new_sessions(site, SESSIONS)
        await site.close()
        return cookies

    async def verify(everything: list[Written]) -> None:
        site = Site(redis)
        await check(site, result, everything)
        await site.close()

    spec = {"redis": redis, "cookies": asyncio.run(prepare()), "each": each}
    asyncio.run(verify(processes.run("updates", work, spec, total=total)))
    result.seconds = time.monotonic() - began
    return result


async def count_up(worker: int, board: processes.Board, spec: dict[str, Any]) -> Written:
    """Count up attributes that all worker processes count up, by functions of their value."""
    site, written = Site(spec["redis"]), Written()
    turns = iter(range(spec["each"]))

    async def go_on() -> None:
        for turn in turns:
            cookie, name = spec["cookies"][turn % _FEW], f"count{turn % 3}"
            answer = await site.ask(f"/count_up?name={name}", cookie, written.tally)
            if answer is not None and answer.status == 200:
                written.counters[cookie, name] += 1
            board.show(worker, written.tally)

    await asyncio.gather(*(go_on() for _ in range(_AT_ONCE)))
    await site.close()
    return written


def increments(redis: dict[str, Any], total: int) -> Result:
    """Let several processes count up the same few attributes of the same few sessions."""
    began = time.monotonic()
    # Slow is not broken.
    redis = {"timeout": 5.0, "deadline": 30.0, **redis}
    result = Result(scenario=f"increments, {processes.WORKERS} processes")

    async def prepare() -> list[str]:
        site = Site(redis)
        cookies = await new_sessions(site, _FEW)
        await site.close()
        return cookies

    async def verify(everything: list[Written]) -> None:
        site, counted = Site(redis), Counter[tuple[str, str]]()
        for written in everything:
            result.add(written.tally)
            counted += written.counters
        for (cookie, name), count in counted.items():
            answer = await site.ask("/read", cookie)
            stored = json.loads(answer.body).get(name, 0) if answer is not None else 0
            result.lost += max(0, count - stored)
            if stored > count and not result.failed:
                result.odd.append(f"{count} increments counted as {stored}")
        await site.close()

    spec = {"redis": redis, "cookies": asyncio.run(prepare()), "each": total // processes.WORKERS}
    asyncio.run(verify(processes.run("increments", count_up, spec, total=total)))
    if result.failed:
        result.odd.append(f"{result.failed} were answered 5xx")
    result.seconds = time.monotonic() - began
    return result


def in_threads(total: int) -> Result:
    """Let several threads, with an event loop each, write over one memory store."""
    began = time.monotonic()
    each = total // (processes.WORKERS * SESSIONS)
    result = Result(scenario=f"updates, memory, {processes.WORKERS} threads")
    site, board = Site(None), processes.Board()

    async def main() -> None:
        cookies = await new_sessions(site, SESSIONS)
        everything = await asyncio.gather(
            *(
                asyncio.to_thread(lambda n: asyncio.run(write(site, n, cookies, each, board)), n)
                for n in range(processes.WORKERS)
            )
        )
        await check(site, result, list(everything))

    asyncio.run(main())
    result.seconds = time.monotonic() - began
    return result
