"""`Lifetime`: how long one session and its cookie live, where that is not as configured for all."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pyfly_session.core import metadata as meta

_LONGEST = 2**31 - 1


class Lifetime(NamedTuple):
    """What a session has of its own.

    Attributes:
        idle: Seconds without access after which it ends; None: as for all sessions.
        ends_at: Unix time when it ends, however much it is used; None: not by a fixed time.
        persistent: Whether the browser keeps the cookie for so long, or until it is closed
            itself; None: as configured for all.
    """

    idle: int | None = None
    ends_at: float | None = None
    persistent: bool | None = None

    def idle_time(self, now: float) -> int | None:
        """Return after how many seconds without access it ends from now."""
        if self.ends_at is None:
            return self.idle
        return max(1, math.ceil(self.ends_at - now))


def lifetime_of(metadata: Callable[[str], Any]) -> Lifetime | None:
    """Return what a session's metadata, by name, says of its life; None if that is nothing."""
    own = Lifetime(*map(metadata, _NAMES))
    return None if own == _COMMON else own


_COMMON = Lifetime()
_NAMES = (meta.MAX_INACTIVE_INTERVAL, meta.ENDS_AT, meta.COOKIE_PERSISTENT)


def lifetime_metadata(
    value: int | timedelta | datetime | None, persistent: bool | None, now: float
) -> dict[str, Any]:
    """Return the metadata of a lifetime that an application chose.

    A fixed end has an idle time beside it, for stores that know nothing else.

    Raises:
        ValueError: The value is no such time.
        TypeError: ``persistent`` is neither a bool nor None.
    """
    if persistent is not None and type(persistent) is not bool:
        raise TypeError(f"persistent must be True, False or None, got {persistent!r}")
    seconds, ends_at = value, None
    if isinstance(value, timedelta):
        seconds = value // timedelta(seconds=1) if not value % timedelta(seconds=1) else value
    elif isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError(
                f"the end of a session needs a time zone, got {value!r}; add one, such as"
                " tzinfo=datetime.UTC"
            )
        ends_at = value.timestamp()
        seconds = math.ceil(ends_at - now)
        if not 1 <= seconds <= _LONGEST:
            raise ValueError(
                f"the end of a session must be in the future, and within 68 years, got {value};"
                " invalidate() ends it now"
            )
    if seconds is not None and not meta.is_interval(seconds):
        raise ValueError(
            "the idle time must be a whole number of seconds, at least 1, a timedelta of such, or"
            f" the datetime when the session ends, got {value!r}"
        )
    chosen = dict(zip(_NAMES, (seconds, ends_at, persistent), strict=True))
    return {**chosen, meta.ANONYMOUS: None}
