"""Who the visitor is: the security context in the session, login and logout."""

from pyfly_session.security.context import ORIGINAL_TAG, SecurityContext
from pyfly_session.security.context_filter import SecurityContextFilter
from pyfly_session.security.login import (
    SECURITY_CONTEXT,
    context_of,
    end_other_sessions,
    login,
    logout,
    why_ended,
)

__all__ = [
    "SecurityContext",
    "SecurityContextFilter",
    "login",
    "logout",
    "end_other_sessions",
    "why_ended",
    "context_of",
    "SECURITY_CONTEXT",
    "ORIGINAL_TAG",
]
