"""`OAuth2LoginHandler`: the browser's way to a provider and back, and out again; and its filter."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import httpx2
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route

from pyfly_session.core.session import HttpSession
from pyfly_session.errors import TooManySessionsError
from pyfly_session.security.login import (
    ALIAS_PREFIX,
    demanded_max_age,
    login,
    logout,
    session_of,
)
from pyfly_session.security.oauth2 import authorization_request
from pyfly_session.security.oauth2.authorization_request import AUTHORIZATION, Attempt, local_target
from pyfly_session.security.oauth2.claims import ContextMapper, aliases, claims_to_context
from pyfly_session.security.oauth2.errors import OAuth2LoginError, failure_response
from pyfly_session.security.oauth2.provider import Provider
from pyfly_session.security.oauth2.registration import (
    ClientRegistration,
    ClientRegistrationRepository,
)
from pyfly_session.security.oauth2.tokens import LEEWAY, auth_time
from pyfly_session.web.filters import HIGHEST_PRECEDENCE, CallNext, OncePerRequestFilter

_logger = logging.getLogger(__name__)
_CALLBACK = "/login/oauth2/code/"
# Which provider the user came from, to log out there.
_LOGGED_IN = "_oauth2_logged_in"
_ANSWER = frozenset({"state", "code", "iss", "error"})
_CODES = frozenset({"access_denied", "login_required", "consent_required", "interaction_required"})


class OAuth2LoginHandler:
    """Logs users in with OAuth 2.0 and OpenID Connect providers. Shared by all requests.

    Every attempt has a state, a nonce and a PKCE verifier of its own in the session. Nobody
    is logged in before everything has been verified; then `pyfly_session.security.login` is.

    Args:
        client_repository: Where the registrations are.
        to_context: Makes a context of verified claims.
        default_target: Where a user goes who wanted no page in particular.
        logout_target: Where a user goes after a logout.
        back_channel_logout: Have sessions found by what the provider calls them, as
            `OAuth2BackChannelLogoutFilter` needs it.
        transport: Carries the requests to providers; an ordinary connection if None.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        client_repository: ClientRegistrationRepository,
        *,
        to_context: ContextMapper = claims_to_context,
        default_target: str = "/",
        logout_target: str = "/",
        back_channel_logout: bool = False,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._repository = client_repository
        self._to_context = to_context
        self._default_target = default_target
        self._logout_target = logout_target
        self._back_channel_logout = back_channel_logout
        self._transport = transport
        self._clock = clock
        self._providers: dict[str, Provider] = {}

    def routes(self) -> list[Route]:
        """Return the routes: to the provider, back from it, and out."""
        return [
            Route(f"{AUTHORIZATION}{{registration_id}}", self.authorize, methods=["GET"]),
            Route(f"{_CALLBACK}{{registration_id}}", self.callback, methods=["GET"]),
            Route("/logout", self.log_out, methods=["POST"]),
        ]

    async def authorize(self, request: Request) -> Response:
        """Send the browser to the provider.

        The query's ``target`` is where it wants to go. With ``max_age``, or after
        `demand_recent_login`, the provider asks for the password again if that was longer ago, in
        seconds; a provider without OpenID Connect cannot be asked for that.
        """
        try:
            provider = self._provider(request)
            return RedirectResponse(await self._start(request, provider), 302)
        except OAuth2LoginError as failure:
            return self._failed(request, failure)

    async def callback(self, request: Request) -> Response:
        """Take the provider's answer, log the user in, and send them where they wanted to go."""
        try:
            provider = self._provider(request)
            return await self._finish(request, provider)
        except OAuth2LoginError as failure:
            return self._failed(request, failure)
        except TooManySessionsError as refusal:
            told = OAuth2LoginError("too_many_sessions", f"{str(refusal).capitalize()}.", 409)
            return self._failed(request, told)

    async def log_out(self, request: Request) -> Response:
        """End the session, here first, and then at the provider if it offers that."""
        if request.headers.get("sec-fetch-site") == "cross-site":
            failure = OAuth2LoginError("cross_site", "Another site cannot log you out.", 403)
            return failure_response(request, failure, None)
        session = session_of(request)
        logged_in = None if session.invalidated else session.get_attribute(_LOGGED_IN)
        await logout(request)
        target = await self._logout_at_provider(logged_in) or self._logout_target
        return RedirectResponse(target, 303)

    def provider_of(self, registration_id: str) -> Provider | None:
        """Return the provider of a registration, or None if there is none of this id."""
        registration = self._repository.find_by_registration_id(registration_id)
        if registration is None:
            return None
        known = self._providers.get(registration_id)
        if known is None or known.registration != registration:
            known = Provider(registration, transport=self._transport, clock=self._clock)
            self._providers[registration_id] = known
        return known

    async def _start(self, request: Request, provider: Provider) -> str:
        session = session_of(request)
        if session.why_transient == "withheld":
            raise OAuth2LoginError("cross_site", "Another site cannot log you in.", 403)
        if session.why_transient == "unavailable":
            raise OAuth2LoginError("session_unavailable", "Please try again in a moment.", 503)
        # First what can fail: nothing is kept of an attempt that does not begin.
        await provider.metadata()
        if session.transient:
            # Its id was replaced, or has ended: a login begins with a session of its own.
            session.why_transient = session.presented_id = None
        name = provider.registration.registration_id
        base = str(request.base_url).rstrip("/")
        attempt = authorization_request.start(
            session,
            name,
            redirect_uri=provider.registration.redirect_uri or f"{base}{_CALLBACK}{name}",
            target=local_target(request.query_params.get("target"), self._default_target),
            now=self._clock(),
            max_age=_max_age(request, session),
        )
        return await provider.authorization_url(attempt)

    async def _finish(self, request: Request, provider: Provider) -> Response:
        registration = provider.registration
        answer = _once_each(request)
        session = session_of(request)
        attempt = authorization_request.take(
            session, registration.registration_id, answer.get("state", ""), self._clock()
        )
        if attempt is None:
            raise OAuth2LoginError(
                "invalid_state", "This login was not started here, is over, or took too long."
            )
        await provider.require_issuer(answer.get("iss"))
        if "error" in answer:
            raise _refusal(answer["error"], registration)
        if not answer.get("code"):
            raise OAuth2LoginError("missing_code", "The provider's answer is incomplete.")
        token = await provider.exchange(answer["code"], attempt)
        claims = await provider.claims(token, attempt)
        context = self._to_context(registration, claims)
        user_id = context.user_id or ""
        if not context.is_authenticated or user_id.startswith(ALIAS_PREFIX):
            raise OAuth2LoginError("login_failed", "The provider does not say who you are.", 401)
        response = RedirectResponse(attempt.target, 303)
        known = self._back_channel_logout and registration.is_openid
        names = aliases(registration.registration_id, claims) if known else ()
        await login(
            request, context, aliases=names, auth_time=_auth_time(claims, registration, attempt)
        )
        logged_in = {"registration_id": registration.registration_id}
        if registration.is_openid:
            logged_in["id_token"] = token["id_token"]
        session.set_attribute(_LOGGED_IN, logged_in)
        _logger.info("a user logged in with %s", registration.registration_id)
        return response

    async def _logout_at_provider(self, logged_in: Any) -> str | None:
        if not isinstance(logged_in, dict):
            return None
        name, id_token = logged_in.get("registration_id"), logged_in.get("id_token")
        provider = self.provider_of(str(name))
        if provider is None:
            return None
        try:
            return await provider.logout_url(id_token if isinstance(id_token, str) else None)
        except OAuth2LoginError:
            # Logged already. The user is logged out here, which is what was asked for.
            return None

    def _provider(self, request: Request) -> Provider:
        provider = self.provider_of(request.path_params["registration_id"])
        if provider is None:
            raise OAuth2LoginError("unknown_registration", "There is no such login.")
        return provider

    def _failed(self, request: Request, failure: OAuth2LoginError) -> Response:
        name = request.path_params["registration_id"]
        _logger.warning("a login with %.80r failed: %s", name, failure.code)
        if failure.code == "unknown_registration":
            return failure_response(request, failure, None)
        root = request.scope.get("root_path", "")
        return failure_response(request, failure, f"{root}{AUTHORIZATION}{quote(name)}")


