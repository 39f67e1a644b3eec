"""One timer for the answers of a pipeline, instead of one for each.

The driver starts and stops a timer for every answer that it reads, which is a sixth of what a
command costs. A pipeline of ours has a limit as a whole, so its answers need none of their own.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any, TypeVar

from redis.asyncio.connection import AbstractConnection

T = TypeVar("T", bound=AbstractConnection)

_limit: ContextVar[ReadLimit | None] = ContextVar("pyfly_session.read_limit", default=None)


class ReadLimit:
    """The limit of one pipeline, which runs in a task of its own.

    Args:
        timeout: Ends the pipeline; it is brought forward when the first answer is waited for.
    """

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        self._reading = False

    def begin(self, seconds: float) -> None:
        """Take note that answers are waited for, for so long at most."""
        if self._reading:
            return
        self._reading = True
        end, now = self._timeout.when(), asyncio.get_running_loop().time()
        if end is None or now + seconds < end:
            self._timeout.reschedule(now + seconds)


def hold_reads_to(timeout: asyncio.Timeout) -> None:
    """Have the answers that this task reads from now on share one limit."""
    _limit.set(ReadLimit(timeout))


def with_one_timer(connection_class: type[T]) -> type[T]:
    """Return a kind of connection whose timeout holds for a whole pipeline of ours.

    For everybody else it is the driver's: for each answer.
    """

    class PatientConnection(connection_class):  # type: ignore[misc, valid-type]
        socket_timeout: float | None

        async def read_response(self, *arguments: Any, **options: Any) -> Any:
            """As the driver's own."""
            limit, seconds = _limit.get(), self.socket_timeout
            if limit is None or seconds is None:
                return await super().read_response(*arguments, **options)
            limit.begin(seconds)
            # Not as an argument: with one, an error of the network that is called a timeout would
            # be an empty answer. Nobody else has this connection meanwhile.
            self.socket_timeout = None
            try:
                return await super().read_response(*arguments, **options)
            finally:
                self.socket_timeout = seconds

    return PatientConnection
