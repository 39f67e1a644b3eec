"""Cancel a coroutine at any one of the points where it waits."""

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any, Literal

Moment = Literal["waiting", "arrived"]


class CancelledAt:
    """Awaits something, and cancels the task that does when it waits for the n-th time.

    Args:
        work: What to await.
        number: Which of its waits, from 1.
        moment: While it is ``waiting``, or when what it waits for has just ``arrived`` and
            cannot be given back.

    Attributes:
        waits: How often it has waited so far.
    """

    def __init__(self, work: Awaitable[Any], number: int, moment: Moment) -> None:
        self._work = work
        self._number = number
        self._moment = moment
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        steps = self._work.__await__()
        thrown: BaseException | None = None
        while True:
            try:
                future = next(steps) if thrown is None else steps.throw(thrown)
            except StopIteration as end:
                return end.value
            self.waits += 1
            if self.waits == self._number:
                if self._moment == "waiting" or future is None:
                    task.cancel()
                else:
                    # Called before the task itself is woken up.
                    future.add_done_callback(lambda _: task.cancel())
            thrown = None
            try:
                yield future
            except BaseException as error:  # noqa: BLE001 - handed on
                thrown = error


async def cancelled_at(work: Awaitable[Any], number: int, moment: Moment) -> bool:
    """Return whether the work was cancelled; False if it never waited that often."""
    step = CancelledAt(work, number, moment)

    async def run() -> None:
        await step

    task = asyncio.ensure_future(run())
    await asyncio.wait({task})
    if task.cancelled():
        return True
    task.result()
    return step.waits >= number
