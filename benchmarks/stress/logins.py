"""A thousand logins of one user at once, from several processes, under a limit of three."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from benchmarks.stress.report import WORKERS, Result, in_processes
from benchmarks.stress.site import Site

LIMIT = 3
_USER = "alice"


def _site(spec: dict[str, Any]) -> Site:
    limit = {"enabled": True, "max-sessions": LIMIT, "strategy": spec["strategy"]}
    return Site(spec["place"], concurrency=limit)


async def work(worker: int, spec: dict[str, Any]) -> tuple[Result, list[str]]:
    """Send all logins of one process at the same moment; a refusal is an answer."""
    result = Result()
    async with _site(spec) as site:
        asked = (site.ask(f"/enter?user={_USER}", None, result) for _ in range(spec["each"]))
        answers = await asyncio.gather(*asked)
    cookies = [each.cookie() for each in answers if each is not None]
    return result, [each.value for each in cookies if each is not None and not each.is_deletion]


async def _logged_in(spec: dict[str, Any], cookies: list[str]) -> int:
    async with _site(spec) as site:
        answers = [await site.ask("/read", each, Result()) for each in cookies]
    return sum(each is not None and json.loads(each.body)["user"] == _USER for each in answers)


def run(strategy: str, place: dict[str, Any], total: int) -> Result:
    """Log in so many times; ``revived`` are sessions above the limit, ``lost`` those below."""
    spec = {"place": place, "strategy": strategy, "each": total // WORKERS}
    result, given = in_processes(work, spec)
    cookies = [each for found in given for each in found]
    alive = asyncio.run(_logged_in(spec, cookies))
    result.revived += max(0, alive - LIMIT)
    result.lost += max(0, LIMIT - alive)
    result.notes.append(f"{alive} of {len(cookies)} ids are logged in after it")
    return result
