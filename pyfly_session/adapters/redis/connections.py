"""Connections that a busy event loop does not make fail, nor a network that forgot them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pyfly_session.adapters.redis.patience import Patience

T = TypeVar("T", bound=AbstractConnection)

# After that a silent connection may be one that the network has forgotten.
_IDLE_SECONDS = 0.5


def patient(connection_class: type[T]) -> type[T]:  # noqa: C901 - a class, not a function
    """Return a kind of connection with timeouts of ours instead of the driver's.

    The driver's take an answer for late that lies in the socket while the event loop is busy. And
    each answer in the handshake of a connection has the timeout of the connection, not that of the
    command which happens to need it.
    """

    class PatientConnection(connection_class):  # type: ignore[misc, valid-type]
        def __init__(self, **options: Any) -> None:
            self._answer_seconds = options.pop("socket_timeout", None)
            self._connect_seconds = options.pop("socket_connect_timeout", None)
            super().__init__(**options, socket_timeout=None, socket_connect_timeout=None)
            # While the connection is made: begins the time of its next step.
            self._next_step: Callable[[], None] | None = None
            self._used_at = float("-inf")

        @property
        def is_idle(self) -> bool:
            """True if nothing was heard over it for a while."""
            return asyncio.get_running_loop().time() - self._used_at > _IDLE_SECONDS

        async def connect_check_health(self, **options: Any) -> None:
            """As the driver's own; a connection that is new needs no check."""
            if self.is_connected:
                return
            options["check_health"] = False
            try:
                async with Patience(self._connect_seconds) as self._next_step:
                    await super().connect_check_health(**options)
            except TimeoutError as error:
                await self.disconnect(nowait=True)
                raise RedisTimeoutError("Timeout connecting to server") from error
            finally:
                self._next_step = None

        async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
            """As the driver's own, but Sentinels are asked where to connect to."""
            if not self.is_connected:
                if self._next_step is not None:
                    raise RedisConnectionError("Connection closed in its handshake")
                await self.connect()
            try:
                await super().send_packed_command(*arguments, **options)
            except RedisTimeoutError as error:
                raise self._verdict(str(error), idle=self.is_idle) from error

        async def read_response(self, *arguments: Any, **options: Any) -> Any:
            """As the driver's own."""
            if self._next_step is not None:
                self._next_step()
                return await super().read_response(*arguments, **options)
            idle = self.is_idle
            try:
                async with Patience(self._answer_seconds):
                    answer = await super().read_response(*arguments, **options)
            except (TimeoutError, RedisTimeoutError) as error:
                raise self._verdict(f"Timeout reading from {self!r}", idle=idle) from error
            finally:
                self._used_at = asyncio.get_running_loop().time()
            return answer

        def _verdict(self, told: str, *, idle: bool) -> Exception:
            # The driver tries again what met a lost connection, and not what met a slow server.
            return RedisConnectionError(told) if idle else RedisTimeoutError(told)

    return PatientConnection
