"""What is known of a provider: what was configured, and what it publishes about itself."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pyfly_session.security.oauth2.registration import ClientRegistration

_logger = logging.getLogger(__name__)
WELL_KNOWN = "/.well-known/openid-configuration"
_URL = re.compile(r"https?://[!-\"$-~]+")
_ENDPOINTS = {
    "authorization_uri": "authorization_endpoint",
    "token_uri": "token_endpoint",
    "jwks_uri": "jwks_uri",
    "user_info_uri": "userinfo_endpoint",
    "end_session_uri": "end_session_endpoint",
}
# The login goes on without these.
_DISPENSABLE = ("user_info_uri", "end_session_uri")


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """Endpoints and habits of one provider; an empty text is what it does not have.

    Attributes:
        issuer: What it calls itself in tokens and answers.
        sends_issuer: Whether its answers always say who it is (RFC 9207).
        secret_in_body: Whether it takes the client's secret in the body only.
    """

    issuer: str
    authorization_uri: str
    token_uri: str
    user_info_uri: str
    jwks_uri: str
    end_session_uri: str
    sends_issuer: bool
    secret_in_body: bool


def needs_discovery(registration: ClientRegistration) -> bool:
    """Tell whether something has to be asked of the provider."""
    known = (registration.authorization_uri, registration.token_uri, registration.jwks_uri)
    return bool(registration.issuer_uri) and not all(known)


def combine(registration: ClientRegistration, published: Mapping[str, Any]) -> ProviderMetadata:
    """Return what was configured, completed by what the provider published.

    Raises:
        ValueError: The document is another provider's, or an endpoint in it is unusable.
    """
    issuer = registration.issuer_uri
    if published:
        issuer = published.get("issuer") or ""
        # A slash at the end is easily forgotten in a property.
        if not isinstance(issuer, str) or issuer.rstrip("/") != registration.issuer_uri.rstrip("/"):
            raise ValueError("the document names another issuer")
    found = {}
    for ours, theirs in _ENDPOINTS.items():
        url = getattr(registration, ours) or published.get(theirs) or ""
        found[ours] = url if not url or _is_usable(url, issuer) else ""
        if url and not found[ours]:
            if ours not in _DISPENSABLE:
                raise ValueError(f"{theirs} is no URL that can be used")
            _logger.warning("%s: %s cannot be used", registration.registration_id, theirs)
    if not (found["authorization_uri"] and found["token_uri"]):
        raise ValueError("the document lacks the authorization or the token endpoint")
    methods = published.get("token_endpoint_auth_methods_supported")
    return ProviderMetadata(
        issuer=issuer,
        sends_issuer=published.get("authorization_response_iss_parameter_supported") is True,
        secret_in_body=isinstance(methods, list)
        and "client_secret_post" in methods
        and "client_secret_basic" not in methods,
        **found,
    )


def _is_usable(url: object, issuer: str) -> bool:
    """Return whether an address can be asked: no fragment, and not less safe than the issuer's."""
    if not isinstance(url, str) or not _URL.fullmatch(url):
        return False
    try:
        parsed = urlsplit(url)
        safe = parsed.scheme == "https" or not issuer.startswith("https:")
        return safe and bool(parsed.hostname) and parsed.port != 0
    except ValueError:
        return False
