"""Verification of ID tokens and of logout tokens, and the choice of the key that signed one.

Source: OpenID Connect Core 1.0, sections 3.1.3.7 and 10.1, OpenID Connect Back-Channel Logout 1.0,
sections 2.4 and 2.6, and RFC 7517, sections 4 and 5.
"""

from __future__ import annotations

import base64
import hmac
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import JWKRegistry
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from pyfly_session.security.oauth2.errors import in_one_line
from pyfly_session.security.oauth2.forms import read_object

_logger = logging.getLogger(__name__)

# Signatures by a key that only the provider has, each with the type of key. A shared secret is
# none of these: its algorithms would take the provider's public key for the secret. Nor is "none".
ALGORITHMS: dict[str, tuple[str, str | None]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", None), "Ed25519": ("OKP", "Ed25519"),
}  # fmt: skip
LEEWAY = 60
"""Seconds that the clocks of provider and application may differ."""

_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_LONGEST = 64 * 1024
_LONGEST_HEADER = 8 * 1024
# The others say what a key is for, which is looked at first, or can only be wrong.
_OF_A_KEY = ("kty", "n", "e", "crv", "x", "y")
# 2048 bits. Source: RFC 7518, section 3.3.
_SHORTEST_MODULUS = 342
_MOST_KEYS = 16


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What a token says, before anybody knows who signed it.

    Attributes:
        text: The token.
        header: Its header.
        claims: Its claims.
    """

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @classmethod
    def read(cls, text: object) -> UnverifiedToken:
        """Take a token apart.

        Raises:
            ValueError: It is none, or none that could be verified.
        """
        if not isinstance(text, str) or len(text) > _LONGEST or not _SHAPE.fullmatch(text):
            raise ValueError("it is no signed token")
        header, claims = (
            read_object(base64.urlsafe_b64decode(f"{part}==")) for part in text.split(".")[:2]
        )
        if header.get("alg") not in tuple(ALGORITHMS):
            raise ValueError(f"its algorithm is {header.get('alg')!r:.80}")
        return cls(text, header, claims)


class ProviderKeys:
    """The public keys of a provider, as it publishes them.

    Raises:
        ValueError: The document has none.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        entries = document.get("keys")
        if not isinstance(entries, list) or not entries:
            raise ValueError("the document has no keys")
        self._entries = [each for each in entries if isinstance(each, dict) and each.get("kty")]
        if len(self._entries) < len(entries):
            _logger.warning("%d keys cannot be read", len(entries) - len(self._entries))

    def have_signed(self, token: UnverifiedToken) -> bool:
        """Return whether one of the keys has signed the token."""
        registry = JWSRegistry(algorithms=[token.header["alg"]], strict_check_header=False)
        # Some providers send the whole certificate along.
        registry.max_header_length = _LONGEST_HEADER
        tried = 0
        for entry in self._entries:
            given: Any = {name: entry[name] for name in _OF_A_KEY if name in entry}
            try:
                if tried == _MOST_KEYS or not _fits(entry, token.header):
                    continue
                tried += 1
                key = JWKRegistry.import_key(given)
                jws.deserialize_compact(token.text, key, registry=registry)
            except BadSignatureError:
                continue
            except Exception as error:  # noqa: BLE001 - another key may do, whatever is wrong here
                _logger.warning("a key cannot be used: %s", in_one_line(error))
            else:
                return True
        return False


def _fits(entry: Mapping[str, Any], header: Mapping[str, Any]) -> bool:
    """Return whether a key may be the one that a token was signed with."""
    kind, curve = ALGORITHMS[header["alg"]]
    if entry["kty"] != kind or (curve is not None and entry.get("crv") != curve):
        return False
    if kind == "RSA" and len(str(entry.get("n"))) < _SHORTEST_MODULUS:
        return False
    said = entry.get("kid"), entry.get("alg"), entry.get("use")
    asked = header.get("kid", said[0]), header["alg"], "sig"
    # What a key does not say of itself excludes nothing.
    if any(theirs not in (None, ours) for theirs, ours in zip(said, asked, strict=True)):
        return False
    return "verify" in entry.get("key_ops", ("verify",))


@dataclass(frozen=True, slots=True)
class Expected:
    """Whose token it must be, for whom, and when.

    Attributes:
        issuer: The provider.
        client_id: The application.
        now: Unix time in seconds.
    """

    issuer: str
    client_id: str
    now: int

    @property
    def claims(self) -> dict[str, Any]:
        """What every token has to say."""
        issuer = {"essential": True, "value": self.issuer}
        return {"iss": issuer, "aud": {"essential": True, "value": self.client_id}}


def check_id_token(
    token: UnverifiedToken, expected: Expected, nonce: str, access_token: str, max_age: int | None
) -> dict[str, Any]:
    """Return the claims of an ID token. Who signed it is not checked here.

    Raises:
        JoseError: It does not hold what it must.
        ValueError: Its nonce is not ours, or the user proved who they are longer than ``max_age``
            seconds ago, or nobody knows when.
    """
    options = {**expected.claims, "sub": {"essential": True}}
    given = {"client_id": expected.client_id, "access_token": access_token}
    claims = CodeIDToken(dict(token.claims), dict(token.header), options, given)
    claims.validate(now=expected.now, leeway=LEEWAY)
    theirs = claims.get("nonce")
    if not isinstance(theirs, str) or not hmac.compare_digest(theirs.encode(), nonce.encode()):
        raise ValueError("the nonce is missing or not ours")
    if max_age is not None:
        proved_at = auth_time(claims)
        if proved_at is None or expected.now - proved_at > max_age + LEEWAY:
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


def check_logout_token(token: UnverifiedToken, expected: Expected) -> LogoutToken:
    """Return what a logout token says. Neither who signed it nor an earlier use is checked here.

    Raises:
        JoseError: It does not hold what it must.
        ValueError: It is another kind of token, too old, or about nobody.
    """
    claims = token.claims
    _require_kind(token.header, claims)
    required = {name: {"essential": True} for name in _REQUIRED}
    options: dict[str, Any] = {**expected.claims, **required}
    JWTClaimsRegistry(now=expected.now, leeway=LEEWAY, **options).validate(dict(claims))
    until = LEEWAY + min(claims["exp"], claims["iat"] + MOST_AGE)
    if until <= expected.now:
        raise ValueError("it was issued too long ago")
    subject, session = _name(claims, "sub"), _name(claims, "sid")
    if subject is None and session is None:
        raise ValueError("it says neither which user nor which session is meant")
    return LogoutToken(claims["jti"], subject, session, math.ceil(until - expected.now))


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
