"""`login` and `logout`: the one way in and out, whatever proved who the user is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyfly_session import ids
from pyfly_session.core.metadata import AUTHENTICATED_AT, PRINCIPAL, SECURITY_CONTEXT
from pyfly_session.core.principals.registration import former_ids
from pyfly_session.core.session import HttpSession
from pyfly_session.errors import (
    ConfigurationError,
    CrossSiteRequestError,
    SessionStoreUnavailableError,
    TooManySessionsError,
)
from pyfly_session.security.context import SecurityContext
from pyfly_session.web.cookies import Header, is_cross_origin
from pyfly_session.web.request_session import SessionMapping
from pyfly_session.web.session_filter import SessionFilter
from pyfly_session.web.session_id_resolver import (
    SessionHeader,
    SessionIdResolvers,
    headers_of,
)

__all__ = [
    "SECURITY_CONTEXT",
    "context_of",
    "demand_recent_login",
    "demanded_max_age",
    "end_other_sessions",
    "filter_of",
    "last_authentication",
    "login",
    "logout",
    "session_of",
    "why_ended",
]

ALIAS_PREFIX = "pyfly:"
"""Begins the aliases that the library makes; no user's id begins with it."""

CLIENT = "_client"
"""The attribute that tells from where and with what a user logged in, if that is kept."""
PROVIDER_LOGIN = "_oauth2_logged_in"
"""The attribute that tells which provider vouched for the user."""

_ENABLED = "pyfly.session.enabled"
_LONGEST_BROWSER = 300
# Earlier than the login, if somebody else vouched for the user.
_AUTH_TIME = "_auth_time"
_MAX_AGE = "_max_age_demanded"


async def login(
    request: Any,
    security_context: SecurityContext,
    *,
    aliases: Iterable[str] = (),
    auth_time: float | None = None,
) -> None:
    """Log a user in: from here on the session is theirs, under a new id.

    Attributes of another user who was logged in before are dropped, those of an anonymous
    visitor, a cart for example, are kept. The user's name and the time are recorded in the
    session's metadata. Call it before the response begins; it is saved with the response. Of two
    logins of the same user with the same former id within 10 seconds, a button pressed twice, the
    second joins the first: it changes nothing, and its response sets no cookie.

    Args:
        request: The request, with its session.
        security_context: An authenticated context.
        aliases: Other names by which the session shall be found and ended.
        auth_time: Unix time at which the user proved who they are, if that was not just now: at
            a provider that let them in without asking again, for example. 0 if nobody knows.

    Raises:
        TypeError: What is given is no `SecurityContext`, but a name for example.
        ValueError: The context is anonymous, or its user's id begins with `ALIAS_PREFIX`.
        ConfigurationError: The request has no session.
        CrossSiteRequestError: The request comes from another site, without a cookie.
        SessionReadOnlyError: The response has begun, or sessions are never created.
        SessionStoreUnavailableError: The store failed, and the login would be forgotten.
        TooManySessionsError: The user has as many sessions as allowed, and none may be evicted.
    """
    if not isinstance(security_context, SecurityContext):
        raise TypeError(
            f"login needs a SecurityContext, got {type(security_context).__name__};"
            ' SecurityContext(user_id="alice") is one'
        )
    user_id = security_context.user_id
    if not user_id:
        raise ValueError("only an authenticated context can be logged in; user_id is empty")
    if user_id.startswith(ALIAS_PREFIX):
        # With such a name one user could find, and end, the sessions of another.
        raise ValueError(f"the id of a user must not begin with {ALIAS_PREFIX!r}, got {user_id!r}")
    session = session_of(request)
    if not await _may_log_in(request, session, user_id):
        # The button was pressed twice, and the first request has done it.
        request.state.security_context = security_context
        return
    # First what may be refused; nothing has changed then.
    session.require_rotation()
    new_id = ids.new_id()
    if not await _take_place(request, session, user_id, new_id):
        request.state.security_context = security_context
        return
    session.rotate_id(new_id)
    if not _is_free_for(session, user_id):
        session.clear()
        # Nor does "remember me" of the one hold for the other.
        session.set_max_inactive_interval(None)
    session.set_attribute(SECURITY_CONTEXT, security_context)
    session.authenticate(user_id, aliases)
    session.remove_attribute(_MAX_AGE)
    if auth_time is None:
        session.remove_attribute(_AUTH_TIME)
    else:
        session.set_attribute(_AUTH_TIME, auth_time)
    _note_client(request, session)
    request.state.security_context = security_context


