"""Verification of logout tokens.

Source: OpenID Connect Back-Channel Logout 1.0, sections 2.4 and 2.6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

from pyfly_session.security.oauth2.id_token import LEEWAY, decode

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
