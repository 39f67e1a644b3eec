"""The cost of a request inside one process: the application is called directly."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.client import Site, headers_of, receive


@dataclass(frozen=True)
class Round:
    """Some requests in a row.

    Attributes:
        cpu: Microseconds of CPU time of one request: neither waiting counts, nor other processes.
        failed: Those that were not answered 200.
    """

    cpu: float
    failed: int


async def cookies_for(site: Site, size: str | None, count: int) -> list[str | None]:
    """Return the cookies of so many new sessions; without a size, of nobody."""
    if size is None:
        return [None] * count
    return [await site.session(size) for _ in range(count)]


async def spin(
    site: Site,
    path: str,
    cookies: Sequence[str | None],
    in_flight: int,
    seconds: float,
    limit: int | None = None,
) -> Round:
    """Send requests for some seconds, so many at a time; the cookies are taken in turn.

    A site that keeps its data in the cookie gets each new cookie back with the next request.

    Args:
        limit: Stop after so many requests, instead.
    """
    numbers = itertools.count()
    until = time.perf_counter() + (seconds if limit is None else 3600)
    last = limit if limit is not None else 1 << 62
    failed = done = 0
    app, keep = site.app, site.keeps_data_in_cookie

    async def run(mine: list[Any]) -> None:
        nonlocal failed, done
        turns = itertools.cycle(mine)
        current = next(turns)

        async def send(message: Any) -> None:
            nonlocal failed, current
            if message["type"] == "http.response.start":
                failed += message["status"] != 200
                if keep:
                    current = _kept(message["headers"], current)

        while time.perf_counter() < until and next(numbers) < last:
            await app(site.scope(path, current), receive, send)
            done += 1
            if not keep:
                current = next(turns)
            if in_flight > 1:
                # Others' turn, as between the requests of different connections.
                await asyncio.sleep(0)

    headers = [headers_of(each) for each in cookies]
    shares = [headers[index::in_flight] or headers[:1] for index in range(in_flight)]
    began = time.process_time()
    if in_flight == 1:
        await run(shares[0])
    else:
        await asyncio.gather(*(run(share) for share in shares))
    return Round((time.process_time() - began) / max(done, 1) * 1e6, failed)


def _kept(headers: Any, current: Any) -> Any:
    for name, value in headers:
        if name == b"set-cookie":
            return [current[0], (b"cookie", value.partition(b";")[0])]
    return current
