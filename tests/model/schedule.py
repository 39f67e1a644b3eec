"""A store that lets two requests go on step by step, in an order that a test decides."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from tests.interposed import InterposedStore

# Turns of the event loop in which nothing came; a call of a fake server takes a few.
_LONG_QUIET = 100


class SteppingStore(InterposedStore):
    """As `InterposedStore`; while two requests run, each call waits for its turn."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._waiting: dict[asyncio.Task[Any], asyncio.Future[None]] = {}
        self._arrived = asyncio.Event()
        self._stepping = False

    async def _call(self, operation: str, *args: Any) -> Any:
        task = asyncio.current_task()
        if self._stepping and task is not None:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[task] = turn
            self._arrived.set()
            await turn
        return await super()._call(operation, *args)

    async def run_both(
        self, first: Coroutine[Any, Any, Any], second: Coroutine[Any, Any, Any], turns: list[bool]
    ) -> list[Any]:
        """Run both to their end; each turn says whether the second makes the next call."""
        self._stepping = True
        tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
        order: Iterator[bool] = iter(turns)
        try:
            while not all(task.done() for task in tasks):
                await self._rest(tasks)
                if self._waiting:
                    wanted = tasks[next(order, False)]
                    # A call may come from a task that one of the two has started.
                    chosen = wanted if wanted in self._waiting else next(iter(self._waiting))
                    self._waiting.pop(chosen).set_result(None)
        finally:
            self._stepping = False
        return await asyncio.gather(*tasks)

    async def _rest(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Wait until each of the two waits for its turn or for the other, or has ended."""
        quiet = 0
        while not all(task.done() or task in self._waiting for task in tasks):
            if self._waiting:
                # One may stand in line behind the other, and would do so for ever.
                quiet += 1
                if quiet > _LONG_QUIET:
                    return
                await asyncio.sleep(0)
                continue
            self._arrived.clear()
            arrival = asyncio.ensure_future(self._arrived.wait())
            moving = {task for task in tasks if not task.done()}
            await asyncio.wait({arrival, *moving}, return_when=asyncio.FIRST_COMPLETED)
            arrival.cancel()
