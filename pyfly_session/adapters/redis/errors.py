"""What a Redis driver raises, and what it is for those who use a store."""

from __future__ import annotations

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    NoPermissionError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from pyfly_session.errors import (
    SessionStoreError,
    SessionStoreUnavailableError,
    UnsupportedServerError,
)

UNREACHED = (RedisConnectionError, RedisTimeoutError, RedisClusterException, OSError)
"""What a driver raises if the server was not reached, or did not answer in time."""
FAILURES = (RedisError, UnicodeDecodeError, *UNREACHED)
"""Everything that a driver raises."""

# How servers and what stands before them refuse a command, or one with keys of several slots.
# fakeredis with Lua runs scripts, but has no sha1hex.
_REFUSALS = ("unknown command", "unsupported", "not support", "crossslot", "same slot",
             "bad lua script", "sha1hex")  # fmt: skip


# What a driver or server says, and what to look at. The first that fits counts.
_HINTS = (
    (("invalid username-password", "wrongpass", "noauth", "authenticat"),
     "check pyfly.session.redis.username and password"),
    (("db index is out of range", "invalid db index", "select is not allowed"),
     "check the number of the database at the end of pyfly.session.redis.url"),
    (("name or service not known", "nodename nor servname", "getaddrinfo", "name resolution"),
     "the name does not resolve; check the host in pyfly.session.redis.url"),
    (("certificate_verify_failed",),
     "the server's certificate is not trusted here; check it, or the authorities that are"),
    (("wrong_version_number", "record layer", "connection closed by server",
      "timeout connecting to server"),
     "TLS on one side only looks like that: rediss:// speaks it, redis:// does not"),
)  # fmt: skip


# What a server says to a command, or an option of one, that it does not know; the driver may have
# wrapped it. Ours are always the same, so it is the server that is too old.
_TOO_OLD = ("unknown command", "unknown subcommand", "syntax error")
NEEDED = "Redis 6.2 or newer is needed, or Valkey"


def is_too_old(error: BaseException) -> bool:
    """Return whether a server does not know what is asked of it."""
    found: BaseException | None = error
    while isinstance(found, FAILURES):
        if any(each in str(found).lower() for each in _TOO_OLD):
            return True
        found = found.__cause__ or found.__context__
    return False


class NoScriptingError(ResponseError):
    """The server runs no scripts for us; other commands have to do."""


def lacks_scripting(answer: object) -> bool:
    """Return whether a script was refused for what it is, not for what it does."""
    if not isinstance(answer, ResponseError) or isinstance(answer, NoScriptError):
        return False
    text = str(answer).lower()
    if isinstance(answer, NoPermissionError):
        return "key" not in text
    return any(each in text for each in _REFUSALS)


def told(error: BaseException) -> str:
    """Return what an error says, without the keys that a server repeats."""
    text = str(error).partition(", with args beginning with")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _hinted(error: BaseException) -> str:
    """Return the same, and what to do about it where that is known."""
    text = told(error)
    said = text.lower()
    hint = next((hint for needles, hint in _HINTS if any(n in said for n in needles)), None)
    return text if hint is None else f"{text.rstrip('.')} ({hint})"


def explained(error: BaseException) -> BaseException:
    """Return an error that says what to do, for one that comes of another event loop."""
    if not isinstance(error, RuntimeError) or "loop" not in str(error):
        return error
    made = SessionStoreError(
        "the client of the session store belongs to another event loop; make one for each loop,"
        " or let the container make it from properties, which does so",
        operation="send",
    )
    made.__cause__ = error
    return made


def translated(operation: str, error: Exception) -> SessionStoreError:
    """Return our error for the driver's, at the adapter's edge."""
    if is_too_old(error):
        return UnsupportedServerError(
            "the session store needs Redis 6.2 or newer, or Valkey; this server says:"
            f" {told(error)}",
            operation=operation,
        )
    if isinstance(error, UNREACHED):
        return SessionStoreUnavailableError(
            f"the session store was not reached to {operation}: {_hinted(error)}",
            operation=operation,
        )
    return SessionStoreError(
        f"the session store failed to {operation}: {_hinted(error)}", operation=operation
    )
