"""Redis clients made from properties: every timeout set, bounded, closed by whoever made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyfly_session.properties import RedisProperties

if TYPE_CHECKING:
    from redis.asyncio import Redis

_BACKOFF_BASE_SECONDS = 0.01
_BACKOFF_CAP_SECONDS = 0.2


def create_redis_client(properties: RedisProperties) -> Redis:
    """Return a client with a bounded pool that waits for a free connection, not yet connected.

    The driver's own defaults are left nowhere: without them it waits for a dead server as
    long as the operating system does, and fails at once when the pool is empty.
    """
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialBackoff

    backoff = ExponentialBackoff(cap=_BACKOFF_CAP_SECONDS, base=_BACKOFF_BASE_SECONDS)
    pool = BlockingConnectionPool.from_url(
        properties.url,
        max_connections=properties.max_connections,
        timeout=properties.pool_timeout,
        socket_connect_timeout=properties.connect_timeout,
        socket_timeout=properties.timeout,
        retry=Retry(backoff, properties.retries),
    )
    client: Redis = Redis.from_pool(pool)
    return client


class RedisClients:
    """The clients that one container made. Lives as long as the container.

    One at a time: a new one is made when the properties change or after `close`, so that an
    application that is started again gets a client for its new event loop.
    """

    def __init__(self) -> None:
        self._made: list[Redis] = []
        self._current: tuple[RedisProperties, Redis] | None = None

    def get(self, properties: RedisProperties) -> Redis:
        """Return the client for these properties."""
        if self._current is None or self._current[0] != properties:
            client = create_redis_client(properties)
            self._made.append(client)
            self._current = (properties, client)
        return self._current[1]

    async def close(self) -> None:
        """Close every client made here; the next `get` makes a new one."""
        made, self._made, self._current = self._made, [], None
        for client in made:
            await client.aclose()
