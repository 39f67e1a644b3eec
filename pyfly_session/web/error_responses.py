"""What a client gets when its request cannot be served as the application meant to."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
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
    app = scope.get("app")
    if scope["type"] != "http" or getattr(app, "debug", False):
        return None
    handler: Any = None
    handlers: Mapping[Any, Any] = getattr(app, "exception_handlers", None) or {}
    for key, value in handlers.items():
        if key in (500, Exception):
            handler = value
    if handler is None:
        return None
    request = Request(scope)
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object may have an async one
    ):
        return await handler(request, error)
    return await run_in_threadpool(handler, request, error)


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
