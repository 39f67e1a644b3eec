"""The conversation with one provider: discovery, tokens, keys, userinfo."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import httpx2
from authlib.common.urls import add_params_to_uri
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuthError
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from pyfly_session.security.oauth2.authorization_request import Attempt
from pyfly_session.security.oauth2.errors import OAuth2LoginError
from pyfly_session.security.oauth2.provider_metadata import (
    WELL_KNOWN,
    ProviderMetadata,
    combine,
    needs_discovery,
)
from pyfly_session.security.oauth2.registration import ClientRegistration
from pyfly_session.security.oauth2.tokens import LogoutToken, verify_id_token, verify_logout_token

_logger = logging.getLogger(__name__)
_FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, OAuthError, ValueError, KeyError)
_INVALID = (JoseError, ValueError, TypeError, KeyError)
_DISCOVERY_LIFETIME = 3600
# Anybody may send a logout token; the provider shall not be asked for its keys each time.
_PATIENCE = 10

_Verified = TypeVar("_Verified")


class Provider:
    """One provider as one registration sees it. Shared by all requests, and event loops.

    Args:
        registration: Says who we are there.
        transport: Carries the requests; an ordinary connection if None.
        timeout: Seconds that one request may take.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        registration: ClientRegistration,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        timeout: float = 10,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.registration = registration
        self._transport = transport
        self._timeout = timeout
        self._clock = clock
        self._known: tuple[float, ProviderMetadata] | None = None
        self._keys: KeySet | None = None
        self._keys_renewed_at = -float("inf")
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def metadata(self) -> ProviderMetadata:
        """Return what is known of the provider; it is asked once an hour.

        Raises:
            OAuth2LoginError: It cannot be reached, or its document is unusable.
        """
        now = self._clock()
        if self._known is None or self._known[0] <= now:
            published: Mapping[str, Any] = {}
            try:
                if needs_discovery(self.registration):
                    url = self.registration.issuer_uri.rstrip("/") + WELL_KNOWN
                    published = await self._get_object(url)
                self._known = now + _DISCOVERY_LIFETIME, combine(self.registration, published)
            except _FAILURES as error:
                raise self._unavailable("its configuration", error) from error
        return self._known[1]

    async def authorization_url(self, attempt: Attempt) -> str:
        """Return where the browser has to go to log in."""
        metadata = await self.metadata()
        async with self._client(metadata) as client:
            extra: dict[str, Any] = {}
            if self.registration.is_openid:
                extra["nonce"] = attempt.nonce
                if attempt.max_age is not None:
                    extra["max_age"] = attempt.max_age
            url, _ = client.create_authorization_url(
                metadata.authorization_uri,
                state=attempt.state,
                code_verifier=attempt.verifier,
                redirect_uri=attempt.redirect_uri,
                scope=" ".join(self.registration.effective_scopes) or None,
                **extra,
            )
        return str(url)

    async def require_issuer(self, received: str | None) -> None:
        """Refuse an answer that another provider gave.

        Source: RFC 9207, section 2.4.
        """
        metadata = await self.metadata()
        if received is None:
            refused = metadata.sends_issuer or self.registration.require_iss
        else:
            refused = bool(metadata.issuer) and received != metadata.issuer
        if refused:
            raise OAuth2LoginError("invalid_iss", "The answer came from another provider.")

    async def exchange(self, code: str, attempt: Attempt) -> Mapping[str, Any]:
        """Return the tokens for a code."""
        metadata = await self.metadata()
        try:
            async with self._client(metadata) as client:
                token: Mapping[str, Any] = await client.fetch_token(
                    metadata.token_uri,
                    grant_type="authorization_code",
                    code=code,
                    redirect_uri=attempt.redirect_uri,
                    code_verifier=attempt.verifier,
                )
        except _FAILURES as error:
            _logger.warning("%s gave no token: %s", self._name, error)
            token = {}
        if not isinstance(token.get("access_token"), str):
            raise OAuth2LoginError(
                "token_exchange_failed", "The provider did not confirm the login.", 502
            )
        return token

    async def claims(self, token: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
        """Return the verified claims of the user that the tokens are about."""
        claims: Mapping[str, Any] | None = None
        if self.registration.is_openid:
            claims = await self._id_claims(token, attempt)
        name = self.registration.user_name_attribute
        if claims is None or self.registration.load_user_info or (name and name not in claims):
            more = await self._user_info(token["access_token"])
            if claims is not None and more.get("sub") != claims["sub"]:
                raise OAuth2LoginError("invalid_user_info", "The provider contradicts itself.", 401)
            # Only the ID token tells of the session at the provider.
            more = {each: more[each] for each in more.keys() - {"sid", "auth_time"}}
            claims = {**more, **(claims or {})}
        return claims

    async def logout_token(self, token: str) -> LogoutToken:
        """Return what a verified logout token says.

        Raises:
            OAuth2LoginError: It is not valid, or the provider cannot be reached.
        """
        return await self._verify(
            "logout token",
            lambda keys, metadata: verify_logout_token(
                token,
                keys,
                issuer=metadata.issuer,
                client_id=self.registration.client_id,
                now=int(self._clock()),
            ),
            OAuth2LoginError("invalid_request", "The logout token is not valid."),
            patience=_PATIENCE,
        )

    async def logout_url(self, id_token: str | None) -> str | None:
        """Return where the browser has to go to log out at the provider too, or None.

        Source: OpenID Connect RP-Initiated Logout 1.0, section 2.
        """
        metadata = await self.metadata()
        if not metadata.end_session_uri:
            return None
        back = self.registration.post_logout_redirect_uri
        given = {
            "id_token_hint": id_token,
            "client_id": self.registration.client_id,
            "post_logout_redirect_uri": back,
        }
        parameters = [(name, value) for name, value in given.items() if value]
        return str(add_params_to_uri(metadata.end_session_uri, parameters))

    async def _id_claims(self, token: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
        id_token = token.get("id_token")

        def verify(keys: KeySet, metadata: ProviderMetadata) -> Mapping[str, Any]:
            if not isinstance(id_token, str):
                raise TypeError("there is none")
            return verify_id_token(
                id_token,
                keys,
                issuer=metadata.issuer,
                client_id=self.registration.client_id,
                nonce=attempt.nonce,
                access_token=token["access_token"],
                now=int(self._clock()),
                max_age=attempt.max_age,
            )

        refusal = OAuth2LoginError("invalid_id_token", "The provider's answer is not valid.", 401)
        return await self._verify("ID token", verify, refusal)

    async def _verify(
        self,
        kind: str,
        verify: Callable[[KeySet, ProviderMetadata], _Verified],
        refusal: OAuth2LoginError,
        *,
        patience: float = 0,
    ) -> _Verified:
        metadata = await self.metadata()
        keys = await self._key_set(metadata)
        try:
            try:
                return verify(keys, metadata)
            except (BadSignatureError, InvalidKeyIdError):
                # The provider may have changed its keys.
                return verify(await self._newer_key_set(metadata, keys, patience), metadata)
        except _INVALID as error:
            _logger.warning("%s of %s is refused: %r", kind, self._name, error)
        raise refusal

    async def _key_set(self, metadata: ProviderMetadata) -> KeySet:
        return self._keys or await self._newer_key_set(metadata, None)

    async def _newer_key_set(
        self, metadata: ProviderMetadata, known: KeySet | None, patience: float = 0
    ) -> KeySet:
        """Return other keys than the known ones; many who ask at once make one request.

        Raises:
            OAuth2LoginError: They cannot be had, or it is too early to ask for them again.
        """
        # A lock belongs to one event loop.
        turn = self._turns.setdefault(id(asyncio.get_running_loop()), asyncio.Lock())
        async with turn:
            if self._keys is not None and self._keys is not known:
                return self._keys
            now = self._clock()
            if known is not None:
                if now < self._keys_renewed_at + patience:
                    raise _unreachable()
                self._keys_renewed_at = now
            try:
                self._keys = KeySet.import_key_set(await self._get_object(metadata.jwks_uri))
            except (*_FAILURES, JoseError, TypeError) as error:
                raise self._unavailable("its keys", error) from error
            return self._keys

    async def _user_info(self, access_token: str) -> Mapping[str, Any]:
        metadata = await self.metadata()
        if not metadata.user_info_uri:
            raise OAuth2LoginError("login_failed", "The provider does not say who you are.", 401)
        try:
            claims: Mapping[str, Any] = await self._get_object(metadata.user_info_uri, access_token)
        except _FAILURES as error:
            raise self._unavailable("userinfo", error) from error
        return claims

    async def _get_object(self, url: str, access_token: str | None = None) -> Any:
        headers = {"Accept": "application/json"}
        if access_token is not None:
            headers["Authorization"] = f"Bearer {access_token}"
        async with httpx2.AsyncClient(transport=self._transport, timeout=self._timeout) as client:
            response = await client.get(url, headers=headers)
            response.raise_for_status()
            answer = response.json()
        if not isinstance(answer, dict):
            raise ValueError(f"{url} did not answer with a JSON object")  # noqa: TRY004
        return answer

    def _client(self, metadata: ProviderMetadata) -> Any:
        registration = self.registration
        method = registration.client_authentication_method.replace("-", "_")
        if not method and registration.client_secret and metadata.secret_in_body:
            method = "client_secret_post"
        return AsyncOAuth2Client(
            client_id=registration.client_id,
            client_secret=registration.client_secret or None,
            token_endpoint_auth_method=method or None,
            code_challenge_method="S256",
            transport=self._transport,
            timeout=self._timeout,
        )

    @property
    def _name(self) -> str:
        return f"the provider of registration {self.registration.registration_id}"

    def _unavailable(self, what: str, error: Exception) -> OAuth2LoginError:
        _logger.error("%s: %s cannot be had: %r", self._name, what, error)
        return _unreachable()


def _unreachable() -> OAuth2LoginError:
    return OAuth2LoginError(
        "provider_unavailable", "The provider cannot be reached. Please try again later.", 502
    )
