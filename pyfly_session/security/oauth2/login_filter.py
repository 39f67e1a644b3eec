"""`OAuth2LoginFilter`: the routes of the login under any ASGI application."""

from __future__ import annotations

from typing import Any

from starlette.routing import Match

from pyfly_session.security.oauth2.login import OAuth2LoginHandler
from pyfly_session.web.filters import HIGHEST_PRECEDENCE, CallNext, OncePerRequestFilter


class OAuth2LoginFilter(OncePerRequestFilter):
    """Answers the routes of a login handler, and passes everything else on.

    A filter and no routes of the application: it works under any ASGI application, before a
    route that would match everything, and follows what is overridden in the container.

    Args:
        handler: The handler.
    """

    __pyfly_order__ = HIGHEST_PRECEDENCE + 230

    def __init__(self, handler: OAuth2LoginHandler) -> None:
        self._routes = handler.routes()

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        """Answer the request if it is for the login."""
        for route in self._routes:
            match, child_scope = route.matches(request.scope)
            if match is Match.FULL:
                request.scope.update(child_scope)
                return await route.endpoint(request)
        return await call_next(request)
