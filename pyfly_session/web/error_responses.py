"""What a client is told when its request cannot be served as the application meant to."""

from __future__ import annotations

import logging
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketClose

from pyfly_session.errors import TooManySessionsError

_logger = logging.getLogger(__name__)
_RETRY_AFTER_SECONDS = "5"
_NO_STORE = {"Cache-Control": "no-store"}


def too_many_sessions(request: Any, error: TooManySessionsError) -> Any:
    """Return what tells a user that a login was refused, and what to do."""
    return _refusal(request, 409, f"{str(error).capitalize()}.\n", 1008, "too many sessions")


def unavailable(request: Any, reason: str) -> Any:
    """Return what tells the client, honestly, that the store failed."""
    _logger.error("a request gets the answer 503: %s", reason)
    text = "The session store is unavailable. Please try again in a moment.\n"
    return _refusal(
        request,
        503,
        text,
        1013,
        "session store unavailable",
        {"Retry-After": _RETRY_AFTER_SECONDS},
    )


def _refusal(
    request: Any,
    status: int,
    text: str,
    close_code: int,
    close_reason: str,
    headers: dict[str, str] | None = None,
) -> Any:
    scope = getattr(request, "scope", None) or {}
    if scope.get("type") == "websocket" and "websocket.http.response" not in (
        scope.get("extensions") or {}
    ):
        return WebSocketClose(code=close_code, reason=close_reason)
    return PlainTextResponse(text, status_code=status, headers={**(headers or {}), **_NO_STORE})
