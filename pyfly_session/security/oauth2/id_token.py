"""Verification of ID tokens.

Source: OpenID Connect Core 1.0, section 3.1.3.7.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from joserfc.jwt import Token

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
