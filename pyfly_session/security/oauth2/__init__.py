"""Log in with a provider: OAuth 2.0 and OpenID Connect over sessions.

What needs the extra ``oauth2`` is loaded when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyfly_session.security.context_filter import SecurityContextFilter
from pyfly_session.security.oauth2.claims import claims_to_context, qualified_context
from pyfly_session.security.oauth2.registration import (
    ClientRegistration,
    ClientRegistrationRepository,
    InMemoryClientRegistrationRepository,
)

if TYPE_CHECKING:
    from pyfly_session.security.oauth2.back_channel_logout import (
        OAuth2BackChannelLogoutFilter as OAuth2BackChannelLogoutFilter,
    )
    from pyfly_session.security.oauth2.login import OAuth2LoginFilter as OAuth2LoginFilter
    from pyfly_session.security.oauth2.login import OAuth2LoginHandler as OAuth2LoginHandler

OAuth2SessionSecurityFilter = SecurityContextFilter
"""The original's name for it."""

# Without those that are loaded when they are asked for: an import of all names asks for each.
__all__ = [
    "OAuth2SessionSecurityFilter",
    "claims_to_context",
    "qualified_context",
    "ClientRegistration",
    "ClientRegistrationRepository",
    "InMemoryClientRegistrationRepository",
]

if not TYPE_CHECKING:
    _MODULES = {
        "OAuth2LoginHandler": "login",
        "OAuth2LoginFilter": "login",
        "OAuth2BackChannelLogoutFilter": "back_channel_logout",
    }

    def __getattr__(name: str) -> Any:
        """Load a class that needs the extra."""
        if name in _MODULES:
            return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
