"""Server-side HTTP sessions for Starlette, FastAPI and ASGI, after the model of Spring Session.

The stores are in `pyfly_session.adapters`, the wiring in `pyfly_session.auto_configuration`.
"""

from pyfly_session.codec import SessionCodec, allow_session_type
from pyfly_session.errors import (
    ConfigurationError,
    ReservedAttributeError,
    SessionConflictError,
    SessionEncodingError,
    SessionError,
    SessionInvalidatedError,
    SessionReadOnlyError,
    SessionStoreError,
    SessionStoreUnavailableError,
    SessionTooLargeError,
    StoreContractError,
    TooManySessionsError,
    UnsupportedServerError,
)
from pyfly_session.ports import SessionStore
from pyfly_session.repository import SessionRepository
from pyfly_session.security.context import SecurityContext
from pyfly_session.session import HttpSession
from pyfly_session.web.chain import WebFilterChainMiddleware
from pyfly_session.web.session_filter import SessionFilter

__version__ = "0.1.0"

__all__ = [
    "HttpSession",
    "SessionFilter",
    "SessionStore",
    "SessionRepository",
    "SessionCodec",
    "WebFilterChainMiddleware",
    "SecurityContext",
    "allow_session_type",
    "SessionError",
    "ConfigurationError",
    "ReservedAttributeError",
    "SessionConflictError",
    "SessionEncodingError",
    "SessionInvalidatedError",
    "SessionReadOnlyError",
    "SessionStoreError",
    "SessionStoreUnavailableError",
    "SessionTooLargeError",
    "StoreContractError",
    "TooManySessionsError",
    "UnsupportedServerError",
]
