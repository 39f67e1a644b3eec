"""`OAuth2BackChannelLogoutFilter`: a provider ends the sessions of who logged out there."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.errors import SessionStoreError
from pyfly_session.security.oauth2.claims import alias
from pyfly_session.security.oauth2.errors import OAuth2LoginError
from pyfly_session.security.oauth2.forms import once_each, read_form
from pyfly_session.security.oauth2.login import OAuth2LoginHandler
from pyfly_session.security.oauth2.provider import Provider
from pyfly_session.security.oauth2.tokens import LogoutToken
from pyfly_session.web.filters import HIGHEST_PRECEDENCE, CallNext, OncePerRequestFilter
from pyfly_session.web.session_filter import SessionFilter

_logger = logging.getLogger(__name__)
_NO_STORE = {"Cache-Control": "no-store"}
_RETRY_AFTER_SECONDS = "10"


class OAuth2BackChannelLogoutFilter(OncePerRequestFilter):
    """Answers ``POST /logout/connect/back-channel/{registration_id}``, and nothing else.

    The provider calls it, not a browser. It answers before `SessionFilter`: no session is
    loaded or made for such a request. Shared by all requests.

    Source: OpenID Connect Back-Channel Logout 1.0.

    Args:
        handler: Logs in, with ``back_channel_logout=True``; knows the providers.
        sessions: Where the sessions are.
    """

    __pyfly_order__ = HIGHEST_PRECEDENCE + 140

    def __init__(self, handler: OAuth2LoginHandler, sessions: SessionFilter) -> None:
        self._handler = handler
        self._notes = handler.notes(sessions)
        self._principals = sessions.repository.principals
        self._store = CapableStore(sessions.store)
        path = "/logout/connect/back-channel/{registration_id}"
        self._route = Route(path, self._log_out, methods=["POST"])

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        """Answer the request if it comes from a provider."""
        match, child_scope = self._route.matches(request.scope)
        if match is Match.NONE:
            return await call_next(request)
        if match is Match.PARTIAL:
            return _refusal(405, "invalid_request", "Send a POST.", Allow="POST")
        request.scope.update(child_scope)
        return await self._log_out(request)

    async def _log_out(self, request: Request) -> Response:
        name = request.path_params["registration_id"]
        provider = self._handler.provider_of(name)
        if provider is None or not provider.registration.is_openid:
            return _refusal(404, "unknown_registration", "There is no such login.")
        try:
            form = once_each(await read_form(request), frozenset({"logout_token"}))
            # An empty one is no token either.
            token = await provider.logout_token(form.get("logout_token", ""))
            await self._end_sessions(provider, token)
        except SessionStoreError as error:
            # The provider may send the same token again: it counts as used when all is done.
            return _try_again(name, str(error))
        except OAuth2LoginError as failure:
            if failure.status >= 500:
                return _try_again(name, str(failure))
            _logger.warning("a back-channel logout for %s is refused: %s", name, failure)
            return _refusal(failure.status, failure.code, str(failure))
        return Response(headers=_NO_STORE)

    async def _end_sessions(self, provider: Provider, token: LogoutToken) -> None:
        name = provider.registration.registration_id
        used = _record_of((await provider.metadata()).issuer, token.token_id)
        if await self._store.exists(used):
            raise OAuth2LoginError("invalid_request", "The logout token is not valid.")
        if token.session is not None:
            principal = alias(name, "sid", token.session)
        else:
            principal = alias(name, "sub", token.subject or "")
        # First for the logins under way: each finds either this note, or is found itself.
        await self._notes.log_out(principal)
        ended = await self._principals.end_all(principal, reason="provider")
        note = self._store.codec.dumps({"used": True})
        await self._store.create_if_absent(used, note, token.lifetime)
        _logger.info("the provider of %s ended %d sessions", name, ended)


def _record_of(issuer: str, token_id: str) -> str:
    known = f"{len(issuer)}:{issuer}{token_id}".encode("utf-8", "surrogatepass")
    # A colon: no client can send it as the id of a session.
    return f"logout-token:{hashlib.sha256(known).hexdigest()[:40]}"


def _refusal(status: int, code: str, message: str, **headers: str) -> Response:
    body = {"error": code, "error_description": message}
    return JSONResponse(body, status, headers={**headers, **_NO_STORE})


def _try_again(name: str, reason: str) -> Response:
    _logger.error("a back-channel logout for %s gets the answer 503: %s", name, reason)
    message = "The logout cannot be done now. Please try again in a moment."
    headers = {"Retry-After": _RETRY_AFTER_SECONDS}
    return _refusal(503, "temporarily_unavailable", message, **headers)
