"""What a Redis driver raises, and what it is for those who use a store."""

from __future__ import annotations

from redis.exceptions import RedisError, ResponseError

from pyfly_session.adapters.redis.pipelining import UNREACHED
from pyfly_session.errors import (
    SessionStoreError,
    SessionStoreUnavailableError,
    UnsupportedServerError,
)

FAILURES = (RedisError, UnicodeDecodeError, *UNREACHED)
"""Everything that a driver raises."""


def translated(operation: str, error: Exception) -> SessionStoreError:
    """Return our error for the driver's, at the adapter's edge."""
    if isinstance(error, UNREACHED):
        return SessionStoreUnavailableError(
            f"the session store was not reached to {operation}: {_told(error)}",
            operation=operation,
        )
    if operation == "load" and _is_unknown_command(error):
        return UnsupportedServerError(
            f"the session store needs Redis 6.2 or newer, or Valkey; this server says: {error}",
            operation=operation,
        )
    return SessionStoreError(
        f"the session store failed to {operation}: {_told(error)}", operation=operation
    )


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _is_unknown_command(error: BaseException | None) -> bool:
    return isinstance(error, ResponseError) and "unknown command" in str(error).lower()


def lacks_scripting(error: BaseException | None) -> bool:
    # fakeredis with Lua runs scripts, but has no sha1hex.
    return _is_unknown_command(error) or (
        isinstance(error, ResponseError) and "sha1hex" in str(error)
    )
