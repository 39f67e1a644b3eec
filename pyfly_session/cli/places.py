"""Where sessions are, in words for an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyfly_session.config import SessionProperties


def store_place(properties: SessionProperties) -> str:
    """Return the place of the Redis store, without credentials."""
    from pyfly_session.config.masking import mask_url

    redis = properties.redis
    if redis.cluster.nodes:
        return f"the cluster of {', '.join(redis.cluster.nodes)}"
    if redis.sentinel.master:
        nodes = ", ".join(redis.sentinel.nodes)
        return f"the master {redis.sentinel.master} of the Sentinels {nodes}"
    return mask_url(redis.url)
