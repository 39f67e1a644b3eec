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
from pyfly_session.core.session import HttpSession
from pyfly_session.security.login import filter_of
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
    def record_id(self) -> str:
        """The id of the record that it has been used."""
        return ids.record_id("login", _hash(self.state))


class AttemptCookies:
    """The attempts of browsers, each in an encrypted cookie. Shared by all requests.

    Args:
        secret: What all processes of the application know, and nobody else; empty for the secret
            of each registration at its provider.
        lifetime: Seconds that an attempt lives.
        clock: Unix time in seconds.
    """

    def __init__(self, secret: str, lifetime: int, clock: Callable[[], float]) -> None:
        self._secret = secret
        # For public clients: their attempts come back to this process alone.
        self._own_secret = secrets.token_urlsafe(32)
        self._lifetime = lifetime
        self._clock = clock

    def begin(
        self,
        request: Request,
        response: Response,
        session: HttpSession,
        registration: ClientRegistration,
        attempt: Attempt,
    ) -> None:
        """Give the browser a new attempt, and take back the oldest if it has too many."""
        self.keep(request, response, registration, attempt)
        known = session.get_attribute(_STARTED)
        earliest = attempt.started_at - self._lifetime

        def with_this(names: Any) -> list[Any]:
            alive = [pair for pair in _pairs(names) if pair[1] > earliest]
            return [*alive, [attempt.cookie_name, attempt.started_at]][-MOST:]

        alive = {name for name, _ in session.update_attribute(_STARTED, with_this)}
        for name, _ in _pairs(known):
            if name not in alive:
                response.delete_cookie(name, **_attributes(request, registration, attempt))

    def keep(
        self,
        request: Request,
        response: Response,
        registration: ClientRegistration,
        attempt: Attempt,
    ) -> None:
        """Give the browser an attempt for the rest of its life.

        Raises:
            OAuth2LoginError: It does not fit into a cookie.
        """
        text = json.dumps(asdict(attempt), ensure_ascii=False, separators=(",", ":"))
        key = self._key(registration)
        sealed = jwe.encrypt_compact(_HEADER, text.encode("utf-8", "replace"), key)
        if len(sealed) > LARGEST:
            raise OAuth2LoginError("invalid_request", "The provider's answer is too large.", 502)
        rest = math.ceil(attempt.started_at + self._lifetime - self._clock())
        response.set_cookie(
            attempt.cookie_name, sealed, rest, **_attributes(request, registration, attempt)
        )

    def find(
        self, request: Request, registration: ClientRegistration, state: str
    ) -> Attempt | None:
        """Return the attempt of a state, None if this browser has none for the registration."""
        sealed = request.cookies.get(cookie_name(state), "")
        try:
            opened = jwe.decrypt_compact(sealed, self._key(registration), [*_HEADER.values()])
            attempt = Attempt(**json.loads(opened.plaintext or b""))
        except Exception:  # noqa: BLE001 - whatever it is, it is not what was encrypted here
            return None
        usable = (
            hmac.compare_digest(attempt.state.encode(), state.encode(errors="replace"))
            and attempt.registration_id == registration.registration_id
            and attempt.started_at + self._lifetime > self._clock()
        )
        return attempt if usable else None

    def _key(self, registration: ClientRegistration) -> OctKey:
        secret = self._secret or registration.client_secret or self._own_secret
        purpose = f"pyfly_session login {registration.registration_id}".encode()
        return OctKey.import_key(hmac.digest(secret.encode(), purpose, "sha256"))


def _attributes(
    request: Request, registration: ClientRegistration, attempt: Attempt
) -> dict[str, Any]:
    """Return the attributes of an attempt's cookie."""
    used = filter_of(request)
    resolver: Any = None if used is None else used.resolver
    if isinstance(resolver, SessionIdResolvers):
        resolver = resolver.of_request(request.scope["headers"])
    # A page of the provider sends the form, and comes from another site.
    in_form = registration.response_mode == "form_post"
    return {
        "path": urlsplit(attempt.redirect_uri).path.rpartition("/")[0] + "/",
        "domain": getattr(resolver, "domain", None),
        "secure": in_form or request.url.scheme == "https" or getattr(resolver, "secure", False),
        "httponly": True,
        "samesite": "none" if in_form else "lax",
    }


def _pairs(names: Any) -> list[list[Any]]:
    """Return what is known of a browser's attempts: the name of each cookie and its time."""
    return [each for each in names if len(each) == 2] if isinstance(names, list) else []


def new_state(former: str = "") -> str | None:
    """Return a state for a login, None if it would follow a former one that is none of ours.

    It tells how often the login was begun anew by itself, and there is none after the third time.
    """
    known = _STATE.fullmatch(former)
    if former and known is None:
        return None
    return ("" if known is None else f"{known[1]}.") + secrets.token_urlsafe(32)


def cookie_name(state: str) -> str:
    """Return the name of the cookie of an attempt. It tells nothing about the state."""
    return _COOKIE + _hash(state)[:16]


def _hash(state: str) -> str:
    return hashlib.sha256(state.encode(errors="replace")).hexdigest()[:40]
