"""A thousand logins of one user at once, from several processes, under a limit of three."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.stress import processes
from benchmarks.stress.report import Result, Tally
from benchmarks.stress.site import store_at
from pyfly_session import SecurityContext
from pyfly_session.auto_configuration import close_sessions, create_container, enable_sessions
from pyfly_session.security import context_of, login
from tests.web.driver import Connection

LIMIT = 3
_USER = "alice"
_REFUSED = 409


@dataclass
class Entered:
    """What one worker saw.

    Attributes:
        tally: Logins; a refusal is an answer.
        refused: How many were refused.
        cookies: Ids that were given out.
    """

    tally: Tally = field(default_factory=Tally)
    refused: int = 0
    cookies: list[str] = field(default_factory=list)


async def enter(request: Request) -> PlainTextResponse:
    """Log the one user in."""
    await login(request, SecurityContext(user_id=_USER))
    return PlainTextResponse("welcome")


async def who(request: Request) -> PlainTextResponse:
    """Tell who is logged in."""
    return PlainTextResponse(str(context_of(request.state.session).user_id))


def site(spec: dict[str, Any]) -> tuple[Any, Any]:
    """Return an application with the limit, and its container."""
    concurrency = {"enabled": True, "max-sessions": LIMIT, "strategy": spec["strategy"]}
    redis = {"timeout": 5.0, "deadline": 30.0, **spec["redis"]}
    session = {**store_at(redis), "enabled": True, "concurrency": concurrency}
    container = create_container({"pyfly": {"session": session}})
    app = Starlette(routes=[Route("/enter", enter), Route("/who", who)])
    return enable_sessions(app, container), container


async def work(worker: int, board: processes.Board, spec: dict[str, Any]) -> Entered:
    """Send all logins of one worker process at the same moment."""
    app, container = site(spec)
    seen = Entered()

    async def one() -> None:
        seen.tally.tried += 1
        began = time.monotonic()
        answer = await Connection(app, "/enter").run()
        seen.tally.slowest = max(seen.tally.slowest, time.monotonic() - began)
        seen.tally.acknowledged += answer.status in (200, _REFUSED)
        seen.tally.failed += answer.status >= 500
        seen.refused += answer.status == _REFUSED
        cookie = answer.cookie() if answer.status == 200 else None
        if cookie is not None and not cookie.is_deletion:
            seen.cookies.append(cookie.value)
        board.show(worker, seen.tally)

    await asyncio.gather(*(one() for _ in range(spec["each"])))
    await close_sessions(container)
    return seen


async def usable(spec: dict[str, Any], cookies: list[str]) -> int:
    """Return how many of the ids are logged in now."""
    app, container = site(spec)
    answers = [await Connection(app, "/who", cookie=cookie).run() for cookie in cookies]
    await close_sessions(container)
    return sum(answer.text == _USER for answer in answers)


def run(redis: dict[str, Any], strategy: str, total: int = 1_000) -> Result:
    """Log in so many times; ``revived`` are sessions above the limit, ``lost`` those below."""
    began = time.monotonic()
    result = Result(scenario=f"logins, {strategy}, {processes.WORKERS} processes")
    spec = {"redis": redis, "strategy": strategy, "each": total // processes.WORKERS}
    cookies: list[str] = []
    refused = 0
    for entered in processes.run(f"logins, {strategy}", work, spec, total=total):
        result.add(entered.tally)
        refused += entered.refused
        cookies += entered.cookies
    alive = asyncio.run(usable(spec, cookies))
    result.revived += max(0, alive - LIMIT)
    result.lost += max(0, LIMIT - alive)
    result.notes.append(f"{alive} of {len(cookies)} ids are logged in after it, {refused} refused")
    result.seconds = time.monotonic() - began
    return result
