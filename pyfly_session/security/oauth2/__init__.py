"""Log in with a provider: OAuth 2.0 and OpenID Connect over sessions."""

from pyfly_session.security.oauth2.session_filter import OAuth2SessionSecurityFilter

__all__ = ["OAuth2SessionSecurityFilter"]
