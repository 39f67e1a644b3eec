"""The wiring of the login with a provider: a container of its own beside that of sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dependency_injector import containers, providers

from pyfly_session.auto_configuration.overrides import (
    Following,
    NoticingCallable,
    following,
)
from pyfly_session.config import SessionProperties
from pyfly_session.config.oauth2_properties import (
    PREFIX,
    OAuth2Properties,
    RegistrationProperties,
    bind_oauth2_properties,
)
from pyfly_session.errors import ConfigurationError
from pyfly_session.security.oauth2 import (
    ClientRegistration,
    InMemoryClientRegistrationRepository,
    OAuth2SessionSecurityFilter,
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
    return ClientRegistration(
        registration_id=name,
        client_id=given.client_id or "",
        client_secret=given.client_secret or "",
        redirect_uri=given.redirect_uri or "",
        response_mode=given.response_mode.replace("query", "").replace("-", "_"),
        scopes=given.scopes,
        authorization_uri=given.authorization_uri or "",
        token_uri=given.token_uri or "",
        user_info_uri=given.user_info_uri or "",
        jwks_uri=given.jwks_uri or "",
        issuer_uri=given.issuer_uri or "",
        provider_name=given.client_name or given.provider_name or "",
        end_session_uri=given.end_session_uri or "",
        post_logout_redirect_uri=given.post_logout_redirect_uri or "",
        client_authentication_method=given.client_authentication_method or "",
        require_iss=given.require_iss,
        load_user_info=given.load_user_info,
        user_name_attribute=given.user_name_attribute or "",
        role_claims=given.role_claims,
        role_mapping=given.role_mapping,
    )


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
    try:
        from pyfly_session.security.oauth2.login import OAuth2LoginHandler
    except ImportError as error:
        raise ConfigurationError(
            f"{_ENABLED} needs the packages authlib, httpx2 and joserfc;"
            " pip install 'pyfly-session[oauth2]'",
            key=_ENABLED,
        ) from error
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


def _security_filter(
    properties: OAuth2Properties, sessions: SessionProperties
) -> OAuth2SessionSecurityFilter | None:
    if not properties.login.enabled:
        return None
    if "cookie" not in sessions.resolver:
        raise ConfigurationError(
            f"{_ENABLED} needs pyfly.session.resolver: cookie, got header; browsers come back"
            " from the provider without any header of ours",
            key="pyfly.session.resolver",
            value="header",
        )
    if sessions.cookie.same_site == "strict":
        raise ConfigurationError(
            f"{_ENABLED} needs pyfly.session.cookie.same-site: lax, got strict; browsers would"
            " come back from the provider without their session",
            key="pyfly.session.cookie.same-site",
            value="strict",
        )
    return OAuth2SessionSecurityFilter(without_session=sessions.exclude_patterns)


def _make_login_filter(handler: Any) -> Any:
    from pyfly_session.security.oauth2.login import OAuth2LoginFilter

    return OAuth2LoginFilter(handler)


def _login_filter(
    properties: OAuth2Properties, handler: Callable[[], Any], latest: Following
) -> Any:
    return latest.get(handler()) if properties.login.enabled else None


def _make_back_channel_filter(handler: Any, sessions: Any) -> Any:
    from pyfly_session.security.oauth2.back_channel_logout import OAuth2BackChannelLogoutFilter

    return OAuth2BackChannelLogoutFilter(handler, sessions)


def _back_channel_filter(
    properties: OAuth2Properties,
    handler: Callable[[], Any],
    session_filter: Callable[[], Any],
    latest: Following,
) -> Any:
    if not (properties.login.enabled and properties.login.back_channel_logout):
        return None
    sessions = session_filter()
    if not isinstance(sessions, SessionFilter):
        raise ConfigurationError(
            f"{_BACK_CHANNEL} needs the SessionFilter of pyfly_session, which finds sessions by"
            f" what a provider calls them; got {type(sessions).__name__}",
            key=_BACK_CHANNEL,
            value=True,
        )
    return latest.get(handler(), sessions)


class OAuth2AutoConfiguration(containers.DeclarativeContainer):
    """The login with a provider, each bean overridable; nothing is built unless it is enabled.

    Attributes:
        properties: The bound and validated `OAuth2Properties`.
        client_registration_repository: Where the registrations are.
        security_context_mapper: Makes a `SecurityContext` of verified claims, a function.
        oauth2_login_handler: Logs in and out.
        oauth2_session_security_filter: Restores who is logged in; None unless enabled.
        oauth2_login_filter: Answers the login's routes; None unless enabled.
        oauth2_back_channel_logout_filter: Takes logouts from providers; None unless that is
            enabled as well.
    """

    config: providers.Dependency[Any] = providers.Dependency(default=providers.Object(None))
    config_origins: providers.Dependency[Any] = providers.Dependency(default=providers.Object({}))
    session_properties = providers.Dependency(instance_of=SessionProperties)
    session_filter: providers.Dependency[Any] = providers.Dependency(default=providers.Object(None))
    clock: providers.Dependency[Any] = providers.Dependency()

    properties = following(bind_oauth2_properties, config, config_origins)
    client_registration_repository = following(_repository, properties)
    security_context_mapper = following(_mapper, properties)
    oauth2_login_handler = following(
        _handler, properties, client_registration_repository, security_context_mapper, clock
    )
    oauth2_session_security_filter = following(_security_filter, properties, session_properties)
    oauth2_login_filter = NoticingCallable(
        _login_filter,
        properties,
        oauth2_login_handler.provider,
        providers.ThreadSafeSingleton(Following, _make_login_filter),
    )
    oauth2_back_channel_logout_filter = NoticingCallable(
        _back_channel_filter,
        properties,
        oauth2_login_handler.provider,
        session_filter.provider,
        providers.ThreadSafeSingleton(Following, _make_back_channel_filter),
    )
