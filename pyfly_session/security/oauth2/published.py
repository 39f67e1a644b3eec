"""`Published`: what a provider publishes, asked for once for all who wait, and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from pyfly_session.security.oauth2.errors import OAuth2LoginError, unreachable

LIFETIME = 3600
"""Seconds after which it is asked for again: what the provider withdrew is no longer used."""

LONGEST = 24 * LIFETIME
"""Seconds that it is used for while the provider cannot be asked."""

PAUSE = 5
"""Seconds after a failure in which the provider is left alone."""

_Value = TypeVar("_Value")


class Published(Generic[_Value]):
    """The provider's configuration, or its keys. Shared by all requests, and event loops.

    Args:
        ask: Asks the provider; raises an `OAuth2LoginError` if that fails.
        clock: Unix time in seconds.
    """

    def __init__(self, ask: Callable[[], Awaitable[_Value]], clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._known: _Value | None = None
        self._known_since = self._renewed_at = self._failed_at = -float("inf")
        self._under_way: asyncio.Task[None] | None = None

    async def get(self) -> _Value:
        """Return it; from memory where it is known, and for a while where it cannot be had.

        Raises:
            OAuth2LoginError: It is not known, and cannot be had now.
        """
        if self._known is None or self._clock() >= self._known_since + LIFETIME:
            await self._renew()
            if self._known is None or self._clock() >= self._known_since + LONGEST:
                raise unreachable()
        return self._known

    async def other_than(self, known: _Value, pause: float = 0) -> _Value:
        """Return a newer one, which the provider is asked for unless it was so just now.

        Args:
            known: The one that does not do.
            pause: Seconds that have to lie between two times that the provider is asked.

        Raises:
            OAuth2LoginError: It cannot be had, or it is too early to ask for it again.
        """
        is_due = self._clock() >= self._renewed_at + pause or self._under_way is not None
        if self._known is known and is_due:
            self._renewed_at = self._clock()
            await self._renew()
        if self._known is None or self._known is known:
            raise unreachable()
        return self._known

    async def _renew(self) -> None:
        if self._clock() < self._failed_at + PAUSE:
            return
        task = self._under_way
        # A task belongs to one event loop.
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = self._under_way = asyncio.create_task(self._ask_now())
        # It goes on for the others if this one is cancelled.
        await asyncio.shield(task)

    async def _ask_now(self) -> None:
        try:
            self._known = await self._ask()
            self._known_since = self._clock()
        except OAuth2LoginError:
            # Logged already.
            self._failed_at = self._clock()
        finally:
            self._under_way = None
