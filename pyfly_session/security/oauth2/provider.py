"""The conversation with one provider: discovery, tokens, keys, userinfo."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import httpx2
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from pyfly_session.security.oauth2.authorization_request import Attempt
from pyfly_session.security.oauth2.errors import OAuth2LoginError, in_one_line, unreachable
from pyfly_session.security.oauth2.provider_client import ProviderClient
from pyfly_session.security.oauth2.provider_metadata import (
    WELL_KNOWN,
    ProviderMetadata,
    combine,
    needs_discovery,
)
from pyfly_session.security.oauth2.published import Published
from pyfly_session.security.oauth2.registration import ClientRegistration
from pyfly_session.security.oauth2.tokens import (
    Expected,
    LogoutToken,
    ProviderKeys,
    UnverifiedToken,
    check_id_token,
    check_logout_token,
)

_logger = logging.getLogger(__name__)
# Anybody may send a logout token; the provider shall not be asked for its keys each time.
_STRANGERS_PAUSE = 10

_Checked = TypeVar("_Checked")


class Provider:
    """One provider as one registration sees it. Shared by all requests, and event loops.

    Args:
        registration: Says who we are there.
        transport: Carries the requests; an ordinary connection if None.
        timeout: Seconds that one answer may take as a whole.
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
        self._metadata = Published(self._discover, lambda: self._clock())
        self._keys = Published(self._ask_for_keys, lambda: self._clock())

    async def metadata(self) -> ProviderMetadata:
        """Return what is known of the provider.

        Raises:
            OAuth2LoginError: It cannot be reached, or its document is unusable.
        """
        return await self._metadata.get()

    async def authorization_url(self, attempt: Attempt) -> str:
        """Return where the browser has to go to log in."""
        metadata, registration = await self.metadata(), self.registration
        is_openid = registration.is_openid
        url = prepare_grant_uri(
            metadata.authorization_uri,
            registration.client_id,
            "code",
            attempt.redirect_uri,
            " ".join(registration.effective_scopes),
            attempt.state,
            nonce=attempt.nonce if is_openid else None,
            max_age=attempt.max_age if is_openid else None,
            response_mode=registration.response_mode or None,
            code_challenge=create_s256_code_challenge(attempt.verifier),
            code_challenge_method="S256",
        )
        return str(url)

    async def require_issuer(self, received: str | None) -> None:
        """Refuse an answer that another provider gave.

        Source: RFC 9207, section 2.4.
        """
        metadata, required = await self.metadata(), self.registration.require_iss
        if received is None:
            refused = metadata.sends_issuer or required
        else:
            refused = received != metadata.issuer and bool(metadata.issuer or required)
        if refused:
            raise OAuth2LoginError("invalid_iss", "The answer came from another provider.")

    async def exchange(self, code: str, attempt: Attempt) -> Mapping[str, Any]:
        """Return the tokens for a code."""
        metadata = await self.metadata()
        refusal = OAuth2LoginError(
            "token_exchange_failed", "The provider did not confirm the login.", 502
        )
        async with self._asking("a token", refusal) as client:
            method = self.registration.client_authentication_method.replace("-", "_")
            if method or (metadata.secret_in_body and self.registration.client_secret):
                client.token_endpoint_auth_method = method or "client_secret_post"
            token: Mapping[str, Any] = await client.fetch_token(
                metadata.token_uri,
                grant_type="authorization_code",
                code=code,
                redirect_uri=attempt.redirect_uri,
                code_verifier=attempt.verifier,
            )
            if not isinstance(token["access_token"], str):
                raise TypeError("the access token is no text")
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
        refusal = OAuth2LoginError("invalid_request", "The logout token is not valid.")
        return await self._verify(
            "logout token", token, check_logout_token, refusal, pause=_STRANGERS_PAUSE
        )

    async def logout_url(self, id_token: str | None, back: str) -> str | None:
        """Return where the browser has to go to log out at the provider too, or None.

        Source: OpenID Connect RP-Initiated Logout 1.0, section 2.
        """
        metadata = await self.metadata()
        if not metadata.end_session_uri:
            return None
        given = {
            "id_token_hint": id_token,
            "client_id": self.registration.client_id,
            "post_logout_redirect_uri": back,
        }
        parameters = [(name, value) for name, value in given.items() if value]
        with self._deciding("its page for logouts cannot be had", unreachable()):
            return str(add_params_to_uri(metadata.end_session_uri, parameters))

    async def _id_claims(self, token: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
        def check(read: UnverifiedToken, expected: Expected) -> Mapping[str, Any]:
            given = attempt.nonce, token["access_token"], attempt.max_age
            return check_id_token(read, expected, *given)

        refusal = OAuth2LoginError("invalid_id_token", "The provider's answer is not valid.", 401)
        return await self._verify("ID token", token.get("id_token"), check, refusal)

    async def _verify(
        self,
        kind: str,
        token: object,
        check: Callable[[UnverifiedToken, Expected], _Checked],
        refusal: OAuth2LoginError,
        *,
        pause: float = 0,
    ) -> _Checked:
        """Return what a token says: all that can be refused without the provider is refused first.

        Args:
            kind: What is verified.
            token: The token, as it came.
            check: Checks what it says.
            refusal: What is raised if it is not valid.
            pause: Seconds between two times that new keys may be asked for.
        """
        with self._deciding(f"{kind} is refused", refusal):
            read = UnverifiedToken.read(token)
            issuer, client_id = (await self.metadata()).issuer, self.registration.client_id
            checked = check(read, Expected(issuer, client_id, int(self._clock())))
            keys = await self._keys.get()
            if not keys.have_signed(read):
                # The provider may have changed its keys.
                newer = await self._keys.other_than(keys, pause)
                if not newer.have_signed(read):
                    raise ValueError("none of the provider's keys has signed it")
        return checked

    async def _discover(self) -> ProviderMetadata:
        published: Mapping[str, Any] = {}
        async with self._asking("its configuration") as client:
            if needs_discovery(self.registration):
                url = self.registration.issuer_uri.rstrip("/") + WELL_KNOWN
                published = await client.get_object(url)
            return combine(self.registration, published)

    async def _ask_for_keys(self) -> ProviderKeys:
        metadata = await self.metadata()
        async with self._asking("its keys") as client:
            return ProviderKeys(await client.get_object(metadata.jwks_uri))

    async def _user_info(self, access_token: str) -> Mapping[str, Any]:
        url = (await self.metadata()).user_info_uri
        if not url:
            raise OAuth2LoginError("login_failed", "The provider does not say who you are.", 401)
        async with self._asking("userinfo") as client:
            return await client.get_object(url, access_token)

    @asynccontextmanager
    async def _asking(
        self, what: str, refusal: OAuth2LoginError | None = None
    ) -> AsyncIterator[ProviderClient]:
        with self._deciding(f"{what} cannot be had", refusal or unreachable()):
            async with ProviderClient(
                self._timeout,
                client_id=self.registration.client_id,
                client_secret=self.registration.client_secret or None,
                transport=self._transport,
            ) as client:
                yield client

    @contextmanager
    def _deciding(self, failure: str, refusal: OAuth2LoginError) -> Iterator[None]:
        """Make one error, and one line of the log, of whatever a provider does wrong inside.

        Here alone is decided that it is the provider's fault: there is no end of what one can say.
        """
        try:
            yield
        except OAuth2LoginError:
            raise
        except Exception as error:
            name = self.registration.registration_id
            _logger.warning("the provider of %s: %s: %s", name, failure, in_one_line(error))
            raise refusal from error
