"""`RedisSessionStore`: sessions in Redis 6.2+ or Valkey.

One session is one string key, ``pyfly:session:<id>``, holding one JSON object, with the
idle time as the key's expiry. Beside it a key ``{pyfly:session:<id>}:moved`` may tell for a
few minutes under which id a session goes on after a change of id; its hash tag puts it
into the cluster slot of the session's own key, so that one script reaches both.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoScriptError, ReadOnlyError, WatchError

from pyfly_session import ids
from pyfly_session.adapters.redis.circuit_breaker import Circuit
from pyfly_session.adapters.redis.errors import FAILURES, lacks_scripting, translated
from pyfly_session.adapters.redis.pipelining import CommandBatcher
from pyfly_session.adapters.redis.stub_client import PlainClient
from pyfly_session.core.codec import DEFAULT_CODEC, SessionCodec, allow_session_type
from pyfly_session.errors import (
    SessionDecodingError,
    SessionStoreError,
)
from pyfly_session.ports import FORWARD_SECONDS, Moved

__all__ = ["KEY_PREFIX", "RedisSessionStore", "allow_session_type"]

KEY_PREFIX = "pyfly:session:"
# Longer than a change of id takes between its steps.
_RENAME_SECONDS = 30

_logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

# KEYS: session; to end it under this id, its moved key too. ARGV: SHA-1 of what the caller read,
# new value, seconds to live; to end it, SHA-1 of the new value instead, and the new id at last. A
# session that already is the new value counts as replaced, since the caller could not tell. The
# digest spares sending the old value; nothing is decoded on the server. A merge names one key
# only: a cluster refuses two (TRYAGAIN) while their slot moves to another node.
_SWAP = """
local current = redis.call('GET', KEYS[1])
local moved = KEYS[2]
if not current then
    return {0, moved and redis.call('GET', moved)}
end
local digest = redis.sha1hex(current)
if digest ~= ARGV[1] and ARGV[2] ~= (moved and digest or current) then
    return {1, current}
end
if moved then
    redis.call('DEL', KEYS[1])
    redis.call('SET', moved, ARGV[4], 'EX', ARGV[3])
else
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return {2}
"""


# KEYS: session. ARGV: seconds to live. A session that has an idle time of its own in front, as the
# codec writes it, lives exactly so long from now; any other is not cut short.
_LOAD = """
local current = redis.call('GET', KEYS[1])
if current then
    local front = string.match(string.sub(current, 1, 160), '^{[^{%[]*')
    local own = front and string.match(front, '"_max_inactive_interval":(%d+)[,}]')
    if own and #own > 10 then
        own = nil
    end
    if own or redis.call('TTL', KEYS[1]) < tonumber(ARGV[1]) then
        redis.call('EXPIRE', KEYS[1], own or ARGV[1])
    end
