"""What listeners are told of sessions: created, destroyed and why, given another id.

No event has the id of a session: whoever has that is logged in. It has the handle that log
lines and the command line show; the events of one session have the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

__all__ = [
    "SessionCreated",
    "SessionDestroyed",
    "SessionEvent",
    "SessionIdChanged",
    "SessionListener",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent:
    """Something that has happened to a stored session.

    Attributes:
        handle: A short hash of the session's id.
        principal: Whose session it is, None if nobody is logged in or that cannot be told.
        at: Unix time in seconds when it was noticed.
    """

    handle: str
    principal: str | None
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreated(SessionEvent):
    """A session was stored for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionIdChanged(SessionEvent):
    """A session goes on under another id, after a login for example.

    Attributes:
        former: The handle that it had before; ``handle`` is the new one.
    """

    former: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDestroyed(SessionEvent):
    """A session has ended.

    Attributes:
        reason: ``invalidated`` by its own request, a logout for example; ``expired``;
            ``evicted`` by another login of the same user; ``ended`` by somebody else;
            ``provider`` if the user logged out there; ``dropped`` by a memory store that is
            full; or what `PrincipalSessions.end` and ``end_all`` were given.
    """

    reason: str


SessionListener = Callable[[SessionEvent], Awaitable[object] | object]
"""Called with each event: a coroutine function, or a function that does not block."""
