"""Work that goes on when the request that began it is gone, and the wait before another try."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Any

from pyfly_session.errors import SessionError

_logger = logging.getLogger(__name__)


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of the caller.

    Raises:
        SessionError: It is none of asyncio's.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise SessionError(
            "sessions need asyncio, and this is another event loop, Trio's perhaps; serve the"
            " application with asyncio, as uvicorn and 'hypercorn --worker-class asyncio' do"
        ) from None


class BackgroundTasks:
    """Keeps store operations that have to come to their end. Shared by all event loops."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await the work; if the caller is cancelled meanwhile, the work goes on without it."""
        return await asyncio.shield(self.finish_later(work))

    def finish_later(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start the work on its own; `drain` waits for it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _logger.debug("a store operation ended with an error", exc_info=task.exception())

    async def drain(self) -> None:
        """Wait for what this loop has begun, before its client is closed."""
        loop = asyncio.get_running_loop()
        # One that is done may still be listed; to await it would not let the loop unlist it.
        while tasks := [
            task for task in list(self._tasks) if task.get_loop() is loop and not task.done()
        ]:
            await asyncio.gather(*tasks, return_exceptions=True)


async def back_off(attempt: int, seconds: float = 0.001) -> None:
    """Spread out writers that keep meeting each other, each time by so much more."""
    await asyncio.sleep(random.uniform(0, seconds * attempt))  # noqa: S311 - no secret
