"""Server-side HTTP sessions for Starlette, FastAPI and ASGI, after the model of Spring Session.

The stores are in `pyfly_session.adapters`, the wiring in `pyfly_session.auto_configuration`.
"""

from typing import TYPE_CHECKING, Any

from pyfly_session.core.codec import SessionCodec, allow_session_type
from pyfly_session.core.hashed_ids import HashedIdStore
from pyfly_session.core.merge import Outcome
from pyfly_session.core.principals.index import PrincipalSessions
from pyfly_session.core.principals.records import PrincipalSession
from pyfly_session.core.repository import SessionRepository
from pyfly_session.core.session import HttpSession
from pyfly_session.core.store_capabilities import require_store
from pyfly_session.errors import (
    ConfigurationError,
    CrossSiteRequestError,
    ReservedAttributeError,
    SessionConflictError,
    SessionEncodingError,
    SessionError,
    SessionInvalidatedError,
    SessionReadOnlyError,
    SessionStoreError,
    SessionStoreUnavailableError,
    SessionTooLargeError,
    SessionUpdateError,
    StoreContractError,
    TooManySessionsError,
    UnsupportedServerError,
)
from pyfly_session.ports import SessionStore
from pyfly_session.security.context import SecurityContext
from pyfly_session.web.chain import WebFilterChainMiddleware
from pyfly_session.web.session_filter import SessionFilter

if TYPE_CHECKING:
    from pyfly_session.auto_configuration import enable_sessions as enable_sessions
    from pyfly_session.core.encryption import EncryptedSessionCodec as EncryptedSessionCodec
    from pyfly_session.security.login import login as login
    from pyfly_session.security.login import logout as logout

__version__ = "0.2.0"

# Without EncryptedSessionCodec: an import of all names would ask for it, and for cryptography.
__all__ = [
    "HttpSession",
    "SessionFilter",
    "SessionStore",
    "SessionRepository",
    "Outcome",
    "PrincipalSession",
    "PrincipalSessions",
    "SessionCodec",
    "HashedIdStore",
    "require_store",
    "WebFilterChainMiddleware",
    "SecurityContext",
    "allow_session_type",
    "SessionError",
    "ConfigurationError",
    "CrossSiteRequestError",
    "ReservedAttributeError",
    "SessionConflictError",
    "SessionEncodingError",
    "SessionInvalidatedError",
    "SessionReadOnlyError",
    "SessionStoreError",
    "SessionStoreUnavailableError",
    "SessionTooLargeError",
    "SessionUpdateError",
    "StoreContractError",
    "TooManySessionsError",
    "UnsupportedServerError",
]

_LATER = {
    "EncryptedSessionCodec": "core.encryption",
    "enable_sessions": "auto_configuration",
    "login": "security.login",
    "logout": "security.login",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Load what needs an extra, or the container, when it is asked for."""
        if name in _LATER:
            from importlib import import_module

            return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