def _note_client(request: Any, session: HttpSession) -> None:
    """Keep from where and with what the user logs in, if the application allows that."""
    used = filter_of(request)
    if used is None or not used.keep_client:
        session.remove_attribute(CLIENT)
        return
    headers = dict(headers_of(request))
    browser = headers.get(b"user-agent", b"").decode("latin-1")[:_LONGEST_BROWSER]
    client = getattr(request, "client", None)
    address = client.host if client else ""
    session.set_attribute(CLIENT, {"address": address, "browser": browser})


async def _may_log_in(request: Any, session: HttpSession, user_id: str) -> bool:
    """Return whether a login goes on; False if another request has just done the same.

    Raises:
        CrossSiteRequestError: The request comes from a page of another site.
        SessionStoreUnavailableError: The session could not be loaded.
    """
    why = session.why_transient
    if why is None or why == "outside":
        return True  # Where nothing can be written, what comes next says so.
    if why == "withheld":
        raise CrossSiteRequestError(
            "you cannot be logged in from a page of another site; log in on this site's own page"
        )
    if why == "replaced":
        used = filter_of(request)
        if used is not None and await used.repository.has_just_logged_in(session, user_id):
            return False
        # From here on it is the new session that it is.
        session.why_transient = session.presented_id = None
        return True
    raise SessionStoreUnavailableError(
        "the session could not be loaded, so a login would not be saved", operation="login"
    )


def last_authentication(session: HttpSession) -> float | None:
    """Return when the user who is logged in last proved who they are, as Unix time in seconds.

    None if nobody is logged in, or somebody in a way that leaves no time.
    """
    logged_in_at: float | None = session.get_attribute(AUTHENTICATED_AT)
    auth_time = session.get_attribute(_AUTH_TIME)
    if logged_in_at is None or not isinstance(auth_time, int | float):
        return logged_in_at
    return min(logged_in_at, auth_time)


def demand_recent_login(session: HttpSession, max_age: int) -> None:
    """Have the next login with a provider be so recent, in seconds, whatever page leads to it.

    Otherwise the provider might let the user in without asking, again and again.
    """
    if demanded_max_age(session) != max_age:
        session.set_attribute(_MAX_AGE, max_age)


def demanded_max_age(session: HttpSession) -> int | None:
    """Return what `demand_recent_login` demanded since the last login."""
    demanded = session.get_attribute(_MAX_AGE)
    return demanded if type(demanded) is int and demanded >= 0 else None


async def logout(request: Any) -> None:
    """Log the user out: the session ends, with everything in it.

    Raises:
        ConfigurationError: The request has no session.
        CrossSiteRequestError: The request comes from a page of another origin, and the id in a
            cookie.
        SessionReadOnlyError: The request is over.
    """
    headers = headers_of(request)
    if is_cross_origin(headers) and not _came_in_header(request, headers):
        raise CrossSiteRequestError(
            "you cannot be logged out by a page of another site; log out on this site's own page"
        )
    session_of(request).invalidate()
    request.state.security_context = SecurityContext.anonymous()


async def end_other_sessions(request: Any) -> int:
    """End all sessions of the user who is logged in, but this one; return how many.

    For a change of password, and for "log out everywhere else".

    Raises:
        ConfigurationError: The request has no session.
        SessionStoreError: The store failed; some sessions may be left.
    """
    session, used = session_of(request), filter_of(request)
    principal = session.get_attribute(PRINCIPAL)
    if used is None or principal is None:
        return 0
    return await used.repository.principals.end_all(principal, keep=session)


