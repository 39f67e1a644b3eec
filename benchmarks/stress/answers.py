"""A line that cuts and delays at any byte: no answer may ever reach another request.

Many requests at once, each for a session of its own user, through a relay that passes the bytes
on in pieces of any size and closes connections wherever it likes, while the server forgets its
scripts and kills clients. Each request checks whose session it was given, and that nothing that it
was told is stored has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Any

import redis.asyncio as driver

from benchmarks.stress.report import Result
from pyfly_session import SessionRepository, SessionStoreError
from pyfly_session.adapters.redis import RedisSessionStore
from pyfly_session.adapters.redis.circuit_breaker import Circuit
from pyfly_session.auto_configuration.redis_clients import create_redis_client
from pyfly_session.config import bind_properties
from pyfly_session.core.session import HttpSession
from tests.topology.nodes import HOST

USERS = 64
_LARGE = 24_000
_DEADLINE = 20.0


class Relay:
    """Passes bytes on, in pieces, and not always all of them."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts = 0

    async def start(self) -> int:
        """Return the port where it listens."""
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Close everything."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, self._target)
        # In bytes of either direction; most connections live for some hundred commands.
        left = [int(random.expovariate(1 / 2_000_000)) + 300]
        for each in (self._carry(reader, back, left), self._carry(there, writer, left)):
            task = asyncio.ensure_future(each)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[int]
    ) -> None:
        try:
            while (chunk := await reader.read(random.choice((7, 100, 5_000, 65_536)))) and left[0]:
                passed = chunk[: left[0]]
                left[0] -= len(passed)
                writer.write(passed)
                await writer.drain()
                if random.random() < 0.02:
                    await asyncio.sleep(random.random() * 0.01)
            self.cuts += not left[0]
        except OSError:
            pass
        finally:
            writer.close()


async def _harm(url: str, password: str | None, done: asyncio.Event) -> int:
    """Have the server forget its scripts and kill clients until all is done."""
    times = 0
    async with driver.Redis.from_url(url, password=password) as admin:
        while not done.is_set():
            await asyncio.sleep(0.05)
            with contextlib.suppress(driver.RedisError):
                await admin.script_flush()
                if times % 3 == 0:
                    await admin.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes")
            times += 1
    return times


async def _run(redis: dict[str, Any], count: int) -> Result:  # noqa: C901 - one scenario
    port = int(redis["url"].rpartition(":")[2].partition("/")[0])
    relay, done, began = Relay(port), asyncio.Event(), time.monotonic()
    result = Result(scenario="answers")
    settings = {**redis, "url": f"redis://{HOST}:{await relay.start()}/0", "deadline": _DEADLINE}
    client, closers = create_redis_client(
        bind_properties({"pyfly": {"session": {"redis": settings}}}).redis
    )
    store = RedisSessionStore(client, deadline=_DEADLINE, circuit=Circuit(failures=0))
    repository = SessionRepository(store)
    harm = asyncio.ensure_future(_harm(redis["url"], redis.get("password"), done))

    async def stored(session: HttpSession) -> bool:
        result.tried += 1
        asked = time.monotonic()
        try:
            await repository.commit(session)
        except SessionStoreError:
            result.failed += 1
            return False
        finally:
            result.slowest = max(result.slowest, time.monotonic() - asked)
        result.acknowledged += 1
        return True

    async def user(number: int) -> None:
        session = repository.create()
        session.set_attribute("user", number)
        # A quarter is loaded as large sessions are.
        session.set_attribute("text", "x" * (_LARGE if number % 4 == 0 else 20))
        while not await stored(session):
            pass
        told = tried = 0
        while result.tried < count:
            result.tried += 1
            asked = time.monotonic()
            try:
                loaded = await repository.load(session.id)
            except SessionStoreError:
                result.failed += 1
                continue
            finally:
                waited = time.monotonic() - asked
                result.slowest = max(result.slowest, waited)
                result.late += waited > _DEADLINE + 2
            result.acknowledged += 1
            if loaded is None:
                result.lost += 1
                return
            result.leaked += loaded.get_attribute("user") != number
            if not told <= (loaded.get_attribute("n") or 0) <= tried:
                result.lost += 1
            if tried % 5 == 0 or random.random() < 0.2:
                tried += 1
                loaded.set_attribute("n", tried)
                if await stored(loaded):
                    told = tried

    try:
        await asyncio.gather(*map(user, range(USERS)))
    finally:
        done.set()
        times = await harm
        for close in closers:
            await close()
        await relay.close()
    result.seconds = time.monotonic() - began
    result.notes.append(
        f"{relay.cuts:,} connections cut at any byte, scripts forgotten {times:,} times"
    )
    return result


def run(redis: dict[str, Any], count: int) -> Result:
    """Make so many requests, each of which checks whose session it was given."""
    return asyncio.run(_run(redis, count))
