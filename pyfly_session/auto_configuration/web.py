"""What loads and commits the sessions, limits them, and puts them on requests."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dependency_injector import providers
from msgspec.structs import asdict

from pyfly_session.auto_configuration.extras import needed_by
from pyfly_session.auto_configuration.following import following, when
from pyfly_session.auto_configuration.store import SessionStoreAutoConfiguration
from pyfly_session.concurrency import (
    ConcurrencyControlPolicy,
    LimitOf,
    SessionConcurrencyController,
)
from pyfly_session.config import ObservabilityProperties, SessionProperties
from pyfly_session.core.principals.index import PrincipalSessions
from pyfly_session.core.repository import SessionRepository
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
    ways: list[SessionIdResolver] = [
        SessionHeader(properties.header.name)
        if way == "header"
        else SessionCookie(properties.cookie_name, **asdict(properties.cookie))
        for way in properties.resolver
    ]
    return ways[0] if len(ways) == 1 else SessionIdResolvers(*ways)


def _records(properties: SessionProperties) -> str:
    """Return which store has the records of who has which sessions, ``own`` for the sessions'."""
    registry = properties.concurrency.registry
    if not properties.concurrency.enabled or registry in ("store", properties.store_kind):
        return "own"
    return registry


def _repository(
    properties: SessionProperties,
    session_store: SessionStore,
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
            type(session_store).__name__,
        )
    options: dict[str, Any] = {
        "ttl": properties.ttl,
        "max_lifetime": properties.max_lifetime,
        "anonymous_ttl": properties.anonymous_ttl,
        "max_size": properties.max_size,
        "hash_ids": properties.hash_ids,
        "records": records,
        "listeners": listeners,
        "clock": clock,
    }
    if telemetry is None:
        return SessionRepository(session_store, **options)
    from pyfly_session.observability import ObservedSessionRepository

    return ObservedSessionRepository(session_store, telemetry=telemetry, **options)


def _telemetry(observability: ObservabilityProperties) -> Telemetry | None:
    """Return the instruments of OpenTelemetry, None unless they are asked for.

    Raises:
        ConfigurationError: The package of its API is not installed.
    """
    if not observability.enabled:
        return None
    key = "pyfly.session.observability.enabled"
    with needed_by(key, "package opentelemetry-api", "otel"):
        from pyfly_session.observability import Telemetry
    return Telemetry()


def _malformed_id_filter(
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


def _session_filter(
    properties: SessionProperties,
    session_repository: SessionRepository,
    session_id_resolver: SessionIdResolver,
    session_concurrency_controller: SessionConcurrencyController | None,
) -> SessionFilter:
    return SessionFilter(
        session_repository.store,
        repository=session_repository,
        resolver=session_id_resolver,
        concurrency=session_concurrency_controller,
        creation=properties.creation,
        exclude_patterns=properties.exclude_patterns,
        passive_patterns=properties.passive_patterns,
        on_store_error=properties.on_store_error,
        keep_client=properties.keep_client,
        websocket=WebSocketRules(**asdict(properties.websocket)),
    )


_base = SessionStoreAutoConfiguration


class SessionFilterAutoConfiguration(_base):
    """The session filter over whatever session store there is, None unless enabled."""

    session_id_resolver: providers.Provider[SessionIdResolver] = following(
        resolver_of, _base.properties
    )
    telemetry: providers.Provider[Telemetry | None] = following(
        _telemetry, _base.properties.provided.observability
    )
    session_listeners = providers.List()
    session_repository: providers.Provider[SessionRepository] = following(
        _repository,
        _base.properties,
        _base.session_store,
        providers.Selector(
            providers.Callable(_records, _base.properties),
            own=providers.Object(None),
            memory=_base.memory_store,
            redis=_base.redis_store,
        ),
        _base.clock,
        telemetry,
        providers.Callable(tuple, session_listeners),
    )
    principal_sessions: providers.Provider[PrincipalSessions] = (
        session_repository.provided.principals
    )
    session_limit: providers.Provider[LimitOf | None] = providers.Object(None)
    session_concurrency_controller: providers.Provider[SessionConcurrencyController | None] = when(
        _base.properties.provided.concurrency.enabled,
        following(_controller, _base.properties, principal_sessions, session_limit),
    )
    session_filter: providers.Provider[SessionFilter | None] = when(
        _base.properties.provided.enabled,
        following(
            _session_filter,
            _base.properties,
            session_repository,
            session_id_resolver,
            session_concurrency_controller,
        ),
    )
    web_filters = providers.List(
        following(_malformed_id_filter, _base.properties, telemetry, session_id_resolver),
        session_filter,
    )
