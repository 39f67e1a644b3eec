"""Clients of servers, each of which belongs to one event loop, closed by whoever made them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

Close: TypeAlias = Callable[[], Awaitable[Any]]
Create: TypeAlias = Callable[[Any], tuple[Any, list[Close]]]


class PerLoop:
    """The clients of one kind that one container made. Lives as long as the container.

    There is one for each event loop, and one for whoever asks outside of a loop. A new one is
    made when the properties change, or after `close`.
    """

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[object, _Made] = WeakKeyDictionary()

    def get(self, properties: Any, create: Create) -> Any:
        """Return the running loop's client for these properties.

        Args:
            properties: What the client is made of.
            create: Makes it, and tells what closes it.
        """
        here = self._here()
        made = self._made.get(here)
        if made is None:
            for each in list(self._made):
                if isinstance(each, asyncio.AbstractEventLoop) and each.is_closed():
                    del self._made[each]
            made = self._made[here] = _Made(properties, *create(properties))
            if here is not self:
                made.guard = self._until_the_loop_ends()
                with contextlib.suppress(StopIteration):
                    made.guard.asend(None).send(None)
        elif made.properties != properties:
            made.client, closers = create(properties)
            made.properties, made.closers = properties, closers + made.closers
        return made.client

    def _here(self) -> object:
        """Return the running event loop; outside of one this object stands for it."""
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            return self

    async def _until_the_loop_ends(self) -> AsyncGenerator[None]:
        # A loop that ends, such as that of `asyncio.run`, closes the generators that it began.
        try:
            yield
        finally:
            made = self._made.get(self._here())
            if made is not None:
                made.guard = None
                await self.close()

    @property
    def any(self) -> bool:
        """True if there is a client, be it of another loop."""
        return bool(self._made)

    async def close(self) -> None:
        """Close the running loop's clients; the next `get` makes a new one.

        Another loop's connections cannot be closed from here; they go when that loop ends.
        """
        for place in (self._here(), self):
            made = self._made.pop(place, None)
            for close in made.closers if made else ():
                await close()
            if made is not None and made.guard is not None:
                await made.guard.aclose()


@dataclass(slots=True)
class _Made:
    properties: Any
    client: Any
    closers: list[Close]
    guard: AsyncGenerator[None] | None = None
