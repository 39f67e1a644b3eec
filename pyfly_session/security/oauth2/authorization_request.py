"""Logins that were started and have not come back yet, and where the browser may go after one.

They are kept in the session, each in an attribute of its own: two tabs that start at the same
moment keep both.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import asdict, dataclass, fields
from typing import Any

from pyfly_session.core.session import HttpSession

LIFETIME = 600
"""Seconds that a user has for the provider's pages."""

MOST = 8
"""So many attempts of a session at once; the oldest gives way."""

_PREFIX = "_oauth2_login."


@dataclass(frozen=True, slots=True)
class Attempt:
    """One started login.

    Attributes:
        registration_id: The registration it is for, and no other.
        state: Ties the provider's answer to this browser.
        nonce: Ties the ID token to this attempt.
        verifier: Proves to the provider that the code comes back to who asked (PKCE).
        redirect_uri: Where the provider was told to send the browser.
        target: The page that the user wanted.
        expires_at: Unix time in seconds.
        max_age: Seconds since the user proved to the provider who they are, at most; None for
            any.
    """

    registration_id: str
    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    target: str
    expires_at: float
    max_age: int | None = None

    @property
    def started_at(self) -> float:
        """When the login was started, as Unix time in seconds."""
        return self.expires_at - LIFETIME


def start(
    session: HttpSession,
    registration_id: str,
    *,
    redirect_uri: str,
    target: str,
    now: float,
    max_age: int | None = None,
) -> Attempt:
    """Begin an attempt and keep it in the session."""
    attempt = Attempt(
        registration_id=registration_id,
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        redirect_uri=redirect_uri,
        target=target,
        expires_at=now + LIFETIME,
        max_age=max_age,
    )
    alive = []
    for name in _names(session):
        known = _read(session.get_attribute(name))
        if known is None or known.expires_at <= now:
            session.remove_attribute(name)
        else:
            alive.append((known.expires_at, name))
    for _, name in sorted(alive)[: max(0, len(alive) - MOST + 1)]:
        session.remove_attribute(name)
    session.set_attribute(_name(attempt.state), asdict(attempt))
    return attempt


def take(session: HttpSession, registration_id: str, state: str, now: float) -> Attempt | None:
    """Return the attempt of a state and use it up, or None if there is none that may be used."""
    # The name is a hash, so that finding it tells nothing about the state by its time.
    name = _name(state)
    attempt = _read(session.get_attribute(name))
    session.remove_attribute(name)
    if (
        attempt is None
        or not hmac.compare_digest(attempt.state.encode(), state.encode())
        or attempt.registration_id != registration_id
        or attempt.expires_at <= now
    ):
        return None
    return attempt


def _names(session: HttpSession) -> list[str]:
    return [name for name in session.attribute_names() if name.startswith(_PREFIX)]


def _name(state: str) -> str:
    return _PREFIX + hashlib.sha256(state.encode(errors="replace")).hexdigest()[:32]


def _read(stored: Any) -> Attempt | None:
    if not isinstance(stored, dict):
        return None
    try:
        texts = {name: stored[name] for name in _TEXTS}
        expires_at = stored["expires_at"]
    except KeyError:
        return None
    # A node of a former version knows no such limit.
    max_age = stored.get("max_age")
    usable = all(isinstance(text, str) for text in texts.values())
    if not (usable and isinstance(expires_at, int | float) and isinstance(max_age, int | None)):
        return None
    return Attempt(**texts, expires_at=expires_at, max_age=max_age)


_TEXTS = [each.name for each in fields(Attempt) if each.name not in ("expires_at", "max_age")]

AUTHORIZATION = "/oauth2/authorization/"
"""Begins the path that leads to a provider; the registration's id ends it."""

# One slash, then neither a second one nor a backslash, which browsers take for one. Browsers
# also drop tabs and line ends wherever they are, so no control character may be there at all.
_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f-\x9f]*")
_LONGEST = 2048


def local_target(wanted: object, default: str) -> str:
    """Return the wanted target if it is a path of this application, else the default."""
    if isinstance(wanted, str) and len(wanted) <= _LONGEST and _LOCAL.fullmatch(wanted):
        return wanted
    return default