async def why_ended(request: Any) -> str | None:
    """Return why the browser's former session was ended by somebody else, None if unknown.

    ``evicted`` if another login of the same user took its place, ``ended`` if it was ended by
    `end_other_sessions` or an operator, ``provider`` if the user logged out at their provider.
    Asks the store; call it where a visitor is told that they have to log in.
    """
    used = filter_of(request)
    return None if used is None else await used.why_ended(request)


def context_of(session: HttpSession) -> SecurityContext:
    """Return who is logged in; whatever is no authenticated context counts as nobody."""
    if session.invalidated:
        return SecurityContext.anonymous()
    stored = session.get_attribute(SECURITY_CONTEXT)
    if isinstance(stored, SecurityContext) and stored.is_authenticated:
        return stored
    return SecurityContext.anonymous()


def session_of(request: Any) -> HttpSession:
    """Return the request's session.

    Raises:
        ConfigurationError: It has none.
    """
    session = getattr(request.state, "session", None)
    if not isinstance(session, HttpSession):
        # The name is a common one: a database session may have taken it further inside.
        mapping = request.scope.get("session") if hasattr(request, "scope") else None
        session = mapping.http_session if isinstance(mapping, SessionMapping) else None
    if session is None:
        raise ConfigurationError(
            f"the request has no session; set {_ENABLED} to true and call enable_sessions(app), or"
            " put the SessionFilter before whatever needs the session",
            key=_ENABLED,
        )
    return session


def filter_of(request: Any) -> SessionFilter | None:
    """Return the filter that attached the request's session, if it was ours."""
    used = getattr(request.state, "session_filter", None)
    return used if isinstance(used, SessionFilter) else None


def _came_in_header(request: Any, headers: Iterable[Header]) -> bool:
    """Return whether the id came in a header, which no browser adds by itself."""
    used = filter_of(request)
    way = None if used is None else used.resolver
    if isinstance(way, SessionIdResolvers):
        way = way.of_request(headers)
    return isinstance(way, SessionHeader) and bool(way.candidates(headers))


async def _take_place(request: Any, session: HttpSession, user_id: str, new_id: str) -> bool:
    """Have the login counted among the user's sessions, if there is a limit to them.

    Returns:
        False if there is no room because another request has just logged in with the same
        former id; this one has nothing left to do.

    Raises:
        TooManySessionsError: There is no room.
    """
    used = filter_of(request)
    if used is None or used.concurrency is None:
        return True
    if user_id not in session.registrations:
        await used.repository.release(session)
    former, before = former_ids(session), session.registrations
    if used.concurrency.registry is not used.repository.principals:
        await used.repository.forget_expired(user_id)
        place = await used.concurrency.place_for(
            user_id, new_id, session.loaded_at, replaces=former
        )
        try:
            accepted = await place.take()
        except BaseException:
            # Cancelled, for example; the registry may have noted it.
            used.repository.finish_later(place(False))
            raise
        if accepted:
            session.settle_login = place
    else:
        # Known before it is done: if the request is cancelled, the place has to be given back.
        session.registrations = {**before, user_id: new_id}
        try:
            accepted = await used.concurrency.on_login(
                user_id, new_id, session.loaded_at, replaces=former
            )
        except Exception:
            session.registrations = before
            raise
    if accepted:
        return True
    session.registrations = before
    if await used.repository.has_just_logged_in(session, user_id):
        session.why_transient = "replaced"
        return False
    raise TooManySessionsError(user_id)


def _is_free_for(session: HttpSession, user_id: str) -> bool:
    """Tell whether nobody else has logged in to the session."""
    recorded = session.get_attribute(PRINCIPAL)
    if recorded not in (None, user_id):
        return False
    if not session.has_attribute(SECURITY_CONTEXT):
        return True
    stored = session.get_attribute(SECURITY_CONTEXT)
    # Of what cannot be read nobody knows whose it was.
    return isinstance(stored, SecurityContext) and stored.user_id in (None, "", user_id)
