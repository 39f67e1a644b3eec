"""What a client gets when its request cannot be served as the application meant to."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Scope
from starlette.websockets import WebSocketClose

from pyfly_session.errors import (
    CrossSiteRequestError,
    SessionStoreError,
    SessionUpdateError,
    TooManySessionsError,
)

_logger = logging.getLogger(__name__)
_NO_STORE = {"Cache-Control": "no-store"}
# In the scope of a request whose error has been answered.
ANSWERED = "pyfly_session.error_answered"
_RETRY_LATER = {"Retry-After": "5"}


def response_to(scope: Mapping[str, Any], error: Exception) -> Any:
    """Return the response to an error that is ours, None for others.

    Args:
        scope: That of the request.
        error: What the request ended with.
    """
    if isinstance(error, SessionStoreError):
        _logger.error("a request gets the answer 503: %s", error)
        text = "The session store is unavailable. Please try again in a moment.\n"
        return _refusal(scope, 503, text, 1013, "session store unavailable", _RETRY_LATER)
    if isinstance(error, TooManySessionsError):
        text = f"{str(error).capitalize()}.\n"
        return _refusal(scope, 409, text, 1008, "too many sessions")
    if isinstance(error, SessionUpdateError):
        _logger.error("a request gets the answer 409: %s", error, exc_info=error)
        return _refusal(scope, 409, f"{str(error).capitalize()}.\n", 1008, "session conflict")
    if isinstance(error, CrossSiteRequestError):
        _logger.warning("a request gets the answer 403: %s", error)
        return _refusal(scope, 403, f"{str(error).capitalize()}.\n", 1008, "foreign site")
    return None


async def response_of_handler(scope: Scope, error: Exception) -> Any:
    """Return what the application's own handler of ``Exception`` or 500 makes of an error.

    Starlette calls it outside of all middleware, where nothing that it does to a session could be
    saved. None if there is none, or the application shows tracebacks instead.
    """
    layer = getattr(scope.get("app"), "middleware_stack", None)
    while layer is not None and not isinstance(layer, ServerErrorMiddleware):
        layer = getattr(layer, "app", None)
    if scope["type"] != "http" or layer is None or layer.handler is None or layer.debug:
        return None
    if not isinstance(layer.handler, _OncePerError):
        layer.handler = _OncePerError(layer.handler)
    handler: Any = layer.handler
    return await handler.respond(Request(scope), error)


class _OncePerError:
    """A handler that Starlette does not call again for an error that it has responded to.

    Args:
        handler: The application's.
    """

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    async def __call__(self, request: Request, error: Exception) -> Any:
        """Return its response; one that is not sent if there was one before."""
        if request.scope.pop(ANSWERED, False):
            return PlainTextResponse("")
        return await self._call(request, error)

    async def respond(self, request: Request, error: Exception) -> Any:
        """Return its response, ahead of Starlette."""
        response = await self._call(request, error)
        request.scope[ANSWERED] = True
        return response

    async def _call(self, request: Request, error: Exception) -> Any:
        if inspect.iscoroutinefunction(self._handler) or inspect.iscoroutinefunction(
            getattr(self._handler, "__call__", None)  # noqa: B004 - that of an object
        ):
            return await self._handler(request, error)
        return await run_in_threadpool(self._handler, request, error)


def _refusal(
    scope: Mapping[str, Any],
    status: int,
    text: str,
    close_code: int,
    close_reason: str,
    headers: Mapping[str, str] = {},
) -> Any:
    if scope.get("type") == "websocket" and "websocket.http.response" not in (
        scope.get("extensions") or {}
    ):
        return WebSocketClose(code=close_code, reason=close_reason)
    return PlainTextResponse(text, status_code=status, headers={**headers, **_NO_STORE})
