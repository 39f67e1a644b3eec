"""Which session store there is, chosen by properties; no other is built."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from dependency_injector import containers, providers

from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration.extras import needed_by
from pyfly_session.auto_configuration.following import following
from pyfly_session.auto_configuration.per_loop import PerLoop
from pyfly_session.config import (
    EncryptionProperties,
    MemoryProperties,
    RedisProperties,
    SessionProperties,
    SqlProperties,
    bind_properties,
)
from pyfly_session.core.codec import DEFAULT_CODEC, SessionCodec
from pyfly_session.errors import ConfigurationError
from pyfly_session.ports import SessionStore

_logger = logging.getLogger(__name__)
# What a store needs, the extra being called like the store.
_PACKAGES = {"redis": "redis.asyncio", "sql": "sqlalchemy.ext.asyncio"}


def choose_store(
    properties: SessionProperties, origins: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Return which store the properties choose, ``memory``, ``redis`` or ``sql``, and why.

    Raises:
        ConfigurationError: The choice is impossible, and ``fail-fast`` forbids to fall back.
    """
    key = "pyfly.session.store"
    kind = properties.store_kind
    if kind == "memory":
        return kind, f"{key} is memory"
    module = _PACKAGES.get(kind, "")
    if module and _is_importable(module):
        return kind, f"{key} is {kind}"
    if module:
        problem = f"{key} is {kind}, but the package {module.split('.')[0]} is not installed"
        remedy = f"pip install 'pyfly-session[{kind}]'"
    else:
        problem = f"{key} must be memory, redis or sql, got {properties.store!r}"
        remedy = "choose one of them, or provide a session_store bean"
    if properties.fail_fast:
        value, origin = properties.store, (origins or {}).get(key)
        raise ConfigurationError(f"{problem}; {remedy}", key=key, value=value, origin=origin)
    return "memory", f"{problem}; fell back to memory ({remedy})"


def _is_importable(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def store_warning(kind: str, reason: str, properties: SessionProperties) -> str | None:
    """Return what sessions are lost by, the store being what `choose_store` returned, or None."""
    if kind != properties.store_kind:
        return f"{reason}; sessions are lost on restart and not shared between workers"
    if kind == "memory" and _is_one_of_several():
        return (
            "sessions are in the memory of this process, and it is one of several workers: a user"
            " is logged in at one of them only; choose another pyfly.session.store, or one worker"
        )
    return None


def _choice(properties: SessionProperties, origins: Mapping[str, str], warned: set[str]) -> str:
    kind, reason = choose_store(properties, origins)
    said = store_warning(kind, reason, properties)
    if said is not None and said not in warned:
        warned.add(said)
        _logger.warning(said)
    return kind


def _is_one_of_several() -> bool:
    """Return whether the server was told to start several workers, as far as one can see."""
    told = [os.environ.get("WEB_CONCURRENCY", "")]
    for option, value in itertools.pairwise([*sys.argv, ""]):
        name, _, given = option.partition("=")
        if name in ("--workers", "-w"):
            told.append(given or value)
    return any(number.isdecimal() and int(number) > 1 for number in told)


def _codec(encryption: EncryptionProperties) -> SessionCodec:
    if not encryption.keys:
        return DEFAULT_CODEC
    with needed_by("pyfly.session.encryption.keys", "package cryptography", "encryption"):
        from pyfly_session.core.encryption import EncryptedSessionCodec
    return EncryptedSessionCodec(encryption.keys, accept_plain=encryption.accept_plain)


def _memory_store(properties: MemoryProperties, codec: SessionCodec) -> InMemorySessionStore:
    return InMemorySessionStore(max_sessions=properties.max_sessions, codec=codec)


def _by_clock(store: InMemorySessionStore, clock: Callable[[], float]) -> InMemorySessionStore:
    # Not built anew, for its sessions would be gone.
    store.clock = clock
    return store


def _redis_client(clients: PerLoop, properties: RedisProperties) -> Any:
    from pyfly_session.auto_configuration.redis_clients import create_redis_client

    return clients.get(properties, create_redis_client)


def _redis_store(
    redis_client: Any, properties: RedisProperties, codec: SessionCodec
) -> SessionStore:
    import redis

    from pyfly_session.adapters.redis import RedisSessionStore
    from pyfly_session.adapters.redis.circuit_breaker import Circuit

    if isinstance(redis_client, redis.Redis | redis.RedisCluster):
        raise ConfigurationError(
            f"the bean redis_client must be asynchronous, got {type(redis_client).__module__}"
            f".{type(redis_client).__name__}; make it with redis.asyncio"
        )
    return RedisSessionStore(
        redis_client,
        key_prefix=properties.key_prefix,
        codec=codec,
        deadline=properties.deadline,
        circuit=Circuit(failures=properties.circuit_failures, pause=properties.circuit_pause),
        pipelining=properties.pipelining,
    )


def _sql_engine(engines: PerLoop, properties: SqlProperties) -> Any:
    from pyfly_session.auto_configuration.sql_engines import create_sql_engine

    return engines.get(properties, create_sql_engine)


def _sql_store(
    engine: Any, properties: SqlProperties, codec: SessionCodec, clock: Callable[[], float]
) -> SessionStore:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from pyfly_session.adapters.sql import SqlSessionStore

    if not isinstance(engine, AsyncEngine):
        raise ConfigurationError(
            f"the bean sql_engine must be an AsyncEngine, got {type(engine).__module__}"
            f".{type(engine).__name__}; make it with sqlalchemy.ext.asyncio.create_async_engine"
        )
    return SqlSessionStore(
        engine,
        table=properties.table,
        create_table=properties.create_table,
        touch_interval=properties.touch_interval,
        cleanup_interval=properties.cleanup_interval,
        codec=codec,
        clock=clock,
    )


class SessionStoreAutoConfiguration(containers.DeclarativeContainer):
    """The session store that ``pyfly.session.store`` chooses; builds no other."""

    epoch = providers.ThreadSafeSingleton(object)
    clock: providers.Provider[Callable[[], float]] = providers.Object(time.time)
    config = providers.Configuration()
    config_origins: providers.Provider[Mapping[str, str]] = providers.Object({})
    properties: providers.Provider[SessionProperties] = following(
        bind_properties, config, config_origins
    )

    redis_clients = providers.ThreadSafeSingleton(PerLoop)
    redis_client: providers.Provider[Any] = providers.Callable(
        _redis_client, redis_clients, properties.provided.redis
    )

    sql_engines = providers.ThreadSafeSingleton(PerLoop)
    sql_engine: providers.Provider[Any] = providers.Callable(
        _sql_engine, sql_engines, properties.provided.sql
    )

    session_codec = following(_codec, properties.provided.encryption)
    memory_store: providers.Provider[SessionStore] = providers.Callable(
        _by_clock, following(_memory_store, properties.provided.memory, session_codec), clock
    )
    redis_store: providers.Provider[SessionStore] = following(
        _redis_store, redis_client, properties.provided.redis, session_codec
    )
    sql_store: providers.Provider[SessionStore] = following(
        _sql_store, sql_engine, properties.provided.sql, session_codec, clock
    )
    store_warnings: providers.Provider[set[str]] = providers.ThreadSafeSingleton(set)
    session_store: providers.Provider[SessionStore] = providers.Selector(
        providers.Callable(_choice, properties, config_origins, store_warnings),
        memory=memory_store,
        redis=redis_store,
        sql=sql_store,
    )
