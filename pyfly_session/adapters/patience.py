"""One timer for the answers of a pipeline, instead of one for each.

The driver starts and stops a timer for every answer that it reads, which is a sixth of what a
command costs. A pipeline of ours has a limit as a whole, so its answers need none of their own.
"""

from __future__ import annotations

import asyncio
import math
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
        _limit.set(self)

    def begin(self, seconds: float | None) -> None:
        """Take note that answers are waited for, for so long at most."""
        if self._reading or seconds is None:
            return
        self._reading = True
        end, now = self._timeout.when(), asyncio.get_running_loop().time()
        if end is None or now + seconds < end:
            self._timeout.reschedule(now + seconds)


def with_one_timer(connection_class: type[T]) -> type[T]:
    """Return a kind of connection whose timeout holds for a whole pipeline of ours.

    For everybody else it is the driver's: for each answer.
    """

    class PatientConnection(connection_class):  # type: ignore[misc, valid-type]
        async def read_response(self, *arguments: Any, **options: Any) -> Any:
            """As the driver's own."""
            limit = _limit.get()
            if limit is not None and len(arguments) < 2 and "timeout" not in options:
                limit.begin(self.socket_timeout)
                options["timeout"] = math.inf
            return await super().read_response(*arguments, **options)

    return PatientConnection
