"""The container that wires store and filter, as Spring Boot's auto-configuration would.

A bean is chosen by properties, backs off where the user brings one of their own, and is
built when it is first needed. Every provider follows what it depends on: after an override
or a change of configuration the next request sees the new bean, in an application that was
enabled long before, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dependency_injector import providers

from pyfly_session.auto_configuration.oauth2 import OAuth2AutoConfiguration
from pyfly_session.config import load_config


class SessionContainer(OAuth2AutoConfiguration):
    """Everything about sessions, each bean overridable like any provider.

    Attributes:
        config: The whole configuration tree, ``pyfly.session.…`` and what the application
            keeps beside it. Load it with ``from_dict``, ``from_yaml`` or `create_container`.
        config_origins: The file or variable of each dotted key, for messages.
        clock: Unix time in seconds, a function; a test overrides it with a clock of its own.
        properties: The bound and validated `SessionProperties`.
        redis_client: The client of the Redis store; made here unless it is overridden.
        sql_engine: The engine of the SQL store; made here unless it is overridden.
        session_store: The user's store, or else the one that the properties choose.
        store_warnings: What was said about that choice, so that it is not said again.
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
        oauth2_properties: The bound and validated `OAuth2Properties`.
        client_registration_repository: Where the registrations of the login are.
        security_context_mapper: Makes a `SecurityContext` of verified claims, a function.
        oauth2_login_handler: Logs in and out with a provider.
        oauth2_session_security_filter: Restores who is logged in; None unless
            ``pyfly.security.oauth2.login.enabled`` is true.
        oauth2_login_filter: Answers the login's routes; None unless that is enabled.
        oauth2_back_channel_logout_filter: Takes logouts from providers; None unless that is
            enabled as well.
        web_filters: What the chain of an enabled application runs.
        epoch: An object that is another one after ``reset_singletons()``, so that a running
            application notices that.

    To add a bean, declare it in the part that it belongs to (`store`, `web` or `oauth2` in this
    folder), with `following`, and with `when` if a property switches it on; describe it here, and
    explain it in `conditions`, or name it in `PLUMBING`. To add a store, name it in `choose_store`
    and in the `Selector` of ``session_store``, too.
    """


PLUMBING = frozenset({
    "config_origins", "epoch", "memory_store", "principal_sessions", "redis_clients", "redis_store",
    "session_codec", "sql_engines", "sql_store", "store_warnings",
})  # fmt: skip
"""Beans that are not overridden in an application that runs, or are seen by what they change."""


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
