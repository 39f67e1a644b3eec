"""The container that wires store and filter, as Spring Boot's auto-configuration would.

A bean is chosen by properties, backs off where the user brings one of their own, and is
built when it is first needed. Every provider follows what it depends on: after an override
or a change of configuration the next request sees the new bean, in an application that was
enabled long before, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers

from pyfly_session.auto_configuration.oauth2 import OAuth2AutoConfiguration
from pyfly_session.auto_configuration.overrides import (
    NoticingCallable,
    NoticingConfiguration,
    NoticingDependency,
    NoticingList,
    NoticingObject,
    NoticingSingleton,
    following,
)
from pyfly_session.auto_configuration.redis_clients import RedisClients
from pyfly_session.auto_configuration.store import SessionStoreAutoConfiguration
from pyfly_session.auto_configuration.web import (
    SessionFilterAutoConfiguration,
    concurrency_controller,
    malformed_id_filter,
    records_store,
    resolver_of,
    session_repository,
    telemetry_if_enabled,
)
from pyfly_session.config import bind_properties, load_config


class SessionContainer(containers.DeclarativeContainer):
    """Everything about sessions, each bean overridable like any provider.

    Attributes:
        config: The whole configuration tree, ``pyfly.session.…`` and what the application
            keeps beside it. Load it with ``from_dict``, ``from_yaml`` or `create_container`.
        config_origins: The file or variable of each dotted key, for messages.
        clock: Unix time in seconds, a function; a test overrides it with a clock of its own.
        properties: The bound and validated `SessionProperties`.
        redis_client: The client of the Redis store; made here unless it is overridden.
        session_store: The user's store, or else the one that the properties choose.
        session_id_resolver: The user's `SessionIdResolver`, or else what the properties choose.
        telemetry: What OpenTelemetry is told with, None unless
            ``pyfly.session.observability.enabled`` is true.
        session_listeners: Who is told of sessions that begin and end, functions; see
            `pyfly_session.events`.
        session_repository: Loads and commits the sessions.
        principal_sessions: Finds and ends the sessions of a principal.
        session_limit: The limit of one principal, a function; None for the same for all.
        session_concurrency_controller: Limits the sessions of each principal; None unless
            ``pyfly.session.concurrency.enabled`` is true.
        session_filter: The user's filter, or else `SessionFilter`; None unless
            ``pyfly.session.enabled`` is true.
        oauth2: The login with a provider, an `OAuth2AutoConfiguration`.
        web_filters: What the chain of an enabled application runs.
        epoch: An object that is another one after ``reset_singletons()``.
    """

    epoch = NoticingSingleton(object)
    clock: providers.Object[Callable[[], float]] = NoticingObject(time.time)
    config = NoticingConfiguration()
    config_origins: providers.Object[Mapping[str, str]] = NoticingObject({})
    properties = following(bind_properties, config, config_origins)

    redis_clients = providers.ThreadSafeSingleton(RedisClients)
    redis_client = NoticingCallable(RedisClients.get, redis_clients, properties.provided.redis)

    store_auto_configuration = providers.Container(
        SessionStoreAutoConfiguration,
        properties=properties,
        config_origins=config_origins,
        redis_client=redis_client,
        clock=clock,
    )
    session_store: providers.Dependency[Any] = NoticingDependency(
        default=store_auto_configuration.session_store
    )
    session_id_resolver: providers.Dependency[Any] = NoticingDependency(
        default=following(resolver_of, properties)
    )

    telemetry = following(telemetry_if_enabled, properties.provided.observability)
    session_listeners = NoticingList()
    session_repository: providers.Dependency[Any] = NoticingDependency(
        default=following(
            session_repository,
            properties,
            session_store,
            providers.Callable(
                records_store,
                properties,
                store_auto_configuration.memory_store.provider,
                store_auto_configuration.redis_store.provider,
            ),
            clock,
            telemetry,
            providers.Callable(tuple, session_listeners),
        )
    )
    principal_sessions = session_repository.provided.principals
    session_limit: providers.Object[Any] = NoticingObject(None)
    session_concurrency_controller: providers.Dependency[Any] = NoticingDependency(
        default=concurrency_controller(properties, principal_sessions, session_limit)
    )

    filter_auto_configuration = providers.Container(
        SessionFilterAutoConfiguration,
        properties=properties,
        session_store=session_store,
        session_id_resolver=session_id_resolver,
        session_repository=session_repository,
        session_concurrency_controller=session_concurrency_controller,
        clock=clock,
    )
    session_filter: providers.Dependency[Any] = NoticingDependency(
        default=filter_auto_configuration.session_filter
    )
    oauth2 = providers.Container(
        OAuth2AutoConfiguration,
        config=config,
        config_origins=config_origins,
        session_properties=properties,
        session_filter=session_filter,
        clock=clock,
    )
    web_filters = NoticingList(
        following(malformed_id_filter, properties, telemetry, session_id_resolver),
        session_filter,
        oauth2.oauth2_session_security_filter,
        oauth2.oauth2_login_filter,
        oauth2.oauth2_back_channel_logout_filter,
    )


def create_container(
    config: str | Path | Mapping[str, Any] = "config", *, profiles: str | None = None
) -> SessionContainer:
    """Return a container with its configuration loaded.

    Args:
        config: A directory, read by `pyfly_session.config.load_config`, or the tree itself.
        profiles: Comma-separated profiles, instead of ``PYFLY_PROFILES_ACTIVE``.

    Raises:
        ConfigurationError: A file or a value in it is wrong.
    """
    container = SessionContainer()
    load_into(container, config, profiles)
    return container


def load_into(container: Any, config: str | Path | Mapping[str, Any], profiles: str | None) -> None:
    """Load a configuration, a directory or a tree, into a container."""
    tree = config if isinstance(config, Mapping) else load_config(config, profiles)
    container.config_origins.override(providers.Object(dict(getattr(tree, "origins", {}))))
    container.config.from_dict(dict(tree))
