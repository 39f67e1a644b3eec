"""Sessions in Redis or Valkey: one server, Sentinel or a cluster."""

from pyfly_session.adapters.redis.store import KEY_PREFIX, RedisSessionStore, allow_session_type

__all__ = ["KEY_PREFIX", "RedisSessionStore", "allow_session_type"]
