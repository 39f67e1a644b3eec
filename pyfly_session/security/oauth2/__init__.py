"""Log in with a provider: OAuth 2.0 and OpenID Connect over sessions.

`OAuth2LoginHandler` and `OAuth2LoginFilter` are in modules of their own, because they need
the extra ``oauth2``.
"""

from pyfly_session.security.oauth2.client import (
    ClientRegistration,
    ClientRegistrationRepository,
    InMemoryClientRegistrationRepository,
)
from pyfly_session.security.oauth2.session_filter import OAuth2SessionSecurityFilter

__all__ = [
    "OAuth2SessionSecurityFilter",
    "ClientRegistration",
    "ClientRegistrationRepository",
    "InMemoryClientRegistrationRepository",
]