def _auth_time(
    claims: Mapping[str, Any], registration: ClientRegistration, attempt: Attempt
) -> float | None:
    """Return when the user proved to the provider who they are, None for just now."""
    if not registration.is_openid:
        # It cannot be asked.
        return None
    since = auth_time(claims)
    if since is None:
        # Perhaps just now, perhaps last week. It has to tell when it is asked for a recent login.
        return 0
    # In this attempt is now; clocks differ.
    return None if since >= attempt.started_at - LEEWAY else since


def _max_age(request: Request, session: HttpSession) -> int | None:
    asked = request.query_params.get("max_age")
    if asked is None:
        return demanded_max_age(session)
    if not (asked.isascii() and asked.isdigit() and len(asked) < 10):
        raise OAuth2LoginError("invalid_request", "max_age is not a number of seconds.")
    return int(asked)


def _once_each(request: Request) -> dict[str, str]:
    """Return the query; a parameter of the protocol may be there once only.

    Source: RFC 6749, section 3.1.
    """
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] in _ANSWER]
    if len({name for name, _ in pairs}) != len(pairs):
        raise OAuth2LoginError("invalid_request", "The provider's answer is ambiguous.")
    return dict(pairs)


def _refusal(error: str, registration: ClientRegistration) -> OAuth2LoginError:
    # What the query says may be anybody's words, so none of it is shown.
    code = error if error in _CODES else "provider_error"
    _logger.warning("%s refused a login: %.80r", registration.registration_id, error)
    if code == "access_denied":
        return OAuth2LoginError(code, "The login was refused or cancelled at the provider.")
    return OAuth2LoginError(code, "The provider could not log you in.")


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
