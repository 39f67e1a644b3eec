"""A small provider that does as it is told, the wrong things above all."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pyfly_session.security.oauth2 import ClientRegistration
from tests.conftest import Clock

LOGOUT = "http://schemas.openid.net/event/backchannel-logout"
# Making a key takes long.
KEYS = [RSAKey.generate_key(2048, {"kid": f"key-{n}", "use": "sig"}) for n in range(2)]


@dataclass
class FakeProvider:
    """One provider at one host.

    Attributes:
        published: Replaces entries of the discovery document.
        token_claims: Replaces claims of every ID token; None removes one.
        sign: Makes the ID token of its claims.
        send_id_token: Whether there is one at all.
        user_info: The answer of the userinfo endpoint.
        keys: Replaces the published keys.
        answers: What a path answers instead, by path.
        before: Called with the path of every request, before it is answered.
        down: Every request fails.
        requests: Path of every request so far.
    """

    host: str
    clock: Clock
    key: RSAKey = field(default_factory=lambda: KEYS[0])
    published: dict[str, Any] = field(default_factory=dict)
    token_claims: dict[str, Any] = field(default_factory=dict)
    sign: Callable[[dict[str, Any]], str] | None = None
    send_id_token: bool = True
    user_info: dict[str, Any] = field(default_factory=dict)
    keys: Any = None
    answers: dict[str, Response] = field(default_factory=dict)
    before: Callable[[str], Awaitable[None]] | None = None
    down: bool = False
    requests: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/jwks", self._jwks),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._user_info),
            ]
        )

    @property
    def issuer(self) -> str:
        return f"https://{self.host}"

    def registration(self, registration_id: str, **options: Any) -> ClientRegistration:
        """Return a registration of the application here."""
        options.setdefault("issuer_uri", self.issuer)
        return ClientRegistration(registration_id, "shop", "s3cret/+", **options)

    def log_in(self, location: str, user: str = "alice", **answer: str | None) -> str:
        """Let a user log in on the provider's page, and return the query of the way back."""
        url = urlsplit(location)
        assert (url.scheme, url.netloc, url.path) == ("https", self.host, "/auth")
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        code = f"code-{self.host}-{len(self.codes)}"
        self.codes[code] = {**asked, "user": user}
        query = {"code": code, "state": asked["state"], **answer}
        return urlencode({name: value for name, value in query.items() if value is not None})

    async def _discovery(self, request: Request) -> Response:
        base = self.issuer
        return JSONResponse(
            {
                "issuer": base, "authorization_endpoint": f"{base}/auth",
                "token_endpoint": f"{base}/token", "userinfo_endpoint": f"{base}/userinfo",
                "jwks_uri": f"{base}/jwks", **self.published,
            }
        )  # fmt: skip

    async def _jwks(self, request: Request) -> Response:
        keys = self.keys or {"keys": [self.key.as_dict(private=False)]}
        return JSONResponse(keys)

    async def _token(self, request: Request) -> Response:
        form = {
            name: values[0] for name, values in parse_qs((await request.body()).decode()).items()
        }
        kind, _, credentials = request.headers.get("authorization", "").partition(" ")
        if kind == "Basic":
            self.secrets.append(base64.b64decode(credentials).decode())
        elif "client_secret" in form:
            self.secrets.append(form["client_secret"])
        asked = self.codes.get(form.get("code", ""))
        challenge = base64.urlsafe_b64encode(
            hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        )
        if (
            asked is None
            or "used" in asked
            or asked["code_challenge"] != challenge.rstrip(b"=").decode()
            or asked["redirect_uri"] != form.get("redirect_uri")
        ):
            return JSONResponse({"error": "invalid_grant", "error_description": "<b>"}, 400)
        asked["used"] = "yes"
        answer = {"access_token": f"at-{asked['user']}", "token_type": "Bearer"}
        if self.send_id_token:
            answer["id_token"] = self.id_token(asked)
        return JSONResponse(answer)

    def id_token(self, asked: dict[str, str]) -> str:
        """Return the ID token of a login."""
        now = int(self.clock())
        claims = {
            "iss": self.issuer, "aud": asked["client_id"], "sub": asked["user"], "iat": now,
            "exp": now + 300, "nonce": asked.get("nonce"), "email": f"{asked['user']}@example.org",
            **self.token_claims,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def logout_token(
        self, header: dict[str, Any] | None = None, key: RSAKey | None = None, **claims: Any
    ) -> str:
        """Return a logout token; what is None is left out."""
        now = int(self.clock())
        body = {
            "iss": self.issuer, "aud": "shop", "iat": now, "exp": now + 120,
            "jti": f"logout-{next(self.numbers)}", "events": {LOGOUT: {}}, **claims,
        }  # fmt: skip
        body = {name: value for name, value in body.items() if value is not None}
        key = key or self.key
        head = {"alg": "RS256", "kid": key.kid, "typ": "logout+jwt", **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, body, key, default_type=None)

    async def _user_info(self, request: Request) -> Response:
        token = request.headers["authorization"]
        assert token.startswith("Bearer at-")
        return JSONResponse({"sub": token.removeprefix("Bearer at-"), **self.user_info})


class Network:
    """Carries requests to providers by their host."""

    def __init__(self, *providers: FakeProvider) -> None:
        self._providers = {each.host: each for each in providers}
        self.transport = httpx2.ASGITransport(app=self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = dict(scope["headers"])[b"host"].decode()
        provider = self._providers[host]
        provider.requests.append(scope["path"])
        # A real network lets other tasks run meanwhile.
        await asyncio.sleep(0)
        if provider.before is not None:
            await provider.before(scope["path"])
        if provider.down:
            raise httpx2.ConnectError("refused")
        answer = provider.answers.get(scope["path"], provider.app)
        await answer(scope, receive, send)
