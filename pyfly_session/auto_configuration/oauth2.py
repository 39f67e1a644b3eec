"""The part of the container for the login with a provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dependency_injector import providers
from msgspec.structs import asdict

from pyfly_session.auto_configuration.extras import needed_by
from pyfly_session.auto_configuration.following import following, when
from pyfly_session.auto_configuration.web import SessionFilterAutoConfiguration
from pyfly_session.config import SessionProperties
from pyfly_session.config.oauth2_properties import (
    PREFIX,
    OAuth2Properties,
    RegistrationProperties,
    bind_oauth2_properties,
)
from pyfly_session.errors import ConfigurationError
from pyfly_session.security.context_filter import SecurityContextFilter
from pyfly_session.security.oauth2 import (
    ClientRegistration,
    InMemoryClientRegistrationRepository,
)
from pyfly_session.security.oauth2.claims import (
    ContextMapper,
    claims_to_context,
    qualified_context,
)
from pyfly_session.web.session_filter import SessionFilter

_ENABLED = f"{PREFIX}.login.enabled"
_QUALIFIED = f"{PREFIX}.login.qualified-user-ids"
_BACK_CHANNEL = f"{PREFIX}.login.back-channel-logout"


def _registration(name: str, given: RegistrationProperties) -> ClientRegistration:
    # What is not given has the default of the registration itself.
    known = {key: value for key, value in asdict(given).items() if value is not None}
    known["provider_name"] = given.client_name or given.provider_name or ""
    known["response_mode"] = {"query": "", "form-post": "form_post"}[given.response_mode]
    for key in ("client_name", "use_pkce", "authorization_grant_type"):
        known.pop(key, None)
    return ClientRegistration(**{"registration_id": name, "client_id": "", **known})


def _repository(properties: OAuth2Properties) -> InMemoryClientRegistrationRepository:
    known = properties.registrations.items() if properties.client.enabled else ()
    return InMemoryClientRegistrationRepository(*(_registration(*each) for each in known))


def _mapper(properties: OAuth2Properties) -> ContextMapper:
    if properties.login.qualified_user_ids:
        return qualified_context
    if len(properties.registrations) > 1:
        raise ConfigurationError(
            f"{_QUALIFIED} cannot be false with more than one registration: a name is unique at its"
            " own provider only, so two people could be one user; leave it out, or override the"
            " bean security_context_mapper with a function that tells them apart",
            key=_QUALIFIED,
            value=False,
        )
    return claims_to_context


def _handler(
    properties: OAuth2Properties, repository: Any, to_context: Any, clock: Callable[[], float]
) -> Any:
    with needed_by(_ENABLED, "packages authlib, httpx2 and joserfc", "oauth2"):
        from pyfly_session.security.oauth2.login import OAuth2LoginHandler
    return OAuth2LoginHandler(
        repository,
        to_context=to_context,
        default_target=properties.login.default_target,
        logout_target=properties.login.logout_target,
        back_channel_logout=properties.login.back_channel_logout,
        attempt_lifetime=properties.login.attempt_lifetime,
        secret=properties.login.secret or "",
        clock=clock,
    )


def login_refusal(
    properties: OAuth2Properties, sessions: SessionProperties
) -> ConfigurationError | None:
    """Return why an enabled login cannot work, None if it can."""
    if sessions.enabled is not True:
        problem, remedy = "needs sessions", "set pyfly.session.enabled to true"
        key, value = "pyfly.session.enabled", str(sessions.enabled).lower()
    elif "cookie" not in sessions.resolver:
        problem = "needs pyfly.session.resolver: cookie, got header"
        remedy = "browsers come back from the provider without any header of ours"
        key, value = "pyfly.session.resolver", "header"
    elif sessions.cookie.same_site == "strict":
        problem = "needs pyfly.session.cookie.same-site: lax, got strict"
        remedy = "browsers would come back from the provider without their session"
        key, value = "pyfly.session.cookie.same-site", "strict"
    else:
        return None
    return ConfigurationError(f"{_ENABLED} {problem}; {remedy}", key=key, value=value)


def _security_filter(
    properties: OAuth2Properties, sessions: SessionProperties
) -> SecurityContextFilter:
    refusal = login_refusal(properties, sessions)
    if refusal is not None:
        raise refusal
    return SecurityContextFilter(without_session=sessions.exclude_patterns)


def _login_filter(handler: Any) -> Any:
    from pyfly_session.security.oauth2.login import OAuth2LoginFilter

    return OAuth2LoginFilter(handler)


def _back_channel_filter(handler: Any, sessions: Any) -> Any:
    from pyfly_session.security.oauth2.back_channel_logout import OAuth2BackChannelLogoutFilter

    if not isinstance(sessions, SessionFilter):
        raise ConfigurationError(
            f"{_BACK_CHANNEL} needs the SessionFilter of pyfly_session, which finds sessions by"
            f" what a provider calls them; got {type(sessions).__name__}",
            key=_BACK_CHANNEL,
            value=True,
        )
    return OAuth2BackChannelLogoutFilter(handler, sessions)


_base = SessionFilterAutoConfiguration


class OAuth2AutoConfiguration(_base):
    """The login with a provider; nothing is built unless it is enabled."""

    oauth2_properties: providers.Provider[OAuth2Properties] = following(
        bind_oauth2_properties, _base.config, _base.config_origins
    )
    client_registration_repository: providers.Provider[Any] = following(
        _repository, oauth2_properties
    )
    security_context_mapper: providers.Provider[ContextMapper] = following(
        _mapper, oauth2_properties
    )
    oauth2_login_handler: providers.Provider[Any] = following(
        _handler,
        oauth2_properties,
        client_registration_repository,
        security_context_mapper,
        _base.clock,
    )
    oauth2_session_security_filter: providers.Provider[SecurityContextFilter | None] = when(
        oauth2_properties.provided.login.enabled,
        following(_security_filter, oauth2_properties, _base.properties),
    )
    oauth2_login_filter: providers.Provider[Any] = when(
        oauth2_properties.provided.login.enabled, following(_login_filter, oauth2_login_handler)
    )
    oauth2_back_channel_logout_filter: providers.Provider[Any] = when(
        oauth2_properties.provided.login.enabled,
        when(
            oauth2_properties.provided.login.back_channel_logout,
            following(_back_channel_filter, oauth2_login_handler, _base.session_filter),
        ),
    )
    web_filters = providers.List(
        *_base.web_filters.args,
        oauth2_session_security_filter,
        oauth2_login_filter,
        oauth2_back_channel_logout_filter,
    )
