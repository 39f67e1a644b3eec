"""Logins that were started and have not come back yet.

Each is in an encrypted cookie of its own, which the browser sends to the way back alone: it does
not matter what becomes of the session meanwhile, nor how many tabs there are. The session knows
their names, so that the oldest can give way.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from joserfc import jwe
from joserfc.jwk import OctKey
from starlette.requests import Request
from starlette.responses import Response

from pyfly_session import ids
from pyfly_session.security.login import filter_of, session_of
from pyfly_session.security.oauth2.errors import OAuth2LoginError
from pyfly_session.security.oauth2.registration import ClientRegistration
from pyfly_session.web.session_id_resolver import SessionIdResolvers

AUTHORIZATION = "/oauth2/authorization/"
"""Begins the path that leads to a provider; the registration's id ends it."""

MOST = 8
"""So many attempts of a browser at once; the oldest gives way."""

LARGEST = 4000
"""So many characters fit into a cookie."""

_COOKIE = "PYFLY_LOGIN_"
_STARTED = "_oauth2_started"
_Clock = Callable[[], float]
_HEADER = {"alg": "dir", "enc": "A256GCM"}
# A dot for each time that a login was begun anew by itself; that has an end.
_STATE = re.compile(r"(\.{0,2})[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One started login.

    Attributes:
        registration_id: The registration it is for, and no other.
        redirect_uri: Where the provider was told to send the browser.
        target: The page that the user wanted.
        started_at: Unix time in seconds.
        max_age: Seconds since the user proved to the provider who they are, at most; None for
            any.
        state: Ties the provider's answer to this browser.
        nonce: Ties the ID token to this attempt.
        verifier: Proves to the provider that the code comes back to who asked (PKCE).
        answer: What the provider sent in a form.
    """

    registration_id: str
    redirect_uri: str
    target: str
    started_at: float
    max_age: int | None
    state: str = field(repr=False)
    nonce: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(32))
    verifier: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(48))
    answer: dict[str, str] | None = field(repr=False, default=None)

    @property
    def cookie_name(self) -> str:
        """The name of the cookie that it is in."""
        return cookie_name(self.state)

    @property
    def way_back(self) -> str:
        """The path that the browser comes back to, as it knows it."""
        return urlsplit(self.redirect_uri).path

    @property
    def record_id(self) -> str:
        """The id of the record that it has been used."""
        return ids.record_id("login", _hash(self.state))


class AttemptCookies:
    """The attempts of browsers for one registration, each in an encrypted cookie.

    Args:
        registration: The registration.
        secret: What all processes of the application know, and nobody else.
        lifetime: Seconds that an attempt lives.
        clock: Unix time in seconds.
    """

    def __init__(
        self, registration: ClientRegistration, secret: str, lifetime: int, clock: _Clock
    ) -> None:
        self._registration = registration
        self._lifetime = lifetime
        self._clock = clock
        purpose = f"pyfly_session login {registration.registration_id}".encode()
        self._key = OctKey.import_key(hmac.digest(secret.encode(), purpose, "sha256"))

    def begin(self, request: Request, response: Response, attempt: Attempt) -> None:
        """Give the browser a new attempt, and take back the oldest if it has too many."""
        self.keep(request, response, attempt)
        session = session_of(request)
        known = session.get_attribute(_STARTED)
        earliest = attempt.started_at - self._lifetime

        def with_this(names: Any) -> list[Any]:
            alive = [pair for pair in _pairs(names) if pair[1] > earliest]
            return [*alive, [attempt.cookie_name, attempt.started_at]][-MOST:]

        alive = {name for name, _ in session.update_attribute(_STARTED, with_this)}
        for name, _ in _pairs(known):
            if name not in alive:
                response.delete_cookie(name, **self._attributes(request, attempt))

    def keep(self, request: Request, response: Response, attempt: Attempt) -> None:
        """Give the browser an attempt for the rest of its life.

        Raises:
            OAuth2LoginError: It does not fit into a cookie.
        """
        text = json.dumps(asdict(attempt), ensure_ascii=False, separators=(",", ":"))
        sealed = jwe.encrypt_compact(_HEADER, text.encode("utf-8", "replace"), self._key)
        if len(sealed) > LARGEST:
            raise OAuth2LoginError("invalid_request", "The provider's answer is too large.", 502)
        rest = math.ceil(attempt.started_at + self._lifetime - self._clock())
        attributes = self._attributes(request, attempt)
        response.set_cookie(attempt.cookie_name, sealed, rest, **attributes)

    def find(self, request: Request, state: str) -> Attempt | None:
        """Return the attempt of a state, None if this browser has none for the registration."""
        sealed = request.cookies.get(cookie_name(state), "")
        try:
            opened = jwe.decrypt_compact(sealed, self._key, [*_HEADER.values()])
            attempt = Attempt(**json.loads(opened.plaintext or b""))
        except Exception:  # noqa: BLE001 - whatever it is, it is not what was encrypted here
            return None
        usable = (
            hmac.compare_digest(attempt.state.encode(), state.encode(errors="replace"))
            and attempt.registration_id == self._registration.registration_id
            and attempt.started_at + self._lifetime > self._clock()
        )
        return attempt if usable else None

    def _attributes(self, request: Request, attempt: Attempt) -> dict[str, Any]:
        used = filter_of(request)
        resolver: Any = None if used is None else used.resolver
        if isinstance(resolver, SessionIdResolvers):
            resolver = resolver.of_request(request.scope["headers"])
        # A page of the provider sends the form, and comes from another site.
        in_form = self._registration.response_mode == "form_post"
        is_secure = request.url.scheme == "https" or getattr(resolver, "secure", False)
        return {
            "path": attempt.way_back.rpartition("/")[0] + "/",
            "domain": getattr(resolver, "domain", None),
            "secure": in_form or is_secure,
            "httponly": True,
            "samesite": "none" if in_form else "lax",
        }


def _pairs(names: Any) -> list[list[Any]]:
    """Return what is known of a browser's attempts: the name of each cookie and its time."""
    return [each for each in names if len(each) == 2] if isinstance(names, list) else []


def new_state(former: str = "") -> str:
    """Return a state for a login; it tells how often that was begun anew by itself."""
    known = _STATE.fullmatch(former)
    return ("" if known is None else f"{known[1]}.") + secrets.token_urlsafe(32)


def may_be_followed(state: str) -> bool:
    """Return whether it may be one of ours, and its login may be begun anew by itself."""
    return _STATE.fullmatch(state) is not None


def cookie_name(state: str) -> str:
    """Return the name of the cookie of an attempt. It tells nothing about the state."""
    return _COOKIE + _hash(state)[:16]


def _hash(state: str) -> str:
    return hashlib.sha256(state.encode(errors="replace")).hexdigest()[:40]
