"""Redis clients made from properties: every timeout set, and bounded. Imported when one is made."""

from __future__ import annotations

import contextlib
import socket
from typing import Any, TypeAlias

import redis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from pyfly_session.adapters.redis.connections import patient
from pyfly_session.auto_configuration.per_loop import Close
from pyfly_session.config import RedisProperties
from pyfly_session.config.masking import mask_url
from pyfly_session.errors import ConfigurationError

Client: TypeAlias = Redis | RedisCluster

_BACKOFF_BASE_SECONDS = 0.01
_BACKOFF_CAP_SECONDS = 0.2
_KEEPALIVE_PROBES = 3
_DRIVER_OF_SEVERAL_NODES = 8


def create_redis_client(properties: RedisProperties) -> tuple[Client, list[Close]]:
    """Return a client that is not connected yet, and what closes it.

    Standalone, Cluster or Sentinel, as the properties say. The driver's own defaults are left
    nowhere: without them it waits for a dead server as long as the operating system does, and
    fails at once when the pool is empty.

    Raises:
        ConfigurationError: The URL has an option that the driver refuses, or the driver is too
            old for Cluster and Sentinel.
    """
    make = _standalone
    if properties.cluster.nodes:
        _require_driver("pyfly.session.redis.cluster.nodes")
        make = _cluster
    elif properties.sentinel.master:
        _require_driver("pyfly.session.redis.sentinel.master")
        make = _sentinel
    try:
        client, closers = make(properties)
        pool = getattr(client, "connection_pool", None)
        if pool is not None:
            # Not connected, and thrown away: else an odd option shows with the first request.
            pool.make_connection()
    except (ValueError, TypeError, RedisError) as error:
        key = "pyfly.session.redis.url"
        url = mask_url(properties.url)
        raise ConfigurationError(
            f"{key} has an option that the driver refuses, got {url}: {error}", key=key, value=url
        ) from error
    return client, closers


def _require_driver(key: str) -> None:
    """Refuse a driver that loses commands when a slot moves or a master changes."""
    if int(redis.__version__.partition(".")[0]) < _DRIVER_OF_SEVERAL_NODES:
        raise ConfigurationError(
            f"{key} needs the package redis {_DRIVER_OF_SEVERAL_NODES}.0 or newer, found"
            f" {redis.__version__}; pip install 'redis>={_DRIVER_OF_SEVERAL_NODES}'",
            key=key,
        )


def _standalone(properties: RedisProperties) -> tuple[Client, list[Close]]:
    pool = BlockingConnectionPool.from_url(
        properties.url,
        max_connections=properties.max_connections,
        timeout=properties.pool_timeout,
        **_credentials(properties),
        **_patience(properties, tcp=not properties.url.startswith("unix:")),
    )
    pool.connection_class = patient(pool.connection_class)
    client: Redis = Redis.from_pool(pool)
    return client, [client.aclose]


def _cluster(properties: RedisProperties) -> tuple[Client, list[Close]]:
    options = _from_url(properties)
    options.pop("db", None)
    client = RedisCluster(
        startup_nodes=[ClusterNode(*each) for each in _addresses(properties.cluster.nodes)],
        # Slots that nobody serves are no reason to refuse the sessions in all others.
        require_full_coverage=False,
        max_connections=properties.max_connections,
        **(_patience(properties) | options),
    )
    kind = patient(client.connection_kwargs["connection_class"])
    client.connection_kwargs["connection_class"] = kind
    for node in client.startup_nodes:
        node.connection_class = kind
    return client, [client.aclose]


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Waits for a free connection, where the driver's own pool for this fails."""

    async def ensure_connection(self, connection: Any) -> None:
        """Let no connection be used that may lead to a former master."""
        if connection.is_connected and connection.is_idle:
            # A master that was frozen does not know yet that there is another.
            with contextlib.suppress(RedisError):
                await self.get_master_address()  # type: ignore[no-untyped-call]
            if self.master_address not in (None, (connection.host, connection.port)):
                await connection.disconnect()
        await super().ensure_connection(connection)


def _sentinel(properties: RedisProperties) -> tuple[Client, list[Close]]:
    sentinel = properties.sentinel
    patience = _patience(properties)
    options = _from_url(properties)
    # A password for the Sentinels must not be readable where that of the master is not.
    tls = {name: value for name, value in options.items() if name.startswith("ssl")}
    watchers = Sentinel(  # type: ignore[no-untyped-call]
        _addresses(sentinel.nodes),
        sentinel_kwargs={
            "username": sentinel.username,
            "password": sentinel.password,
            **patience,
            **tls,
        },
    )
    client: Redis = watchers.master_for(
        str(sentinel.master),
        connection_pool_class=_SentinelPool,
        max_connections=properties.max_connections,
        timeout=properties.pool_timeout,
        **(patience | options),
    )
    pool = client.connection_pool
    pool.connection_class = patient(pool.connection_class)
    return client, [client.aclose, *(each.aclose for each in watchers.sentinels)]


def _patience(properties: RedisProperties, *, tcp: bool = True) -> dict[str, Any]:
    backoff = ExponentialBackoff(cap=_BACKOFF_CAP_SECONDS, base=_BACKOFF_BASE_SECONDS)
    seconds = properties.keepalive
    kept_alive = {
        option: value
        for name, value in (
            ("TCP_KEEPIDLE", seconds),
            ("TCP_KEEPALIVE", seconds),
            ("TCP_KEEPINTVL", max(1, seconds // _KEEPALIVE_PROBES)),
            ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
        )
        if (option := getattr(socket, name, None)) is not None
    }
    alive = {"socket_keepalive": seconds > 0, "socket_keepalive_options": kept_alive}
    return {
        **(alive if tcp else {}),
        "health_check_interval": properties.health_check_interval,
        "socket_connect_timeout": properties.connect_timeout,
        "socket_timeout": properties.timeout,
        # A server that did not answer in time does not get the same time again.
        "retry": Retry(backoff, properties.retries, supported_errors=(RedisConnectionError,)),
    }


def _credentials(properties: RedisProperties) -> dict[str, Any]:
    given = {"username": properties.username, "password": properties.password}
    return {name: value for name, value in given.items() if value is not None}


def _from_url(properties: RedisProperties) -> dict[str, Any]:
    """Return what the URL says besides the host: credentials, TLS and database."""
    options: dict[str, Any] = dict(parse_url(properties.url))
    options.pop("host", None)
    options.pop("port", None)
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    return options | _credentials(properties)


def _addresses(nodes: tuple[str, ...]) -> list[tuple[str, int]]:
    pairs = (node.rpartition(":") for node in nodes)
    return [(host.strip("[]"), int(port)) for host, _, port in pairs]
