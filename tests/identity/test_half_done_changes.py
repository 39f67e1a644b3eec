"""A change of id whose connection breaks between its steps leaves no second live copy behind."""

import itertools
from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal

import pytest
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnectionError

from pyfly_session.adapters.redis import RedisSessionStore
from tests.conftest import Clock
from tests.identity.site import Site

MOST_MS = 30_000
SECRET = "DE00-1234"


class Cable:
    """Counts what is sent to the server, and is cut before a sending of the test's choice."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._heals = False
        self.was_cut = False

    def cut_before(self, number: int, *, heals: bool) -> None:
        """Lose the sending with this number, counted from now; if it heals, that one alone."""
        self._left, self._heals = number, heals

    def heal(self) -> None:
        self._left = None

    def carry(self) -> None:
        if self._left is None:
            return
        if self._left > 0:
            self._left -= 1
            return
        self.was_cut = True
        if self._heals:
            self._left = None
        raise LostConnectionError("the cable is cut")


class CabledConnection(aioredis.Connection):
    """A connection to the server that goes over a cable."""

    def __init__(self, *, cable: Cable, **options: Any) -> None:
        super().__init__(**options)
        self._cable = cable

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        try:
            self._cable.carry()
        except LostConnectionError:
            await self.disconnect(nowait=True)
            raise
        await super().send_packed_command(command, check_health)


class Wiring:
    """Two processes, the first one over a cable, and a look at what the server keeps."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.cable = Cable()
        pool = aioredis.ConnectionPool.from_url(
            url, connection_class=CabledConnection, cable=self.cable, retry=Retry(NoBackoff(), 0)
        )
        self.cabled: aioredis.Redis = aioredis.Redis(connection_pool=pool)
        self.plain: aioredis.Redis = aioredis.from_url(url)
        stores = iter([RedisSessionStore(self.cabled), RedisSessionStore(self.plain)])
        self.site = Site(lambda: next(stores), clock, {}, two=True, watched=False)

    async def copies(self) -> dict[str, int]:
        """Return each key that holds what the session holds, and the milliseconds it has left."""
        found = {}
        async for key in self.plain.scan_iter("*"):
            if await self.plain.type(key) == b"string" and SECRET.encode() in (
                await self.plain.get(key) or b""
            ):
                found[key.decode()] = await self.plain.pttl(key)
        return found

    async def close(self) -> None:
        self.cable.heal()
        for process in self.site.processes:
            await process.close()
        await self.cabled.aclose()
        await self.cabled.connection_pool.disconnect()
        await self.plain.aclose()


@pytest.fixture
async def wirings(valkey: aioredis.Redis, valkey_url: str, clock: Clock) -> AsyncIterator[Any]:
    """Return a function that makes a wiring over the server, emptied before."""
    made: list[Wiring] = []

    async def make() -> Wiring:
        await valkey.flushdb()
        made.append(Wiring(valkey_url, clock))
        return made[-1]

    yield make
    for wiring in made:
        await wiring.close()


@pytest.mark.parametrize("broken", ["once", "from then on"])
@pytest.mark.parametrize("path", ["/renew", "/enter?user=alice"])
async def test_change_of_id_that_breaks_leaves_no_copy_that_lives_on(
    wirings: Any, path: str, broken: Literal["once", "from then on"]
) -> None:
    """Whatever the server did not hear of: the former id opens the session, and no other does."""
    for number in itertools.count():
        wiring: Wiring = await wirings()
        here, there = wiring.site.here, wiring.site.there
        former = (await there.ask(f"/enter?user=alice&iban={SECRET}")).session_id
        await there.ask("/remember", former)
        wiring.site.clock.advance(1)
        change = await here.begin(path, former)
        wiring.cable.cut_before(number, heals=broken == "once")
        answer = await change.finish()
        wiring.cable.heal()
        if answer.status == 200:
            # It came to its end, and only what is not needed for that got lost.
            assert (await there.opens(answer.session_id)).user == "alice"
        else:
            assert answer.status == 503
            copies = await wiring.copies()
            original = copies.pop(f"pyfly:session:{former}", 0)
            assert original > MOST_MS
            assert [left for left in copies.values() if not 0 < left <= MOST_MS] == []
            assert (await there.opens(former)).user == "alice"
            await there.ask("/leave", former)
        if not wiring.cable.was_cut:
            assert answer.status == 200
            break
    assert number > 1, "the change of id took no two steps that could have come apart"
