"""The properties under ``pyfly.session.redis``."""

from typing import Annotated

from msgspec import Meta

from pyfly_session._fields import Properties
from pyfly_session._property_types import NodeAddresses, RedisUrl, Secret, Timeout, about


class ClusterProperties(Properties, frozen=True, kw_only=True):
    """Redis Cluster, if there are nodes."""

    nodes: Annotated[
        NodeAddresses,
        about(
            "Some nodes of a Redis Cluster, which tell of the others. Credentials and TLS are"
            " those of `redis.url`, whose host is not used then.",
            ["redis-1:6379", "redis-2:6379"],
        ),
    ] = ()


class SentinelProperties(Properties, frozen=True, kw_only=True):
    """Redis Sentinel, if there is a master."""

    master: Annotated[
        str | None,
        about(
            "Name under which Sentinel watches the master. Credentials, TLS and database are"
            " those of `redis.url`, whose host is not used then.",
            "mymaster",
        ),
    ] = None
    nodes: Annotated[
        NodeAddresses,
        about(
            "The Sentinel processes, spoken to by TLS if `redis.url` starts with `rediss://`.",
            ["sentinel-1:26379", "sentinel-2:26379"],
        ),
    ] = ()
    username: Annotated[str | None, about("User name for the Sentinel processes.", "sentinel")] = (
        None
    )
    password: Annotated[
        Secret | None, about("Password for the Sentinel processes.", "${SENTINEL_PASSWORD}")
    ] = None


class RedisProperties(Properties, frozen=True, kw_only=True):
    """Connection and keys of the Redis store."""

    url: Annotated[
        RedisUrl,
        about(
            "Connection URL, used when `store` is `redis`;"
            " special characters in the password are percent-encoded.",
            "rediss://user:p%40ss@redis.internal:6379/0",
        ),
    ] = "redis://localhost:6379/0"
    key_prefix: Annotated[
        str,
        Meta(min_length=1),
        about("Put before the session id to form the Redis key.", "shop:session:"),
    ] = "pyfly:session:"
    username: Annotated[
        str | None, about("User name, instead of the one in `redis.url`.", "sessions")
    ] = None
    password: Annotated[
        Secret | None, about("Password, instead of the one in `redis.url`.", "${REDIS_PASSWORD}")
    ] = None
    connect_timeout: Annotated[Timeout, about("How long to wait for a new connection.", 0.5)] = 2.0
    timeout: Annotated[Timeout, about("How long to wait for an answer.", 0.5)] = 2.0
    max_connections: Annotated[
        int, Meta(ge=1, le=65535), about("Upper bound of the connection pool.", 10)
    ] = 50
    pool_timeout: Annotated[
        Timeout, about("How long to wait for a free connection of the pool.", 0.5)
    ] = 2.0
    retries: Annotated[
        int,
        Meta(ge=0, le=100),
        about("How often a command is tried again after a connection error.", 3),
    ] = 1
    pipelining: Annotated[
        bool,
        about("Send the commands of requests that run at the same time together.", False),
    ] = True
    deadline: Annotated[
        Timeout,
        about(
            "How long one store operation may take in all, with waiting for a connection and"
            " retries; after that the request is answered 503.",
            1.5,
        ),
    ] = 5.0
    circuit_failures: Annotated[
        int,
        Meta(ge=0, le=1000),
        about(
            "After so many failures in a row to reach the server, calls fail at once for"
            " `redis.circuit-pause`; 0 switches that off.",
            10,
        ),
    ] = 5
    circuit_pause: Annotated[
        Timeout, about("How long calls fail at once before the server is tried again.", 0.5)
    ] = 1.0
    cluster: ClusterProperties = ClusterProperties()
    sentinel: SentinelProperties = SentinelProperties()