end
return current
"""


def _digest(value: bytes) -> str:
    # SHA-1 tells two versions of one session apart; nobody gains by making them collide.
    return hashlib.sha1(value, usedforsecurity=False).hexdigest()


_SWAP_DIGEST = _digest(_SWAP.encode())
_LOAD_DIGEST = _digest(_LOAD.encode())


class _NoScripting(enum.Enum):
    """The answer of a server that runs no scripts."""

    ANSWER = "none"


_NO_SCRIPTING = _NoScripting.ANSWER


class RedisSessionStore:
    """Sessions in Redis or Valkey, standalone, Sentinel or Cluster.

    The client is the caller's: it is neither configured nor closed here, and belongs to the
    event loop in which it was first used.

    Args:
        client: A ``redis.asyncio`` client, with or without ``decode_responses``.
        key_prefix: What the keys of all sessions begin with.
        codec: Encodes the sessions; the shared one unless given.
        deadline: Seconds that one operation may take in all, waiting for a connection and
            retries included; None leaves it to the client's own timeouts.
        circuit: Refuses calls to a server that was not reached several times in a row.
        pipelining: Send commands of requests that run at the same time together.
    """

    def __init__(
        self,
        client: Redis | RedisCluster,
        *,
        key_prefix: str = KEY_PREFIX,
        codec: SessionCodec = DEFAULT_CODEC,
        deadline: float | None = None,
        circuit: Circuit | None = None,
        pipelining: bool = True,
    ) -> None:
        self.codec = codec
        self._client: Any = client if hasattr(client, "execute_command") else PlainClient(client)
        self._prefix = key_prefix
        batched = pipelining and hasattr(self._client, "pipeline")
        self._commands = CommandBatcher(
            self._client, deadline=deadline, circuit=circuit or Circuit(), enabled=batched
        )
        self._scripting = True

    async def get(self, session_id: str) -> dict[str, Any] | None:
        """Return the session's dictionary, or None if it is absent or unreadable.

        Raises:
            SessionStoreError: The backend failed; ``__cause__`` is the driver's error.
        """
        payload = await self._send("get", "GET", self._key(session_id))
        if payload is None:
            return None
        try:
            return self.codec.loads(payload)
        except SessionDecodingError as error:
            _logger.warning("session %s is unreadable: %s", ids.mask(session_id), error)
            return None

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        """Store the dictionary, to live for ``ttl`` seconds.

        Raises:
            SessionEncodingError: A value cannot be stored; nothing was.
            SessionStoreError: The backend failed.
        """
        payload = self.codec.dumps(data)
        await self._send("save", "SET", self._key(session_id), payload, "EX", ttl)

    async def delete(self, session_id: str) -> None:
        """Remove the session, if it is there."""
        await self._send("delete", "DEL", self._key(session_id))

    async def exists(self, session_id: str) -> bool:
        """Tell whether the session is stored and alive; its idle time goes on."""
        return bool(await self._send("exists", "EXISTS", self._key(session_id)))

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        """Return the encoded session and let it live at least ``ttl`` seconds, in one command.

        For a session that is absent a second one looks where it has gone.
        """
        # Here, and where else most requests come by, without `_send`: a coroutine less that waits.
        key = self._key(session_id)
        execute = self._commands.execute
        payload: bytes | None
        scripting = self._scripting
        try:
            if scripting:
                try:
                    payload = await execute("load", "EVALSHA", _LOAD_DIGEST, 1, key, ttl)
                except NoScriptError:
                    payload = await execute("load", "EVAL", _LOAD, 1, key, ttl)
            else:
                payload = await execute("load", "GETEX", key, "EX", ttl)
        except FAILURES as error:
            if scripting and lacks_scripting(error):
                self._scripting = False
                return await self.load_and_slide(session_id, ttl)
            raise await self._failure("load", error) from error
        if payload is None and not ids.is_record(session_id):
            return await self._way("load", session_id)
        return payload

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        """Store a new session; False if the id is taken."""
        key = self._key(session_id)
        try:
            return bool(await self._commands.execute("create", "SET", key, value, "EX", ttl, "NX"))
        except FAILURES as error:
            raise await self._failure("create", error) from error

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Replace ``expected`` by ``value``; see `pyfly_session.ports.CompareAndSwap`."""
        if self._scripting:
            key = self._key(session_id)
            found = await self._swap(value, 1, key, _digest(expected), value, ttl)
            if found is None:
                return await self._way("merge", session_id)
            if found is not _NO_SCRIPTING:
                return found
        keys = [self._key(session_id), self._moved_key(session_id)]
        return await self._call("merge", self._watched, keys, expected, value, ttl, "")

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Move the session to ``new_id``; see `pyfly_session.ports.Rename`.

        The two keys may live on different nodes, so this is two steps: the new record first,
        the old one last. If the second step fails the user keeps a session. Until the old one is
        gone the new one lives for seconds only, so that nothing is left that no one knows of.
        """
        try:
            async with self._commands.bounded():
                return await self._rename(session_id, new_id, expected, value, ttl)
        except TimeoutError as error:
            raise translated("rename", error) from error

    async def _rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        new_key = self._key(new_id)
        briefly = min(ttl, _RENAME_SECONDS)
        if not await self._send("rename", "SET", new_key, value, "EX", briefly, "NX"):
            # An attempt that was interrupted stored it; perhaps it came to its end.
            if await self._way("rename", session_id) == Moved(new_id):
                return Moved(new_id)
            await self._send("rename", "SET", new_key, value, "EX", briefly)
        found = await self._leave(session_id, new_id, expected, value)
        if found in (value, Moved(new_id)):
            try:
                await self._send("rename", "EXPIRE", new_key, ttl)
            except SessionStoreError as error:
                # The change is done; the next request with the new id gives it its full time.
                _logger.warning("a session lives for seconds only under its new id: %s", error)
        else:
            await self._send("rename", "DEL", new_key)
        return found

    async def delete_moved(self, session_id: str) -> str | None:
        """Remove the session, and return the id it was moved to, if it was."""
        # In this order: a change of id in between leaves its note for the second command.
        commands = ("DEL", self._key(session_id)), ("GET", self._moved_key(session_id))
        try:
            _, moved = await self._commands.together("delete", *commands)
        except FAILURES as error:
            raise await self._failure("delete", error) from error
        return None if moved is None else _bytes(moved).decode()

    async def _leave(
        self, session_id: str, new_id: str, expected: bytes, value: bytes
    ) -> bytes | Moved | None:
        """End a session that goes on under another id, and remember the way."""
        keys, ttl = [self._key(session_id), self._moved_key(session_id)], FORWARD_SECONDS
        if self._scripting:
            digests = (_digest(expected), _digest(value))
            found = await self._swap(value, 2, *keys, *digests, ttl, new_id)
            if found is not _NO_SCRIPTING:
                return found
        return await self._call("merge", self._watched, keys, expected, value, ttl, new_id)

    async def _swap(
        self, value: bytes, *arguments: str | bytes | int
    ) -> bytes | Moved | _NoScripting | None:
        """Run the script: by its digest, or by its text if the server does not know it yet."""
        execute = self._commands.execute
        try:
            try:
                answer = await execute("merge", "EVALSHA", _SWAP_DIGEST, *arguments)
            except NoScriptError:
                answer = await execute("merge", "EVAL", _SWAP, *arguments)
        except FAILURES as error:
            if lacks_scripting(error):
                self._scripting = False
                return _NO_SCRIPTING
            raise await self._failure("merge", error) from error
        match answer:
            case [2]:
                return value
            case [1, current]:
                return _bytes(current)
            case [0, *moved]:
                return _moved(moved[0] if moved else None)
        # Not what the script returns: whatever it was, the session was not seen to be saved.
        raise SessionStoreError(
            f"the session store failed to merge: it answered a {type(answer).__name__} to the"
            " script that replaces a session",
            operation="merge",
        )

    async def _watched(
        self, keys: list[str], expected: bytes, value: bytes, ttl: int, new_id: str
    ) -> bytes | Moved | None:
        """Do what the script does, on a server without scripting."""
        key, moved_key = keys
        async with self._client.pipeline(transaction=True) as pipeline:
            while True:
                await pipeline.watch(key)
                current = await pipeline.get(key)
                if current is None:
                    return _moved(await pipeline.get(moved_key))
                if _bytes(current) not in (expected, value):
                    return _bytes(current)
                pipeline.multi()
                if new_id:
                    pipeline.delete(key)
                    pipeline.set(moved_key, new_id, ex=ttl)
                else:
                    pipeline.set(key, value, ex=ttl)
                try:
                    await pipeline.execute()
                except WatchError:
                    continue
                return value

    async def _way(self, operation: str, session_id: str) -> Moved | None:
        """Return where a change of id has led, if there was one."""
        return _moved(await self._send(operation, "GET", self._moved_key(session_id)))

    async def _send(self, operation: str, *command: str | bytes | int) -> Any:
        """Send a command, together with others that are waiting."""
        try:
            return await self._commands.execute(operation, *command)
        except FAILURES as error:
            raise await self._failure(operation, error) from error

    async def _call(
        self, operation: str, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await a method of the client, on its own."""
        try:
            return await self._commands.alone(operation, call, *args, **kwargs)
        except FAILURES as error:
            raise await self._failure(operation, error) from error

    async def _failure(self, operation: str, error: Exception) -> SessionStoreError:
        # Redis 6 tells of what a script was refused in words of its own.
        if isinstance(error, ReadOnlyError) or "READONLY" in str(error):
            await self._hang_up()
        return translated(operation, error)

    async def _hang_up(self) -> None:
        """Close idle connections: after a failover they may lead to the former master still."""
        pool = getattr(self._client, "connection_pool", None)
        if pool is not None:
            with contextlib.suppress(*FAILURES):
                await pool.disconnect(inuse_connections=False)

    def _key(self, session_id: str) -> str:
        return self._prefix + session_id

    def _moved_key(self, session_id: str) -> str:
        key = self._key(session_id)
        # A prefix with a hash tag of its own decides the slot.
        return f"{key}:moved" if "{" in key else f"{{{key}}}:moved"


def _moved(new_id: bytes | str | None) -> Moved | None:
    return None if new_id is None else Moved(_bytes(new_id).decode())


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value
