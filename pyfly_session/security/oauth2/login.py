"""`OAuth2LoginHandler`: the browser's way to a provider and back, and out again; and its filter."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route

from pyfly_session.core.metadata import AUTHENTICATED_AT
from pyfly_session.core.session import HttpSession
from pyfly_session.core.tasks import back_off
from pyfly_session.errors import ConfigurationError, SessionStoreError, TooManySessionsError
from pyfly_session.security.login import (
    ALIAS_PREFIX,
    PROVIDER_LOGIN,
    context_of,
    demanded_max_age,
    filter_of,
    login,
    logout,
    session_of,
)
from pyfly_session.security.navigation import is_navigation, local_target
from pyfly_session.security.oauth2.authorization_request import (
    AUTHORIZATION,
    Attempt,
    AttemptCookies,
    may_be_followed,
    new_state,
)
from pyfly_session.security.oauth2.claims import (
    ContextMapper,
    aliases,
    claims_to_context,
    qualified_context,
)
from pyfly_session.security.oauth2.errors import OAuth2LoginError, failure_response
from pyfly_session.security.oauth2.forms import once_each, read_form
from pyfly_session.security.oauth2.login_notes import LoginNotes
from pyfly_session.security.oauth2.provider import Provider
from pyfly_session.security.oauth2.registration import (
    ClientRegistration,
    ClientRegistrationRepository,
)
from pyfly_session.security.oauth2.tokens import LEEWAY, auth_time
from pyfly_session.web.filters import HIGHEST_PRECEDENCE, CallNext, OncePerRequestFilter
from pyfly_session.web.paths import root_of
from pyfly_session.web.session_filter import SessionFilter

_Json = Mapping[str, Any]
_logger = logging.getLogger(__name__)
_CALLBACK = "/login/oauth2/code/"
# Which provider the user came from, to log out there.
_ANSWER = frozenset({"state", "code", "iss", "error"})
_CODES = frozenset({"access_denied", "login_required", "consent_required", "interaction_required"})
_REFUSED = {"error": "too_many_sessions"}
_OTHER_TAB_SECONDS = 0.2
_NO_STORE = {"Cache-Control": "no-store"}
_MOST_OF_A_USER = 64 * 1024
# Of a store that fails: about a minute in all.
_LOOKS, _LOOK_SECONDS = 9, 0.1


class OAuth2LoginHandler:
    """Logs users in with OAuth 2.0 and OpenID Connect providers. Shared by all requests.

    Every attempt has a state, a nonce and a PKCE verifier of its own in a cookie of its own, and
    counts once. Nobody is logged in before everything has been verified; then
    `pyfly_session.security.login` is.

    Args:
        client_repository: Where the registrations are.
        to_context: Makes a context of verified claims. Unless it is given, ids of users carry that
            of the registration, except where the repository has a single one.
        default_target: Where a user goes who wanted no page in particular.
        logout_target: Where a user goes after a logout.
        back_channel_logout: Have sessions found by what the provider calls them, as
            `OAuth2BackChannelLogoutFilter` needs it.
        attempt_lifetime: Seconds that a user has for the provider's pages.
        secret: Encrypts the attempts, the same one in all processes; that of the registration at
            the provider if it is empty.
        transport: Carries the requests to providers; an ordinary connection if None.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        client_repository: ClientRegistrationRepository,
        *,
        to_context: ContextMapper | None = None,
        default_target: str = "/",
        logout_target: str = "/",
        back_channel_logout: bool = False,
        attempt_lifetime: int = 3600,
        secret: str = "",
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._repository = client_repository
        self._to_context = to_context
        self._default_target = default_target
        self._logout_target = logout_target
        self._back_channel_logout = back_channel_logout
        self._attempt_lifetime = attempt_lifetime
        self._secret = secret
        # For public clients: their attempts come back to this process alone.
        self._own_secret = secrets.token_urlsafe(32)
        self._transport = transport
        self._clock = clock
        self._providers: dict[str, Provider] = {}

    def routes(self) -> list[Route]:
        """Return the routes: to the provider, back from it, and out."""
        return [
            Route(f"{AUTHORIZATION}{{registration_id}}", self.authorize, methods=["GET"]),
            Route(f"{_CALLBACK}{{registration_id}}", self.callback, methods=["GET"]),
            Route(f"{_CALLBACK}{{registration_id}}", self.receive, methods=["POST"]),
            Route("/logout", self.log_out, methods=["POST"]),
        ]

    async def authorize(self, request: Request) -> Response:
        """Send the browser to the provider.

        The query's ``target`` is where it wants to go. With ``max_age``, or after
        `demand_recent_login`, the provider asks for the password again if that was longer ago, in
        seconds; a provider without OpenID Connect cannot be asked for that.
        """
        return await self._answered(request, self._start)

    async def callback(self, request: Request) -> Response:
        """Take the provider's answer, log the user in, and send them where they wanted to go."""
        return await self._answered(request, self._finish)

    async def receive(self, request: Request) -> Response:
        """Take an answer that comes in a form, from the provider's page.

        Such a request comes without the session's cookie. The answer goes into the attempt's,
        encrypted, and the browser comes back with both.
        """
        return await self._answered(request, self._keep_answer)

    async def log_out(self, request: Request) -> Response:
        """End the session, here first, and then at the provider if it offers that."""
        if request.headers.get("sec-fetch-site") == "cross-site":
            failure = OAuth2LoginError("cross_site", "Another site cannot log you out.", 403)
            return failure_response(request, failure, None)
        session = session_of(request)
        logged_in = None if session.invalidated else session.get_attribute(PROVIDER_LOGIN)
        await logout(request)
        target = await self._logout_at_provider(request, logged_in)
        root = root_of(request.scope)
        return RedirectResponse(target or local_target(None, self._logout_target, root), 303)

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

    def notes(self, sessions: SessionFilter) -> LoginNotes:
        """Return what is kept of logins under way, beside these sessions."""
        return LoginNotes(sessions.store, self._attempt_lifetime, self._clock)

    async def _answered(self, request: Request, step: Any) -> Response:
        """Take one step of a login, and respond to what comes of it."""
        name = request.path_params["registration_id"]
        provider = self.provider_of(name)
        if provider is None:
            failure = OAuth2LoginError("unknown_registration", "There is no such login.")
            return failure_response(request, failure, None)
        try:
            response: Response = await step(request, provider)
        except TooManySessionsError as refusal:
            failure = OAuth2LoginError("too_many_sessions", f"{str(refusal).capitalize()}.", 409)
        except OAuth2LoginError as error:
            failure = error
        else:
            return response
        _logger.warning("a login with %s failed: %s", ascii(name)[:80], failure.code)
        query = f"?target={quote(failure.target, safe='/')}" if failure.target else ""
        way = f"{root_of(request.scope)}{AUTHORIZATION}{quote(name)}{query}"
        return failure_response(request, failure, way)

    @property
    def _mapper(self) -> ContextMapper:
        if self._to_context is not None:
            return self._to_context
        alone = len(getattr(self._repository, "registrations", ())) == 1
        return claims_to_context if alone else qualified_context

    def _attempts(self, registration: ClientRegistration) -> AttemptCookies:
        secret = self._secret or registration.client_secret or self._own_secret
        return AttemptCookies(registration, secret, self._attempt_lifetime, self._clock)

    async def _start(
        self, request: Request, provider: Provider, after: Attempt | None = None
    ) -> Response:
        """Begin a login, perhaps after another one that led nowhere."""
        session = session_of(request)
        if session.why_transient == "withheld":
            raise OAuth2LoginError("cross_site", "Another site cannot log you in.", 403)
        if session.why_transient == "unavailable":
            raise OAuth2LoginError("session_unavailable", "Please try again in a moment.", 503)
        # First what can fail: nothing is kept of an attempt that does not begin.
        await provider.metadata()
        if session.why_transient == "outside":
            session.require_rotation()
        if session.transient:
            # Its id was replaced, or has ended: a login begins with a session of its own.
            session.why_transient = session.presented_id = None
        registration = provider.registration
        max_age = None if after is None else after.max_age
        attempt = Attempt(
            registration.registration_id,
            redirect_uri=_redirect_uri(request, registration),
            target=self._target_of(request) if after is None else after.target,
            started_at=self._clock(),
            max_age=_max_age(request, session) if max_age is None else max_age,
            state=new_state(after.state if after else ""),
        )
        response = RedirectResponse(await provider.authorization_url(attempt), 302, _NO_STORE)
        self._attempts(registration).begin(request, response, attempt)
        return response

    def _target_of(self, request: Request) -> str:
        wanted = request.query_params.get("target")
        return local_target(wanted, self._default_target, root_of(request.scope))

    async def _finish(self, request: Request, provider: Provider) -> Response:
        answer = once_each(request.query_params.multi_items(), _ANSWER)
        name, state = provider.registration.registration_id, answer.get("state", "")
        found = self._attempts(provider.registration).find(request, state)
        attempt = found or Attempt(name, "", self._target_of(request), 0, None, state)
        answer = attempt.answer or answer
        if answer == _REFUSED and (response := _to_target(request, attempt)) is not None:
            return response
        try:
            if found is None or not answer.keys() & {"code", "error"}:
                return await self._once_more(request, provider, attempt, found is not None)
            return await self._take(request, provider, attempt, answer)
        except OAuth2LoginError as error:
            error.target = None if found is None else found.target
            raise

    async def _once_more(
        self, request: Request, provider: Provider, attempt: Attempt, known: bool
    ) -> Response:
        """Send a browser on that came without an answer, to its target, or to log in again."""
        is_page = is_navigation(request.headers)
        if (known or is_page) and (response := _to_target(request, attempt)) is not None:
            return response
        if is_page and may_be_followed(attempt.state):
            return await self._start(request, provider, attempt)
        if known:
            raise OAuth2LoginError("missing_code", "The provider's answer is incomplete.")
        raise OAuth2LoginError(
            "invalid_state", "This login was not started here, is over, or took too long."
        )

    async def _take(
        self, request: Request, provider: Provider, attempt: Attempt, answer: Mapping[str, str]
    ) -> Response:
        if answer == _REFUSED:
            raise TooManySessionsError(context_of(session_of(request)).user_id or "")
        await provider.require_issuer(answer.get("iss"))
        if "error" in answer:
            # Not used up: who cancelled may change their mind, and go back to the provider's page.
            raise _refusal(answer["error"], attempt.registration_id)
        if not await self.notes(_sessions_of(request)).use(attempt):
            return _to_target(request, attempt) or _look_again(attempt)
        token = await provider.exchange(answer["code"], attempt)
        claims = await provider.claims(token, attempt)
        try:
            return await self._log_in(request, provider, attempt, token, claims)
        except TooManySessionsError:
            if not is_navigation(request.headers):
                raise
        # The only place may have gone to another tab, whose answer is on the way to the browser.
        await asyncio.sleep(_OTHER_TAB_SECONDS)
        response = _look_again(attempt)
        again = replace(attempt, answer=_REFUSED)
        self._attempts(provider.registration).keep(request, response, again)
        return response

    async def _log_in(
        self, request: Request, provider: Provider, attempt: Attempt, token: _Json, claims: _Json
    ) -> Response:
        registration = provider.registration
        session, sessions = session_of(request), _sessions_of(request)
        notes = self.notes(sessions)
        context = self._mapper(registration, claims)
        user_id = context.user_id or ""
        if not context.is_authenticated or user_id.startswith(ALIAS_PREFIX):
            raise OAuth2LoginError("login_failed", "The provider does not say who you are.", 401)
        logged_in = {"registration_id": registration.registration_id}
        if registration.is_openid:
            logged_in["id_token"] = token["id_token"]
        if notes.size_of({"context": context, **logged_in}) > _MOST_OF_A_USER:
            _logger.warning("%s says too much of a user", registration.registration_id)
            raise OAuth2LoginError("login_failed", "The provider says too much about you.", 502)
        known = self._back_channel_logout and registration.is_openid
        names = aliases(registration.registration_id, claims) if known else []
        if await notes.logged_out(names, attempt.started_at):
            raise OAuth2LoginError("logged_out", "You have logged out at the provider.", 401)
        if not _is_done(session, attempt, {user_id, *names}):
            since = _auth_time(claims, registration, attempt)
            await login(request, context, aliases=names, auth_time=since)
            if session.transient:
                # Another tab was faster, and its answer is on the way.
                return _look_again(attempt)
            session.set_attribute(PROVIDER_LOGIN, logged_in)
            _logger.info("a user logged in with %s", registration.registration_id)

        later = BackgroundTask(self._end_if_logged_out, sessions, names, attempt.started_at)
        return RedirectResponse(attempt.target, 303, _NO_STORE, background=later)

    async def _end_if_logged_out(
        self, sessions: SessionFilter, names: list[str], since: float
    ) -> None:
        """Look again, for a logout that could not find the session before it was stored."""
        for look in range(1, _LOOKS + 1):
            try:
                for name in await self.notes(sessions).logged_out(names, since):
                    await sessions.repository.principals.end_all(name, reason="provider")
                break
            except SessionStoreError as error:
                log = _logger.warning if look < _LOOKS else _logger.error
                log("it is not known if a user logged out at the provider meanwhile: %s", error)
            await back_off(2**look, _LOOK_SECONDS)

    async def _keep_answer(self, request: Request, provider: Provider) -> Response:
        answer = once_each(await read_form(request), _ANSWER)
        state, registration = answer.get("state", ""), provider.registration
        way = urlsplit(_redirect_uri(request, registration)).path
        response = RedirectResponse(f"{way}?state={quote(state)}", 303, _NO_STORE)
        attempts = self._attempts(registration)
        attempt = attempts.find(request, state)
        if attempt is not None:
            attempts.keep(request, response, replace(attempt, answer=answer))
        return response

    async def _logout_at_provider(self, request: Request, logged_in: Any) -> str | None:
        if not isinstance(logged_in, dict):
            return None
        provider = self.provider_of(str(logged_in.get("registration_id")))
        if provider is None:
            return None
        id_token, registration = logged_in.get("id_token"), provider.registration
        back = _filled(registration.post_logout_redirect_uri, request, registration)
        try:
            return await provider.logout_url(id_token if isinstance(id_token, str) else None, back)
        except OAuth2LoginError:
            # Logged already. The user is logged out here, which is what was asked for.
            return None


