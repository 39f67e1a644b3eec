"""`login` and `logout`: the one way in and out, whatever proved who the user is."""

from __future__ import annotations

from typing import Any

from pyfly_session.errors import ConfigurationError, SessionStoreUnavailableError
from pyfly_session.metadata import PRINCIPAL
from pyfly_session.security.context import SecurityContext
from pyfly_session.session import HttpSession

SECURITY_CONTEXT = "SECURITY_CONTEXT"
"""The session attribute that holds the `SecurityContext`; the original's name."""

_ENABLED = "pyfly.session.enabled"


async def login(request: Any, security_context: SecurityContext) -> None:
    """Log a user in: from here on the session is theirs, under a new id.

    Attributes of another user who was logged in before are dropped, those of an anonymous
    visitor, a cart for example, are kept. The user's name and the time are recorded in the
    session's metadata. Call it before the response begins; it is saved with the response.

    Args:
        request: The request, with its session.
        security_context: An authenticated context.

    Raises:
        ValueError: The context is anonymous.
        ConfigurationError: The request has no session.
        SessionReadOnlyError: The response has begun, or sessions are never created.
        SessionStoreUnavailableError: The store failed, and the login would be forgotten.
    """
    user_id = security_context.user_id
    if not user_id:
        raise ValueError("only an authenticated context can be logged in; user_id is empty")
    session = session_of(request)
    if session.transient:
        raise SessionStoreUnavailableError(
            "the session could not be loaded, so a login would not be saved", operation="login"
        )
    # First, because it is what may be refused; nothing is changed then.
    session.rotate_id()
    if not _is_free_for(session, user_id):
        session.clear()
    session.set_attribute(SECURITY_CONTEXT, security_context)
    session.authenticate(user_id)
    request.state.security_context = security_context


async def logout(request: Any) -> None:
    """Log the user out: the session ends, with everything in it.

    Raises:
        ConfigurationError: The request has no session.
    """
    session_of(request).invalidate()
    request.state.security_context = SecurityContext.anonymous()


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
        raise ConfigurationError(
            f"the request has no session; set {_ENABLED} to true, and put the SessionFilter"
            " before whatever needs the session",
            key=_ENABLED,
        )
    return session


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
