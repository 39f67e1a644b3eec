"""Waiting for what nobody announces."""

import asyncio
from collections.abc import Awaitable, Callable

_AT_MOST_SECONDS = 60


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until it holds; far beyond any doubt, give up."""
    async with asyncio.timeout(_AT_MOST_SECONDS):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.005)
