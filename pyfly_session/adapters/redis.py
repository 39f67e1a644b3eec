"""`RedisSessionStore`: sessions in Redis 6.2+ or Valkey.

One session is one string key, ``pyfly:session:<id>``, holding one JSON object, with the
idle time as the key's expiry. Beside it a key ``{pyfly:session:<id>}:moved`` may tell for a
few minutes under which id a session goes on after a change of id; its hash tag puts it
into the cluster slot of the session's own key, so that one script reaches both.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError, WatchError

from pyfly_session import ids
from pyfly_session.adapters.batching import UNREACHED, CommandBatcher
from pyfly_session.adapters.circuit import Circuit
from pyfly_session.adapters.plain_client import PlainClient
from pyfly_session.codec import DEFAULT_CODEC, SessionCodec, allow_session_type
from pyfly_session.errors import (
    SessionDecodingError,
    SessionStoreError,
    SessionStoreUnavailableError,
    UnsupportedServerError,
)
from pyfly_session.ports import FORWARD_SECONDS, Moved

__all__ = ["KEY_PREFIX", "RedisSessionStore", "allow_session_type"]

KEY_PREFIX = "pyfly:session:"

_logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

# KEYS: session; to end it, its moved key too. ARGV: SHA-1 of what the caller read, new value or
# empty for "end it and remember the way", seconds to live, new id, SHA-1 of the new value. A
# session that already is the new value counts as replaced, since the caller could not tell. The
# digests spare sending the old value; nothing is decoded on the server. A merge names one key
# only: a cluster refuses two (TRYAGAIN) while their slot moves to another node.
_SWAP = """
local current = redis.call('GET', KEYS[1])
if not current then
    return {0, KEYS[2] and redis.call('GET', KEYS[2])}
end
local digest = redis.sha1hex(current)
if digest ~= ARGV[1] and digest ~= ARGV[5] then
    return {1, current}
end
if ARGV[4] == '' then
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
else
    redis.call('DEL', KEYS[1])
    redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[3])
