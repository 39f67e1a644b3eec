"""Who is let in."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request

from pyfly_session.config.masking import one_line

_logger = logging.getLogger(__name__)

Guard: TypeAlias = Callable[[Request], bool | Awaitable[bool]]
"""Tells of a request whether an operator made it."""


class Gate:
    """Closed unless there is a guard, and the guard says True.

    Args:
        guard: Asked for each request; None keeps everybody out.
    """

    def __init__(self, guard: Guard | None) -> None:
        self._guard = guard
        self._said: set[str] = set()

    @property
    def is_closed(self) -> bool:
        """True if nobody can be let in."""
        return self._guard is None

    async def lets_in(self, request: Request) -> bool:
        """Return whether the request may pass.

        What the guard raises is raised, except where there is no session to look at: nobody
        can be logged in there.
        """
        try:
            return await self.knows(request)
        except HTTPException:
            raise
        except Exception as error:
            if getattr(request.state, "session", None) is not None:
                raise
            path, problem = one_line(request.scope["path"]), one_line(str(error))
            self._say(
                "no session",
                f"its guard failed at {path}, where there is no session, with"
                f" {type(error).__name__}: {problem}; take the path out of"
                " pyfly.session.exclude-patterns, mount the endpoint below the sessions, or, for"
                " health alone, open it with Management(container, open_health=True)",
            )
            return False

    async def knows(self, request: Request) -> bool:
        """Return whether the guard takes the request for that of an operator; it may raise."""
        if self._guard is None:
            self._say("no guard", "it has no guard; open it with Management(container, guard=...)")
            return False
        answer = self._guard(request)
        if inspect.isawaitable(answer):
            answer = await answer
        # Something that merely counts as true, a user or a method not called, is a mistake.
        if not isinstance(answer, bool):
            problem = f"its guard must answer True or False, got a {type(answer).__name__}"
            self._say("no answer", problem)
        return answer is True

    def _say(self, kind: str, why: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            _logger.warning("the management endpoint lets nobody in: %s", why)
