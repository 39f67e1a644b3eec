"""The Redis store alone: the server's CPU, and more requests than a slow server can carry."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import redis

from pyfly_session.adapters.redis import RedisSessionStore
from pyfly_session.auto_configuration.redis_clients import create_redis_client
from pyfly_session.config import bind_properties
from pyfly_session.errors import SessionStoreError

IN_FLIGHT = 64
SIZES = {"200 B": 200, "60 KB": 60_000}
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
    """Return the microseconds of the server's CPU that a load and a swap take."""
    return asyncio.run(_server_cpu(port, seconds))


def overloaded(port: int, seconds: float) -> Overload:
    """Return what overload for so many seconds comes to."""
    return asyncio.run(_overloaded(port, seconds))


def _value(size: int) -> bytes:
    head = b'{"_created_at":1.5,"_last_accessed":1.5,"_version":"%s","text":"'
    return head % secrets.token_hex(8).encode() + b"x" * (size - 80) + b'"}'


@contextlib.asynccontextmanager
async def _store(port: int) -> Any:
    tree = {"pyfly": {"session": {"redis": {"url": f"redis://127.0.0.1:{port}/0"}}}}
    client, closers = create_redis_client(bind_properties(tree).redis)
    try:
        yield RedisSessionStore(client, deadline=_DEADLINE)
    finally:
        for close in closers:
            await close()


async def _server_cpu(port: int, seconds: float) -> dict[str, float]:
    found: dict[str, float] = {}
    with redis.Redis(port=port) as admin:

        def used() -> float:
            told = admin.info("cpu")
            return float(told["used_cpu_user"] + told["used_cpu_sys"])

        async with _store(port) as store:
            for name, size in SIZES.items():
                stored = {secrets.token_hex(16): _value(size) for _ in range(IN_FLIGHT)}
                for each, value in stored.items():
                    await store.create_if_absent(each, value, 60)
                for kind in ("load", "swap"):
                    # Once before: so that it knows how large they are.
                    for _ in range(2):
                        count, began = 0, used()
                        end = time.monotonic() + seconds / 2
                        while time.monotonic() < end:
                            if kind == "load":
                                await asyncio.gather(*(store.load_and_slide(n, 60) for n in stored))
                            else:
                                new = {each: _value(size) for each in stored}
                                swaps = (
                                    store.compare_and_swap(n, stored[n], new[n], 60) for n in stored
                                )
                                await asyncio.gather(*swaps)
                                stored = new
                            count += IN_FLIGHT
                        found[f"{kind} {name}"] = (used() - began) / count * 1e6
    return found


async def _overloaded(port: int, seconds: float) -> Overload:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        loop = asyncio.get_running_loop()

        async def commands() -> None:
            while chunk := await reader.read(1 << 20):
                back.write(chunk)
            back.close()

        passing = asyncio.ensure_future(commands())
        while chunk := await there.read(1 << 20):
            loop.call_later(_ANSWER_SECONDS, writer.write, chunk)
        await passing
        writer.close()

    slow = await asyncio.start_server(relay, "127.0.0.1", 0)
    served: Counter[int] = Counter()
    lost: list[float] = []
    waits: list[float] = []
    tasks: set[asyncio.Task[None]] = set()
    began = time.monotonic()
    async with _store(slow.sockets[0].getsockname()[1]) as store:
        session_id = secrets.token_hex(16)
        await store.create_if_absent(session_id, _value(200), 3600)

        async def one() -> None:
            asked = time.monotonic()
            try:
                await store.load_and_slide(session_id, 3600)
                served[int(time.monotonic() - began)] += 1
            except SessionStoreError:
                lost.append(asked)
            waits.append(time.monotonic() - asked)

        async def offer(rate: float, length: float) -> None:
            end = time.monotonic() + length
            while time.monotonic() < end:
                for _ in range(int(rate / _TICKS)):
                    task = asyncio.ensure_future(one())
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                await asyncio.sleep(1 / _TICKS)

        # Connections are made, and what it can carry is measured.
        await offer(4_000, 3)
        await asyncio.gather(*tasks)
        served.clear()
        waits.clear()
        began = time.monotonic()
        await offer(4_000, 4)
        carried = max(served[2], served[3])
        await asyncio.gather(*tasks)
        served.clear()
        waits.clear()
        lost.clear()
        began = time.monotonic()
        await offer(1.5 * carried, seconds)
        over = time.monotonic()
        await offer(carried / 2, 4)
        await asyncio.gather(*tasks)
        seconds_of = range(2, int(seconds))
        slowest, least = max(waits), min(served[each] for each in seconds_of)
    slow.close()
    after = [each - over for each in lost if each > over]
    return Overload(least / carried, slowest, max(after, default=0.0))