end
return {2}
"""
_SWAP_SHA = hashlib.sha1(_SWAP.encode(), usedforsecurity=False).hexdigest()

_FAILURES = (RedisError, UnicodeDecodeError, *UNREACHED)


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

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | None:
        """Return the encoded session and let it live ``ttl`` seconds from now, in one command."""
        payload: bytes | None = await self._send("load", "GETEX", self._key(session_id), "EX", ttl)
        return payload

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        """Store a new session; False if the id is taken."""
        key = self._key(session_id)
        return bool(await self._send("create", "SET", key, value, "EX", ttl, "NX"))

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Replace ``expected`` by ``value``; see `pyfly_session.ports.CompareAndSwap`."""
        return await self._swap(session_id, expected, value, ttl, "")

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Move the session to ``new_id``; see `pyfly_session.ports.Rename`.

        The two keys may live on different nodes, so this is two steps: the new record first,
        the old one last. If the second step fails the user keeps a session.
        """
        try:
            async with self._commands.bounded():
                return await self._rename(session_id, new_id, expected, value, ttl)
        except TimeoutError as error:
            raise _translated("rename", error) from error

    async def _rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        new_key = self._key(new_id)
        if not await self._send("rename", "SET", new_key, value, "EX", ttl, "NX"):
            # An attempt that was interrupted stored it; perhaps it came to its end.
            if await self._way("rename", session_id) == Moved(new_id):
                return Moved(new_id)
            await self._send("rename", "SET", new_key, value, "EX", ttl)
        found = await self._swap(session_id, expected, value, FORWARD_SECONDS, new_id)
        if found not in (value, Moved(new_id)):
            await self._send("rename", "DEL", new_key)
        return found

    async def delete_moved(self, session_id: str) -> str | None:
        """Remove the session, and return the id it was moved to, if it was."""
        # In this order: a change of id in between leaves its note for the second command.
        commands = ("DEL", self._key(session_id)), ("GET", self._moved_key(session_id))
        try:
            _, moved = await self._commands.together("delete", *commands)
        except _FAILURES as error:
            raise await self._failure("delete", error) from error
        return None if moved is None else _bytes(moved).decode()

    async def _swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int, new_id: str
    ) -> bytes | Moved | None:
        keys = [self._key(session_id), self._moved_key(session_id)]
        if self._scripting:
            try:
                if new_id:
                    return await self._scripted(keys, expected, value, ttl, new_id)
                found = await self._scripted(keys[:1], expected, value, ttl, "")
                return await self._way("merge", session_id) if found is None else found
            except SessionStoreError as error:
                if not _lacks_scripting(error.__cause__):
                    raise
                self._scripting = False
        return await self._call("merge", self._watched, keys, expected, value, ttl, new_id)

    async def _scripted(
        self, keys: list[str], expected: bytes, value: bytes, ttl: int, new_id: str
    ) -> bytes | Moved | None:
        # SHA-1 tells two versions of one session apart; nobody gains by making them collide.
        digests = [
            hashlib.sha1(each, usedforsecurity=False).hexdigest() for each in (expected, value)
        ]
        arguments: list[str | bytes | int] = [
            digests[0],
            b"" if new_id else value,
            ttl,
            new_id,
            digests[1],
        ]
        answer = await self._evaluate(len(keys), *keys, *arguments)
        match answer:
            case [0, *found]:
                return _moved(found[0] if found else None)
            case [1, current]:
                return _bytes(current)
            case [2]:
                return value
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

    async def _evaluate(self, *keys_and_arguments: str | bytes | int) -> Any:
        """Run the script by its digest; a server that does not know it yet gets its text."""
        try:
            return await self._send("merge", "EVALSHA", _SWAP_SHA, *keys_and_arguments)
        except SessionStoreError as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        return await self._send("merge", "EVAL", _SWAP, *keys_and_arguments)

    async def _send(self, operation: str, *command: str | bytes | int) -> Any:
        """Send a command, together with others that are waiting."""
        try:
            return await self._commands.execute(operation, *command)
        except _FAILURES as error:
            raise await self._failure(operation, error) from error

    async def _call(
        self, operation: str, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await a method of the client, on its own."""
        try:
            return await self._commands.alone(operation, call, *args, **kwargs)
        except _FAILURES as error:
            raise await self._failure(operation, error) from error

    async def _failure(self, operation: str, error: Exception) -> SessionStoreError:
        if isinstance(error, ReadOnlyError):
            await self._hang_up()
        return _translated(operation, error)

    async def _hang_up(self) -> None:
        """Close idle connections: after a failover they may lead to the former master still."""
        pool = getattr(self._client, "connection_pool", None)
        if pool is not None:
            with contextlib.suppress(*_FAILURES):
                await pool.disconnect(inuse_connections=False)

    def _key(self, session_id: str) -> str:
        return self._prefix + session_id

    def _moved_key(self, session_id: str) -> str:
        key = self._key(session_id)
        # A prefix with a hash tag of its own decides the slot.
        return f"{key}:moved" if "{" in key else f"{{{key}}}:moved"


def _translated(operation: str, error: Exception) -> SessionStoreError:
    """Return our error for the driver's, at the adapter's edge."""
    if isinstance(error, UNREACHED):
        return SessionStoreUnavailableError(
            f"the session store was not reached to {operation}: {_told(error)}",
            operation=operation,
        )
    if operation == "load" and _is_unknown_command(error):
        return UnsupportedServerError(
            f"the session store needs Redis 6.2 or newer, or Valkey; this server says: {error}",
            operation=operation,
        )
    return SessionStoreError(
        f"the session store failed to {operation}: {_told(error)}", operation=operation
    )


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _is_unknown_command(error: BaseException | None) -> bool:
    return isinstance(error, ResponseError) and "unknown command" in str(error).lower()


def _lacks_scripting(error: BaseException | None) -> bool:
    # fakeredis with Lua runs scripts, but has no sha1hex.
    return _is_unknown_command(error) or (
        isinstance(error, ResponseError) and "sha1hex" in str(error)
    )


def _moved(new_id: bytes | str | None) -> Moved | None:
    return None if new_id is None else Moved(_bytes(new_id).decode())


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value
