"""Visitors who write without a pause, and notes of what they were told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.topology.shop import LONGEST_REQUEST_SECONDS, Shop
from tests.web.driver import Browser

_RECOVERY_SECONDS = 60.0


class Writer:
    """One visitor, who sets another attribute with each request.

    Attributes:
        acknowledged: The number of each write that was answered 200, and when.
        refused: When a write was answered 503.
    """

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.acknowledged: dict[int, float] = {}
        self.refused: list[float] = []
        self._number = 0

    async def write(self) -> None:
        """Send one request; any answer but 200 and 503, and any late one, is an error."""
        self._number += 1
        began = time.monotonic()
        answer = await self.browser.get(f"/write?w{self._number}=1")
        now = time.monotonic()
        assert now - began < LONGEST_REQUEST_SECONDS, f"{answer.status} after {now - began:.1f} s"
        assert answer.status in (200, 503), answer
        if answer.status == 200:
            self.acknowledged[self._number] = now
        else:
            self.refused.append(now)

    async def lost(self, *, before: float, after: float) -> set[int]:
        """Return the acknowledged writes up to one moment and from another on that are gone."""
        answer = await self.browser.get("/read")
        stored = json.loads(answer.text)
        assert stored["user"] == "alice"
        return {
            number
            for number, at in self.acknowledged.items()
            if (at < before or at > after) and f"w{number}" not in stored
        }


@asynccontextmanager
async def writing(shop: Shop, count: int) -> AsyncIterator[list[Writer]]:
    """Let so many visitors write, each one request after the other, until the end."""
    writers = [Writer(await shop.visitor(user="alice")) for _ in range(count)]
    stop = False

    async def keep_on(writer: Writer) -> None:
        while not stop:
            await writer.write()
            await asyncio.sleep(0.005)

    tasks = [asyncio.ensure_future(keep_on(each)) for each in writers]
    try:
        yield writers
    finally:
        stop = True
        await asyncio.gather(*tasks)


async def recovery(writers: list[Writer]) -> float:
    """Wait until every visitor has had a write acknowledged again, and return when that was."""
    began = time.monotonic()
    while True:
        latest = [max(each.acknowledged.values(), default=0.0) for each in writers]
        if min(latest) > began:
            return time.monotonic()
        assert time.monotonic() - began < _RECOVERY_SECONDS, "the application does not recover"
        await asyncio.sleep(0.02)