def _sessions_of(request: Request) -> SessionFilter:
    sessions = filter_of(request)
    if sessions is None:
        raise ConfigurationError("a login with a provider needs the SessionFilter of pyfly_session")
    return sessions


def _to_target(request: Request, attempt: Attempt) -> Response | None:
    """Send somebody who is logged in where they wanted to go; None if that is not enough."""
    if attempt.max_age is None and context_of(session_of(request)).is_authenticated:
        return RedirectResponse(attempt.target, 303, _NO_STORE)
    return None


def _look_again(attempt: Attempt) -> Response:
    """Have the browser come back without a code, with what other answers have brought by then."""
    return RedirectResponse(f"{attempt.way_back}?state={attempt.state}", 303, _NO_STORE)


def _is_done(session: HttpSession, attempt: Attempt, names: set[str]) -> bool:
    """Return whether another tab has logged the same user in since the attempt was started.

    A change of id for nothing would meet the requests of that tab.
    """
    if session.invalidated or attempt.max_age is not None:
        return False
    since = session.get_attribute(AUTHENTICATED_AT) or 0
    return since > attempt.started_at and names == {*session.principal_names}


def _redirect_uri(request: Request, registration: ClientRegistration) -> str:
    template = registration.redirect_uri or f"{{baseUrl}}{_CALLBACK}{{registrationId}}"
    return _filled(template, request, registration)


def _filled(template: str, request: Request, registration: ClientRegistration) -> str:
    """Return an address with what stands in braces filled in, as Spring Security does."""
    base = f"{request.url.scheme}://{request.url.netloc}{root_of(request.scope)}"
    filled = template.replace("{baseUrl}", base)
    return filled.replace("{registrationId}", registration.registration_id)


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


def _refusal(error: str, name: str) -> OAuth2LoginError:
    # What the query says may be anybody's words, so none of it is shown.
    code = error if error in _CODES else "provider_error"
    _logger.warning("%s refused a login: %s", name, ascii(error)[:80])
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
