"""A line that cuts and delays at any byte, while the server forgets scripts and kills clients.

Many requests at once, each for a session of its own user, check whose session they were given, and
that nothing has gone that they were told is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Any

import redis.asyncio as driver

from benchmarks.relay import HOST, Pass, relay
from benchmarks.stress.report import Result
from pyfly_session import SessionRepository, SessionStoreError
from pyfly_session.adapters.redis import RedisSessionStore
from pyfly_session.adapters.redis.circuit_breaker import Circuit
from pyfly_session.auto_configuration.redis_clients import create_redis_client
from pyfly_session.config import bind_properties

_USERS = 64
# A quarter is loaded as large sessions are.
_LARGE = 24_000
_DEADLINE = 20.0
# Of either direction; most connections live for some hundred commands.
_BYTES_BEFORE_CUT = 2_000_000


class _Line:
    """What becomes of the bytes of one connection."""

    cuts = 0

    def __init__(self) -> None:
        self._left = int(random.expovariate(1 / _BYTES_BEFORE_CUT)) + 300

    async def pass_on(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        while chunk:
            most = min(random.choice((7, 100, 5_000, 65_536)), self._left)
            writer.write(chunk[:most])
            await writer.drain()
            chunk = chunk[most:]
            self._left -= most
            if not self._left:
                _Line.cuts += 1
                raise ConnectionResetError
            if random.random() < 0.02:
                await asyncio.sleep(random.random() * 0.01)

    @classmethod
    def both(cls) -> tuple[Pass, Pass]:
        line = cls()
        return line.pass_on, line.pass_on


async def _harm(place: dict[str, Any]) -> None:
    """Have the server forget its scripts and kill clients, again and again."""
    async with driver.Redis.from_url(place["url"], password=place["password"]) as admin:
        for times in range(10**9):
            await asyncio.sleep(0.05)
            with contextlib.suppress(driver.RedisError):
                await admin.script_flush()
                if times % 3 == 0:
                    await admin.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes")


async def _use(repository: SessionRepository, number: int, total: int, result: Result) -> None:
    """Load and change the session of one user, as long as all have not asked for so much."""

    async def done(request: Any) -> tuple[bool, Any]:
        result.tried += 1
        asked = time.monotonic()
        try:
            answer = await request
        except SessionStoreError:
            result.failed += 1
            return False, None
        finally:
            waited = time.monotonic() - asked
            result.slowest = max(result.slowest, waited)
            result.late += waited > _DEADLINE + 2
        result.acknowledged += 1
        return True, answer

    session = repository.create()
    session.set_attribute("user", number)
    session.set_attribute("text", "x" * (_LARGE if number % 4 == 0 else 20))
    while not (await done(repository.commit(session)))[0]:
        pass
    stored = written = 0
    while result.tried < total:
        answered, loaded = await done(repository.load(session.id))
        if not answered:
            continue
        if loaded is None:
            result.lost += 1
            return
        result.leaked += loaded.get_attribute("user") != number
        result.lost += not stored <= (loaded.get_attribute("n") or 0) <= written
        if random.random() < 0.3:
            written += 1
            loaded.set_attribute("n", written)
            if (await done(repository.commit(loaded)))[0]:
                stored = written


async def _run(place: dict[str, Any], total: int) -> Result:
    result, began = Result(), time.monotonic()
    port = int(place["url"].rpartition(":")[2].partition("/")[0])
    async with relay(port, _Line.both) as cut:
        given = {**place, "url": f"redis://{HOST}:{cut}/0", "deadline": _DEADLINE}
        properties = bind_properties({"pyfly": {"session": {"redis": given}}}).redis
        client, closers = create_redis_client(properties)
        store = RedisSessionStore(client, deadline=_DEADLINE, circuit=Circuit(failures=0))
        repository = SessionRepository(store)
        harm = asyncio.ensure_future(_harm(place))
        try:
            await asyncio.gather(*(_use(repository, n, total, result) for n in range(_USERS)))
        finally:
            harm.cancel()
            for close in closers:
                await close()
    result.seconds = time.monotonic() - began
    result.notes.append(f"{_Line.cuts:,} connections were cut")
    return result


def run(place: dict[str, Any], total: int) -> Result:
    """Make so many requests, each of which checks whose session it was given."""
    return asyncio.run(_run(place, total))
