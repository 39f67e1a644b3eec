"""Verification of ID tokens and of logout tokens.

Source: OpenID Connect Core 1.0, section 3.1.3.7, and OpenID Connect Back-Channel Logout 1.0,
sections 2.4 and 2.6.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry, Token

# Signatures by a key that only the provider has. A shared secret is none of these: its
# algorithms would take the provider's public key for the secret. Nor is "none".
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
LEEWAY = 60
"""Seconds that the clocks of provider and application may differ."""


def decode(token: str, keys: KeySet) -> Token:
    """Return a token that one of the keys has signed; nothing of what it says is checked."""
    return jwt.decode(
        token, keys, registry=JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
    )


def verify_id_token(
    token: str,
    keys: KeySet,
    *,
    issuer: str,
    client_id: str,
    nonce: str,
    access_token: str,
    now: int,
    max_age: int | None = None,
) -> dict[str, Any]:
    """Return the claims of an ID token.

    Raises:
        JoseError: It does not hold what it must.
        ValueError: It is no token at all, its nonce is not ours, or the user proved who they are
            longer than ``max_age`` seconds ago, or nobody knows when.
    """
    decoded = decode(token, keys)
    claims = CodeIDToken(
        decoded.claims,
        decoded.header,
        {
            "iss": {"essential": True, "value": issuer},
            "aud": {"essential": True, "value": client_id},
            "sub": {"essential": True},
        },
        {"client_id": client_id, "access_token": access_token},
    )
    claims.validate(now=now, leeway=LEEWAY)
    theirs = claims.get("nonce")
    if not isinstance(theirs, str) or not hmac.compare_digest(theirs.encode(), nonce.encode()):
        raise ValueError("the nonce is missing or not ours")
    if max_age is not None:
        proved_at = auth_time(claims)
        if proved_at is None or now - proved_at > max_age + LEEWAY:
            raise ValueError(f"auth_time must be at most {max_age} s ago, got {proved_at!r}")
    return dict(claims)


def auth_time(claims: Mapping[str, Any]) -> float | None:
    """Return when the user proved to the provider who they are, None if it does not tell."""
    told = claims.get("auth_time")
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told < 1e12:
        return None
    return float(told)


MOST_AGE = 600
"""Seconds after which a logout token is refused, whatever it says of its own end."""

_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_REQUIRED = ("iat", "exp", "jti", "events")


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """Who logged out at a provider.

    Attributes:
        token_id: The provider's name for this token.
        subject: The provider's name for the user, or None.
        session: The provider's name for the session that ended, or None for all of the user.
        lifetime: Seconds from now after which the token is refused anyhow.
    """

    token_id: str
    subject: str | None
    session: str | None
    lifetime: int


def verify_logout_token(
    token: str, keys: KeySet, *, issuer: str, client_id: str, now: int
) -> LogoutToken:
    """Return what a logout token says. Whether it was used before is not checked here.

    Raises:
        JoseError: It does not hold what it must.
        ValueError: It is another kind of token, too old, or about nobody.
    """
    decoded = decode(token, keys)
    claims = decoded.claims
    _require_kind(decoded.header, claims)
    required: dict[str, Any] = {name: {"essential": True} for name in _REQUIRED}
    JWTClaimsRegistry(
        now=now,
        leeway=LEEWAY,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        **required,
    ).validate(claims)
    until = LEEWAY + min(claims["exp"], claims["iat"] + MOST_AGE)
    if until <= now:
        raise ValueError("it was issued too long ago")
    subject, session = _name(claims, "sub"), _name(claims, "sid")
    if subject is None and session is None:
        raise ValueError("it says neither which user nor which session is meant")
    return LogoutToken(claims["jti"], subject, session, math.ceil(until - now))


def _require_kind(header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    """Refuse an ID token, and every other token that the provider signs.

    Source: RFC 8725, section 3.11.
    """
    kind = header.get("typ", "logout+jwt")
    if kind.lower().removeprefix("application/") != "logout+jwt":
        raise ValueError(f"its type is {kind!r:.80}, not logout+jwt")
    if "nonce" in claims:
        raise ValueError("it has a nonce, as ID tokens have")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(_EVENT), dict):
        raise ValueError("it does not tell of a logout")  # noqa: TRY004 - as any other fault


def _name(claims: Mapping[str, Any], claim: str) -> str | None:
    if claim not in claims:
        return None
    value = claims[claim]
    if not isinstance(value, str) or not value:
        raise ValueError(f"its {claim} is {value!r:.80}, not a text")
    return value
