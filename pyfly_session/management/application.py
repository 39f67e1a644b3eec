"""`Management`: the endpoint as one ASGI application to mount."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pyfly_session.management.access import Gate, Guard
from pyfly_session.management.api import Api
from pyfly_session.management.pages import Pages
from pyfly_session.web.cookies import is_cross_origin
from pyfly_session.web.paths import route_path

_SAFE_METHODS = ("GET", "HEAD")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    # Not no-referrer: a form would then say that its origin is null.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Management:
    """Sessions, figures, health and configuration of a running application, for operators.

    An ASGI application. Mount it below the sessions, so that the guard can see who is logged
    in::

        app.mount("/manage", Management(app.state.session_container, guard=is_operator))

    Nobody is let in without a guard, and what changes something is refused to pages of other
    sites. Ids of sessions are never shown, and values that are named like secrets are masked.

    Args:
        container: The `SessionContainer` of the application.
        guard: Tells of a request whether an operator made it; may be a coroutine function.
        open_health: Tell everybody whether the store works, and operators more.
        health_deadline: Seconds that the store has to show its health.
    """

    def __init__(
        self,
        container: Any,
        *,
        guard: Guard | None = None,
        open_health: bool = False,
        health_deadline: float = 2.0,
    ) -> None:
        self._gate = Gate(guard)
        self._open_health = open_health
        self._api = Api(container, deadline=health_deadline)
        pages = Pages(container, deadline=health_deadline)
        routes = [*pages.routes(), *self._api.routes()]
        self._router: ASGIApp = Router(routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        answer: ASGIApp = self._router
        if scope["type"] == "http":
            send = _with_headers(send)
            answer = await self._answer_instead(Request(scope, receive)) or answer
        await answer(scope, receive, send)

    async def _answer_instead(self, request: Request) -> Response | None:
        """Return the answer to a request that does not get to the endpoints, or None."""
        if self._open_health and _asks_health(request):
            return await self._api.health(request, details=await self._knows(request))
        if not await self._gate.lets_in(request):
            status = 404 if self._gate.is_closed else 403
            return PlainTextResponse("Not Found\n" if status == 404 else "Forbidden\n", status)
        # Source: OWASP CSRF Prevention Cheat Sheet, "Verifying Origin With Standard Headers".
        if request.method not in _SAFE_METHODS and is_cross_origin(request.headers.raw):
            return PlainTextResponse("This was asked by a page of another site.\n", 403)
        return None

    async def _knows(self, request: Request) -> bool:
        """Return whether an operator asks for what is open to everybody."""
        try:
            return not self._gate.is_closed and await self._gate.knows(request)
        except Exception:  # noqa: BLE001 - a guard may miss the session that a prober has not
            return False


def _asks_health(request: Request) -> bool:
    return request.method in _SAFE_METHODS and route_path(request.scope) == "/health"


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
