"""`SecurityContextFilter`: tells every request who is logged in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyfly_session.security.context import SecurityContext
from pyfly_session.security.login import context_of, session_of
from pyfly_session.web.filters import HIGHEST_PRECEDENCE, CallNext, OncePerRequestFilter


class SecurityContextFilter(OncePerRequestFilter):
    """Restores the context of the session onto ``request.state.security_context``.

    There is always one: without a login it is anonymous, or what an earlier filter found. It does
    not matter whether a form, a key or a provider proved who the user is.
    Runs after `SessionFilter`, for HTTP and WebSocket alike; shared by all requests.

    Args:
        without_session: Glob patterns of paths that have no session, as in
            ``pyfly.session.exclude-patterns``; everybody is anonymous there.
    """

    __pyfly_order__ = HIGHEST_PRECEDENCE + 225

    def __init__(self, *, without_session: Iterable[str] = ()) -> None:
        self._sessions = OncePerRequestFilter()
        self._sessions.exclude_patterns = without_session

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        """Set the context and run the rest of the chain.

        Raises:
            ConfigurationError: The request has no session.
        """
        if self._sessions.should_not_filter(request):
            context = SecurityContext.anonymous()
        else:
            context = context_of(session_of(request))
        earlier = getattr(request.state, "security_context", None)
        if context.is_authenticated or not isinstance(earlier, SecurityContext):
            request.state.security_context = context
        return await call_next(request)
