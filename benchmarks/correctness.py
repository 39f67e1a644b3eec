"""Whether what was written is there, whether what ended is gone, and who is turned away."""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass

from benchmarks import work
from benchmarks.client import Site

WRITERS = 64
MEETINGS = {
    "different attributes": ([f"/mark/{n}" for n in range(WRITERS)], "/marks"),
    "update_attribute of one": (["/update"] * WRITERS, "/updates"),
}
"""What writers ask for that meet in one session, and what tells how many were kept."""

_PATIENCE_SECONDS = 10


@dataclass(frozen=True)
class Kept:
    """How a site did with requests that met in one session.

    Attributes:
        written: Attributes that were written, each by a request that was answered 200.
        lost: Those that were not there afterwards.
        ended: Sessions that were logged out while another request was using them.
        revived: Those that were there again.
    """

    written: int
    lost: int
    ended: int
    revived: int


@dataclass(frozen=True)
class Met:
    """What it took that many writers met in one session of ours.

    Attributes:
        swaps: Times that the store compared and swapped.
        cpu: Microseconds of CPU for each writer.
        lost: Writes that were answered 200 and are gone.
    """

    swaps: int
    cpu: float
    lost: int


async def meet(site: Site, kind: str) -> Met:
    """Send all writers at once."""
    paths, counter = MEETINGS[kind]
    cookie = await site.session()
    work.swaps, began = 0, time.process_time()
    answers = await asyncio.gather(*(site.ask(path, cookie) for path in paths))
    swaps, cpu = work.swaps, (time.process_time() - began) / WRITERS * 1e6
    done = sum(each.status == 200 for each in answers)
    kept = int((await site.ask(counter, cookie)).body)
    if not swaps:
        raise RuntimeError("the store's compare_and_swap was not called")
    return Met(swaps, cpu, done - kept)


async def races(site: Site, rounds: int, writers: int) -> Kept:
    """Let writers of different attributes meet, and then a writer and a logout."""
    written = lost = revived = 0
    for _ in range(rounds):
        cookie = await site.session()
        work.gate.close()
        tasks = [asyncio.ensure_future(site.ask(f"/mark/{n}", cookie)) for n in range(writers)]
        await _all_wait(writers)
        work.gate.open()
        answers = await asyncio.gather(*tasks)
        done = sum(each.status == 200 for each in answers)
        # A browser has the cookie of the last answer.
        cookie = answers[-1].cookie or cookie
        written += done
        lost += max(0, done - int((await site.ask("/marks", cookie)).body))

        cookie = await site.session()
        work.gate.close()
        slow = asyncio.ensure_future(site.ask("/mark/late", cookie))
        await _all_wait(1)
        await site.ask("/logout", cookie)
        work.gate.open()
        await slow
        left = [await site.ask("/read", cookie), await site.ask("/marks", cookie)]
        revived += left[0].body == work.USER or int(left[1].body) > 0
    return Kept(written, lost, rounds, revived)


async def _all_wait(count: int) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while work.gate.held < count:  # noqa: ASYNC110 - so do they
            await asyncio.sleep(0)


async def crowd(site: Site, count: int) -> int:
    """Send so many requests at once, and count those that did not get their session."""
    cookies = [await site.session() for _ in range(50)]

    async def ask(number: int) -> bool:
        try:
            answer = await site.ask("/read", cookies[number % 50])
        except Exception:  # noqa: BLE001 - it is what we count
            return False
        return answer.body == work.USER

    return (await asyncio.gather(*map(ask, range(count)))).count(False)


async def garbage(site: Site, requests: int) -> dict[str, float]:
    """Return how many objects of a request only the cyclic collector can free, by its path."""
    found = {}
    for path in ("/read", "/write", "/new", "/logout", "/fail"):
        cookies = [await site.session() for _ in range(requests + 1)]
        await _ask_quietly(site, path, cookies.pop())
        gc.collect()
        gc.disable()
        try:
            for each in cookies:
                await _ask_quietly(site, path, each)
            found[path] = gc.collect() / requests
        finally:
            gc.enable()
    return found


async def _ask_quietly(site: Site, path: str, cookie: str) -> None:
    try:
        await site.ask(path, cookie)
    except ValueError:
        return  # the handler's own
