"""Registrations of this application at its providers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class ClientRegistration:
    """One registration at one provider.

    Attributes:
        registration_id: Its name in URLs and properties.
        client_id: Id of the application at the provider.
        client_secret: Its secret; empty for a public client.
        redirect_uri: Where the provider sends the browser back to, with ``{baseUrl}`` and the
            like filled in; empty: made from the request.
        response_mode: How its answer comes back: ``form_post``, or empty for the query.
        scopes: What to ask for; empty: ``openid``, if there is an issuer.
        issuer_uri: The provider, to discover what is not given below.
        require_iss: Refuse an answer without ``iss``.
        load_user_info: Ask for userinfo although there is an ID token.
        user_name_attribute: The claim that is the user's id.
        role_claims: Claims whose values become roles; dots lead into nested ones.
        role_mapping: ``claim value=ROLE``; empty: the values are the roles.
    """

    registration_id: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    authorization_grant_type: str = "authorization_code"
    redirect_uri: str = ""
    response_mode: str = ""
    scopes: tuple[str, ...] | list[str] = ()
    authorization_uri: str = ""
    token_uri: str = ""
    user_info_uri: str = ""
    jwks_uri: str = ""
    issuer_uri: str = ""
    provider_name: str = ""
    end_session_uri: str = ""
    post_logout_redirect_uri: str = ""
    client_authentication_method: str = ""
    require_iss: bool = False
    load_user_info: bool = False
    user_name_attribute: str = ""
    role_claims: tuple[str, ...] | list[str] = ()
    role_mapping: tuple[str, ...] | list[str] = ()

    @classmethod
    def google(cls, client_id: str, client_secret: str, **more: Any) -> ClientRegistration:
        """Return a registration at Google; ``more`` are attributes that are to be others."""
        known = {
            "registration_id": "google",
            "provider_name": "Google",
            "issuer_uri": "https://accounts.google.com",
            "scopes": ("openid", "profile", "email"),
        }
        return cls(client_id=client_id, client_secret=client_secret, **{**known, **more})

    @classmethod
    def github(cls, client_id: str, client_secret: str, **more: Any) -> ClientRegistration:
        """Return a registration at GitHub, which has no OpenID Connect; its users are numbers."""
        known = {
            "registration_id": "github",
            "provider_name": "GitHub",
            "authorization_uri": "https://github.com/login/oauth/authorize",
            "token_uri": "https://github.com/login/oauth/access_token",
            "user_info_uri": "https://api.github.com/user",
            "scopes": ("read:user",),
            "user_name_attribute": "id",
        }
        return cls(client_id=client_id, client_secret=client_secret, **{**known, **more})

    @classmethod
    def keycloak(
        cls, client_id: str, client_secret: str = "", *, issuer_uri: str, **more: Any
    ) -> ClientRegistration:
        """Return a registration at a realm of Keycloak, whose roles are the user's.

        Args:
            client_id: Id of the client.
            client_secret: Its secret; empty for a public client.
            issuer_uri: The realm: ``https://sso.example.org/realms/shop``.
            more: Attributes that are to be others.
        """
        known = {
            "registration_id": "keycloak",
            "provider_name": "Keycloak",
            "scopes": ("openid", "profile", "email"),
            "role_claims": ("realm_access.roles",),
        }
        given = {"issuer_uri": issuer_uri, **known, **more}
        return cls(client_id=client_id, client_secret=client_secret, **given)

    @property
    def effective_scopes(self) -> tuple[str, ...]:
        """The scopes that are asked for."""
        return tuple(self.scopes) or (("openid",) if self.issuer_uri else ())

    @property
    def is_openid(self) -> bool:
        """True if an ID token is due."""
        return "openid" in self.effective_scopes


class ClientRegistrationRepository(Protocol):
    """Where `OAuth2LoginHandler` looks registrations up."""

    def find_by_registration_id(self, registration_id: str) -> ClientRegistration | None:
        """Return a registration, or None if there is none of this id."""
        ...


class InMemoryClientRegistrationRepository:
    """Registrations that are known at start."""

    def __init__(self, *registrations: ClientRegistration) -> None:
        self._registrations = {each.registration_id: each for each in registrations}

    def find_by_registration_id(self, registration_id: str) -> ClientRegistration | None:
        """Return a registration, or None if there is none of this id."""
        return self._registrations.get(registration_id)

    def add(self, registration: ClientRegistration) -> None:
        """Add a registration, in place of one with its id."""
        self._registrations[registration.registration_id] = registration

    @property
    def registrations(self) -> list[ClientRegistration]:
        """Every registration, in the order in which they came."""
        return list(self._registrations.values())
