"""Who is let in, and what may not come from a foreign page."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.requests import Request

from pyfly_session.web.sockets import is_foreign_origin

_logger = logging.getLogger(__name__)
_SAFE_METHODS = ("GET", "HEAD")

Guard: TypeAlias = Callable[[Request], bool | Awaitable[bool]]
"""Tells of a request whether an operator made it."""


class Gate:
    """Closed unless there is a guard, and the guard says True.

    Args:
        guard: Asked for each request; None keeps everybody out.
    """

    def __init__(self, guard: Guard | None) -> None:
        self._guard = guard
        self._said = False

    @property
    def is_closed(self) -> bool:
        """True if nobody can be let in."""
        return self._guard is None

    async def lets_in(self, request: Request) -> bool:
        """Tell whether the request may pass. What the guard raises is raised."""
        if self._guard is None:
            self._say("it has no guard; open it with Management(container, guard=...)")
            return False
        answer = self._guard(request)
        if inspect.isawaitable(answer):
            answer = await answer
        # Something that merely counts as true, a user or a method not called, is a mistake.
        if not isinstance(answer, bool):
            self._say(f"its guard must answer True or False, got a {type(answer).__name__}")
        return answer is True

    def _say(self, why: str) -> None:
        if not self._said:
            self._said = True
            _logger.warning("the management endpoint lets nobody in: %s", why)


def is_forged(request: Request) -> bool:
    """Tell whether a request that changes something was made by a page of another site.

    Clients that are no browsers send neither header.

    Source: W3C Fetch Metadata Request Headers; OWASP CSRF Prevention Cheat Sheet, "Verifying
    Origin With Standard Headers".
    """
    if request.method in _SAFE_METHODS:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    return is_foreign_origin(request, ())
