"""What loads and commits the sessions, limits them, and puts them on requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dependency_injector import containers, providers

from pyfly_session.auto_configuration.overrides import Following, following
from pyfly_session.concurrency import (
    ConcurrencyControlPolicy,
    LimitOf,
    SessionConcurrencyController,
)
from pyfly_session.config import ObservabilityProperties, SessionProperties
from pyfly_session.core.principals.index import PrincipalSessions
from pyfly_session.core.repository import SessionRepository
from pyfly_session.errors import ConfigurationError
from pyfly_session.events import SessionListener
from pyfly_session.ports import SessionStore
from pyfly_session.web.cookies import SessionCookie
from pyfly_session.web.session_filter import SessionFilter
from pyfly_session.web.session_id_resolver import (
    SessionHeader,
    SessionIdResolver,
    SessionIdResolvers,
)
from pyfly_session.web.websocket import WebSocketRules

if TYPE_CHECKING:
    from pyfly_session.observability import MalformedIdFilter, Telemetry

_logger = logging.getLogger(__name__)


def resolver_of(properties: SessionProperties) -> SessionIdResolver:
    """Return the way, or the ways, that the properties choose."""
    cookie = properties.cookie
    ways: list[SessionIdResolver] = [
        SessionHeader(properties.header.name)
        if way == "header"
        else SessionCookie(
            name=properties.cookie_name,
            secure=cookie.secure,
            path=cookie.path,
            domain=cookie.domain,
            same_site=cookie.same_site,
            partitioned=cookie.partitioned,
            persistent=cookie.persistent,
        )
        for way in properties.resolver
    ]
    return ways[0] if len(ways) == 1 else SessionIdResolvers(*ways)


def records_store(
    properties: SessionProperties,
    memory: Callable[[], SessionStore],
    redis: Callable[[], SessionStore],
) -> SessionStore | None:
    """Return a store for the records of who has which sessions, None for the sessions' own."""
    registry = properties.concurrency.registry
    if not properties.concurrency.enabled or registry in ("store", properties.store_kind):
        return None
    return redis() if registry == "redis" else memory()


def session_repository(
    properties: SessionProperties,
    store: SessionStore,
    records: SessionStore | None,
    clock: Callable[[], float],
    telemetry: Telemetry | None = None,
    listeners: tuple[SessionListener, ...] = (),
) -> SessionRepository:
    """Return what loads and commits sessions as the properties say."""
    if records is not None:
        _logger.warning(
            "pyfly.session.concurrency.registry is %s, but the sessions are in %s: where one is"
            " shared by processes and the other is not, the limit does not hold; use 'store'",
            properties.concurrency.registry,
            type(store).__name__,
        )
    options: dict[str, Any] = {
        "ttl": properties.ttl,
        "max_lifetime": properties.max_lifetime,
        "max_size": properties.max_size,
        "hash_ids": properties.hash_ids,
        "records": records,
        "listeners": listeners,
        "clock": clock,
    }
    if telemetry is None:
        return SessionRepository(store, **options)
    from pyfly_session.observability import ObservedSessionRepository

    return ObservedSessionRepository(store, telemetry=telemetry, **options)


def telemetry_if_enabled(observability: ObservabilityProperties) -> Telemetry | None:
    """Return the instruments of OpenTelemetry, None unless they are asked for.

    Raises:
        ConfigurationError: The package of its API is not installed.
    """
    if not observability.enabled:
        return None
    key = "pyfly.session.observability.enabled"
    try:
        from pyfly_session.observability import Telemetry
    except ImportError as error:
        raise ConfigurationError(
            f"{key} needs the package opentelemetry-api; pip install 'pyfly-session[otel]'",
            key=key,
        ) from error
    return Telemetry()


def malformed_id_filter(
    properties: SessionProperties, telemetry: Telemetry | None, resolver: SessionIdResolver
) -> MalformedIdFilter | None:
    """Return what counts malformed ids, None unless OpenTelemetry is told."""
    if telemetry is None or properties.enabled is not True:
        return None
    from pyfly_session.observability import MalformedIdFilter

    return MalformedIdFilter(telemetry, properties.exclude_patterns, resolver)


def _controller(
    properties: SessionProperties, principals: PrincipalSessions, limit_of: LimitOf | None
) -> SessionConcurrencyController:
    policy = ConcurrencyControlPolicy(
        max_sessions=properties.concurrency.max_sessions,
        strategy=properties.concurrency.strategy,
        limit_of=limit_of,
    )
    return SessionConcurrencyController(principals, policy)


def controller_if_enabled(
    properties: SessionProperties,
    principals: Callable[[], PrincipalSessions],
    limit_of: LimitOf | None,
    latest: Following,
) -> SessionConcurrencyController | None:
    """Return what limits the sessions of each user, None unless that is enabled."""
    if not properties.concurrency.enabled:
        return None
    made: SessionConcurrencyController = latest.get(properties, principals(), limit_of)
    return made


def concurrency_controller(properties: Any, principals: Any, limit_of: Any) -> Any:
    """Return a provider of `controller_if_enabled`."""
    return providers.Callable(
        controller_if_enabled,
        properties,
        principals.provider,
        limit_of,
        providers.ThreadSafeSingleton(Following, _controller),
    )


def _session_filter(
    properties: SessionProperties,
    repository: SessionRepository,
    resolver: SessionIdResolver,
    concurrency: SessionConcurrencyController | None,
) -> SessionFilter:
    return SessionFilter(
        repository.store,
        repository=repository,
        resolver=resolver,
        concurrency=concurrency,
        creation=properties.creation,
        exclude_patterns=properties.exclude_patterns,
        on_store_error=properties.on_store_error,
        websocket=WebSocketRules(
            close_on_session_end=properties.websocket.close_on_session_end,
            check_interval=properties.websocket.check_interval,
            slide_on_send=properties.websocket.slide_on_send,
            allowed_origins=properties.websocket.allowed_origins,
        ),
    )


def _filter_if_enabled(
    properties: SessionProperties,
    repository: Callable[[], SessionRepository],
    resolver: Callable[[], SessionIdResolver],
    concurrency: Callable[[], SessionConcurrencyController | None],
    latest: Following,
) -> SessionFilter | None:
    if properties.enabled is not True:
        return None
    made: SessionFilter = latest.get(properties, repository(), resolver(), concurrency())
    return made


class SessionFilterAutoConfiguration(containers.DeclarativeContainer):
    """The session filter over whatever session store there is, None unless enabled."""

    properties = providers.Dependency(instance_of=SessionProperties)
    session_store: providers.Dependency[Any] = providers.Dependency()
    clock = providers.Dependency(instance_of=object, default=providers.Object(time.time))
    session_id_resolver: providers.Dependency[Any] = providers.Dependency(
        default=following(resolver_of, properties)
    )
    session_repository: providers.Dependency[Any] = providers.Dependency(
        default=following(
            session_repository, properties, session_store, providers.Object(None), clock
        )
    )
    session_concurrency_controller: providers.Dependency[Any] = providers.Dependency(
        default=concurrency_controller(
            properties, session_repository.provided.principals, providers.Object(None)
        )
    )

    session_filter = providers.Callable(
        _filter_if_enabled,
        properties,
        session_repository.provider,
        session_id_resolver.provider,
        session_concurrency_controller.provider,
        providers.ThreadSafeSingleton(Following, _session_filter),
    )
