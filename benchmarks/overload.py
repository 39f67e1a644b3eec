"""The Redis store alone: the server's CPU, and more requests than a slow server can carry."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import redis
from redis.asyncio import Redis

from benchmarks.relay import Pass, pass_on, relay
from pyfly_session.adapters.redis import KEY_PREFIX, RedisSessionStore
from pyfly_session.auto_configuration.redis_clients import create_redis_client
from pyfly_session.config import bind_properties
from pyfly_session.errors import SessionStoreError

IN_FLIGHT = 64
SIZES = {"200 B": 200, "60 KB": 60_000}
PLAIN = {"200 B": 1.3, "60 KB": 13.0}
"""Microseconds of the server's CPU for one GETEX in a pipeline of 64, where the goals were set."""
_ANSWER_SECONDS = 0.25
_DEADLINE = 2.0
_TICKS = 50


@dataclass(frozen=True)
class Overload:
    """What became of requests that were 1.5 times as many as the server could carry.

    Attributes:
        share: The least of a second's, from the second one on, of what it can carry.
        slowest: Seconds of the longest wait; each has a deadline of two.
        recovered: Seconds after the end until all were served again.
    """

    share: float
    slowest: float
    recovered: float


def server_cpu(port: int, seconds: float) -> dict[str, float]:
    """Return the microseconds of the server's CPU for a load and a swap, in the time of `PLAIN`."""
    return asyncio.run(_server_cpu(port, seconds))


def overloaded(port: int, warm_up: float, seconds: float) -> Overload:
    """Return what overload for so many seconds comes to."""
    return asyncio.run(_overloaded(port, warm_up, seconds))


def _value(size: int) -> bytes:
    head = b'{"_created_at":1.5,"_last_accessed":1.5,"_version":"%s","text":"'
    return head % secrets.token_hex(8).encode() + b"x" * (size - 80) + b'"}'


@contextlib.asynccontextmanager
async def _store(port: int) -> AsyncIterator[RedisSessionStore]:
    tree = {"pyfly": {"session": {"redis": {"url": f"redis://127.0.0.1:{port}/0"}}}}
    client, closers = create_redis_client(bind_properties(tree).redis)
    try:
        yield RedisSessionStore(client, deadline=_DEADLINE)
    finally:
        for close in closers:
            await close()


async def _server_cpu(  # noqa: C901 - three small steps
    port: int, seconds: float
) -> dict[str, float]:
    found: dict[str, float] = {}
    async with _store(port) as store, Redis(port=port) as client:
        for name, size in SIZES.items():
            spent: dict[str, float] = {}
            stored = {secrets.token_hex(16): _value(size) for _ in range(IN_FLIGHT)}
            for each, value in stored.items():
                await store.create_if_absent(each, value, 60)

            async def load(stored: dict[str, bytes] = stored) -> None:
                await asyncio.gather(*(store.load_and_slide(each, 60) for each in stored))

            async def swap(stored: dict[str, bytes] = stored, size: int = size) -> None:
                new = {each: _value(size) for each in stored}
                await asyncio.gather(
                    *(store.compare_and_swap(each, stored[each], new[each], 60) for each in stored)
                )
                stored |= new

            async def plain(stored: dict[str, bytes] = stored) -> None:
                pipeline = client.pipeline(transaction=False)
                for each in stored:
                    pipeline.getex(f"{KEY_PREFIX}{each}", ex=60)
                await pipeline.execute()

            for kind, step in (("plain", plain), ("load", load), ("swap", swap)):
                # Once before: so that it knows how large they are.
                for _ in range(2):
                    count, began = 0, _cpu(port)
                    end = time.monotonic() + seconds / 2
                    while time.monotonic() < end:
                        await step()
                        count += IN_FLIGHT
                    spent[kind] = (_cpu(port) - began) / count
            for kind in ("load", "swap"):
                found[f"{kind} {name}"] = spent[kind] / spent["plain"] * PLAIN[name]
    return found


def _cpu(port: int) -> float:
    with redis.Redis(port=port) as admin:
        told: Any = admin.info("cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"])


def _slow_line() -> tuple[Pass, Pass]:
    loop = asyncio.get_running_loop()

    async def late(chunk: bytes, writer: asyncio.StreamWriter) -> None:
        loop.call_later(_ANSWER_SECONDS, writer.write, chunk)

    return pass_on, late


class _Offered:
    """Loads of one session that were offered, and what became of them."""

    def __init__(self, store: RedisSessionStore, session_id: str) -> None:
        self._store, self._id = store, session_id
        self.served: Counter[int] = Counter()
        self.lost: list[float] = []
        self.waits: list[float] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._began = time.monotonic()

    async def offer(self, rate: float, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._tasks += [asyncio.create_task(self._one()) for _ in range(int(rate / _TICKS))]
            await asyncio.sleep(1 / _TICKS)

    async def end(self) -> None:
        await asyncio.gather(*self._tasks)

    async def _one(self) -> None:
        asked = time.monotonic()
        try:
            await self._store.load_and_slide(self._id, 3600)
            self.served[int(time.monotonic() - self._began)] += 1
        except SessionStoreError:
            self.lost.append(asked)
        self.waits.append(time.monotonic() - asked)


async def _overloaded(port: int, warm_up: float, seconds: float) -> Overload:
    session_id = secrets.token_hex(16)
    async with relay(port, _slow_line) as slow, _store(slow) as store:
        await store.create_if_absent(session_id, _value(200), 3600)
        # Connections are made, and what it can carry is measured.
        for each in (warm_up, warm_up + 1):
            before = _Offered(store, session_id)
            await before.offer(4_000, each)
            await before.end()
        carried = max(count for second, count in before.served.items() if second)
        met = _Offered(store, session_id)
        await met.offer(1.5 * carried, seconds)
        over = time.monotonic()
        await met.offer(carried / 2, seconds / 2)
        await met.end()
    least = min(met.served[each] for each in range(2, int(seconds)))
    after = [each - over for each in met.lost if each > over]
    return Overload(least / carried, max(met.waits), max(after, default=0.0))
