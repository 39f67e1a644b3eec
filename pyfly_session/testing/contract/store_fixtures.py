"""What the author of a store tells the contract, and what its tests have in common."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from pyfly_session.ids import new_id
from pyfly_session.testing.clock import Clock
from pyfly_session.testing.contract.time_travel import Timeline, moved, waited


def _no_store(self: object) -> None:
    pytest.fail(
        f"{type(self).__name__} has no fixture 'store': define one in the class"
        " that returns or yields a fresh, empty store",
        pytrace=False,
    )


class StoreHooks:
    """The fixtures and hooks of the contract; see `SessionStoreContract`."""

    pytestmark = pytest.mark.anyio

    tick: float = 2**-10
    """Seconds of the store's smallest step of time, where its time can be moved."""

    # Any: a subclass gives its fixture the parameters it likes, under strict type checks too.
    store: Any = pytest.fixture(_no_store)

    # Of the widest scope, so that coroutine fixtures of any scope can be used for the store.
    @pytest.fixture(scope="session")
    @staticmethod
    def anyio_backend() -> str:
        """Return the event loop to run on; the library itself needs asyncio."""
        return "asyncio"

    @pytest.fixture
    def clock(self) -> Clock:
        """Return the clock to give to the store; if it uses it, no test has to wait."""
        return Clock()

    @pytest.fixture
    async def timeline(self, store: Any, clock: Clock) -> Timeline:
        """Return the way to let the store's time pass; found out, not declared."""
        if type(self).advance is not StoreHooks.advance:

            async def move(seconds: float) -> None:
                await self.advance(store, seconds)

            return moved(move, self.tick)
        probe = new_id()
        await store.save(probe, {}, 60)
        await store.exists(probe)
        await store.delete(probe)
        if not clock.used:
            return waited()

        async def move_clock(seconds: float) -> None:
            clock.advance(seconds)

        return moved(move_clock, self.tick)

    async def advance(self, store: Any, seconds: float) -> None:
        """Make ``seconds`` pass for the store. Override it if there is a way but the clock."""
        raise NotImplementedError

    def break_backend(self, store: Any) -> AbstractAsyncContextManager[Any] | None:
        """Return a context within which the store's backend fails, or None if it cannot."""
        return None
