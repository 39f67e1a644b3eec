"""`RedisSessionStore`: sessions in Redis 6.2+ or Valkey.

One session is one string key, ``pyfly:session:<id>``, holding one JSON object, with the
idle time as the key's expiry. Beside it a key ``{pyfly:session:<id>}:moved`` may tell for a
few minutes under which id a session goes on after a change of id; its hash tag puts it
into the cluster slot of the session's own key, so that one script reaches both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ReadOnlyError, ResponseError, WatchError

from pyfly_session import ids
from pyfly_session.adapters.redis.batching import BYTES, CommandBatcher
from pyfly_session.adapters.redis.circuit_breaker import Circuit
from pyfly_session.adapters.redis.errors import FAILURES, UNREACHED, NoScriptingError, translated
from pyfly_session.adapters.redis.patience import Patience
from pyfly_session.adapters.redis.scanning import scan
from pyfly_session.adapters.redis.scripts import (
    CREATE,
    HEAD,
    LEAVE,
    LOAD,
    OWN_IDLE_TIME,
    SWAP,
    mark,
    moved_key,
)
from pyfly_session.adapters.redis.stub_client import PlainClient
from pyfly_session.core.codec import DEFAULT_CODEC, SessionCodec, allow_session_type
from pyfly_session.errors import (
    SessionDecodingError,
    SessionStoreError,
)
from pyfly_session.ports import FORWARD_SECONDS, Moved, Scanned

__all__ = ["KEY_PREFIX", "RedisSessionStore", "allow_session_type"]

KEY_PREFIX = "pyfly:session:"
# A change of id takes no longer between its steps; nor than five deadlines: its first step, the
# second, a look whether that was done, and the second once more.
_RENAME_SECONDS, _RENAME_DEADLINES = 30, 5

_VERSION = "_version"

_logger = logging.getLogger(__name__)


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

    Raises:
        ValueError: The prefix has braces that make no hash tag of a cluster.
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
        # Else the note of a change of id would have another slot than the session.
        if not re.fullmatch(r"(?s)[^{}]*|[^{]*\{[^}]+\}.*", key_prefix):
            raise ValueError(f"the braces in key_prefix make no hash tag, got {key_prefix!r}")
        self.codec = codec
        self.deadline = deadline
        self._client: Any = client if hasattr(client, "execute_command") else PlainClient(client)
        self._prefix = key_prefix
        batched = pipelining and hasattr(self._client, "pipeline")
        self._commands = CommandBatcher(
            self._client, deadline=deadline, circuit=circuit or Circuit(), enabled=batched
        )
        # A loop refers weakly to a task.
        self._last_steps: set[asyncio.Task[bytes | Moved | None]] = set()

    keeps_life = True

    async def get(self, session_id: str) -> dict[str, Any] | None:
        """Return the session's dictionary, or None if it is absent or unreadable.

        Raises:
            SessionStoreError: The backend failed; ``__cause__`` is the driver's error.
        """
        key = self._key(session_id)
        payload = await self._ask("get", key, ("GET", key))
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
        if _VERSION in data:
            # Not in front, where it would say that this is what was read.
            data = {name: value for name, value in data.items() if name != _VERSION} | {
                _VERSION: data[_VERSION]
            }
        key, payload = self._key(session_id), self.codec.dumps(data)
        await self._ask("save", key, ("SET", key, payload, "EX", ttl))

    async def delete(self, session_id: str) -> None:
        """Remove the session, if it is there."""
        key = self._key(session_id)
        await self._ask("delete", key, ("DEL", key))

    async def exists(self, session_id: str) -> bool:
        """Tell whether the session is stored and alive; its idle time goes on."""
        key = self._key(session_id)
        return bool(await self._ask("exists", key, ("EXISTS", key)))

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        """Return the encoded session and let it live at least ``ttl`` seconds, in one trip.

        One that has an idle time of its own in front lives exactly that long. For a session that
        is absent the same trip looks where it has gone.
        """
        # Here, and where else most requests come by, without `_ask`: a coroutine less that waits.
        key = self._key(session_id)
        try:
            try:
                found = await self._commands.ask("load", key, LOAD, ttl)
            except NoScriptingError:
                found = await self._load_plainly(key, ttl)
            if found is None and not ids.is_record(session_id):
                return await self._note_elsewhere("load", key)
        except FAILURES as error:
            raise await self._failure("load", error) from error
        return _moved(found[0]) if isinstance(found, list) else found

    def has_slid(self, payload: bytes) -> bool:
        """Return whether `load_and_slide` gave this session all of its own idle time."""
        return not self._commands.without_scripts and bool(OWN_IDLE_TIME.match(payload[:HEAD]))

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        """Store a new session; False if the id is taken."""
        key = self._key(session_id)
        try:
            try:
                return bool(await self._commands.ask("create", key, CREATE, value, ttl))
            except NoScriptingError:
                command = ("SET", key, value, "EX", ttl, "NX")
                return bool(await self._commands.ask("create", key, None, command))
        except FAILURES as error:
            raise await self._failure("create", error) from error

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Replace ``expected`` by ``value``; see `pyfly_session.ports.CompareAndSwap`."""
        key = self._key(session_id)
        try:
            try:
                found = await self._commands.ask(
                    "merge", key, SWAP, mark(expected), mark(value), value, ttl
                )
            except NoScriptingError:
                return await self._watched(key, expected, value, ttl, "")
            return await self._note_elsewhere("merge", key) if found is None else _met(found, value)
        except FAILURES as error:
            raise await self._failure("merge", error) from error

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Move the session to ``new_id``; see `pyfly_session.ports.Rename`.

        The two keys may live on different nodes, so this is two steps: the new record first,
        the old one last. If the second step fails the user keeps a session. Until the old one is
        gone the new one lives for seconds only, so that nothing is left that no one knows of.
        Each step has the deadline of its own: when the old one is gone, the change is done, and
        the caller has to hear of that. From that step on it goes to its end though it is cancelled,
        and ends then.
        """
        try:
            return await self._rename(session_id, new_id, expected, value, ttl)
        except FAILURES as error:
            raise await self._failure("rename", error) from error

    async def _rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        ask = self._commands.ask
        key, new_key = self._key(session_id), self._key(new_id)
        seconds = max(_RENAME_SECONDS, math.ceil(_RENAME_DEADLINES * (self.deadline or 0)))
        store = ("SET", new_key, value, "EX", min(ttl, seconds))
        async with Patience(self._commands.deadline):
            if not await ask("rename", new_key, None, (*store, "NX")):
                # An attempt that was interrupted stored it; perhaps it came to its end.
                way = _moved(await ask("rename", key, None, ("GET", moved_key(key))))
                if way == Moved(new_id):
                    return way
                await ask("rename", new_key, None, store)
        last = asyncio.ensure_future(self._leave_for_good(key, new_id, expected, value, ttl))
        self._last_steps.add(last)
        last.add_done_callback(self._last_steps.discard)
        try:
            return await asyncio.shield(last)
        except asyncio.CancelledError:
            if not last.done():
                await asyncio.wait({last})
            raise

    async def _leave_for_good(
        self, key: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """End a session that is stored under its new id, and let it live there; or take it back."""
        ask, new_key = self._commands.ask, self._key(new_id)
        try:
            found = await self._leave(key, new_id, expected, value)
        except UNREACHED:
            # It may be done, or be done yet. If the note does not tell, it is done once more.
            way = _moved(await ask("rename", key, None, ("GET", moved_key(key))))
            done = way == Moved(new_id)
            found = way if done else await self._leave(key, new_id, expected, value)
        if found in (value, Moved(new_id)):
            try:
                await ask("rename", new_key, None, ("EXPIRE", new_key, ttl))
            except (*FAILURES, SessionStoreError) as error:
                # The change is done; the next request with the new id gives it its full time.
                _logger.warning("a session lives for seconds only under its new id: %s", error)
        else:
            await ask("rename", new_key, None, ("DEL", new_key))
        return found

    async def _leave(
        self, key: str, new_id: str, expected: bytes, value: bytes
    ) -> bytes | Moved | None:
        """End a session that goes on under another id, and remember the way."""
        marks, ttl = (mark(expected), mark(value)), FORWARD_SECONDS
        script = ("EVALSHA", LEAVE, 2, key, moved_key(key), *marks, ttl, new_id)
        try:
            return _met(await self._commands.ask("merge", key, None, script), value)
        except NoScriptingError:
            return await self._watched(key, expected, value, ttl, new_id)

    async def delete_moved(self, session_id: str) -> str | None:
        """Remove the session, and return the id it was moved to, if it was."""
        key = self._key(session_id)
        # In this order: a change of id in between leaves its note for the second command.
        _, moved = await self._ask("delete", key, ("DEL", key), ("GET", moved_key(key)))
        return None if moved is None else bytes(moved).decode()

    async def scan_sessions(self) -> AsyncIterator[Sequence[Scanned]]:
        """Yield the stored sessions in steps; see `pyfly_session.ports.ScanSessions`."""
        try:
            async for found in scan(self._commands, self._prefix):
                yield found
        except FAILURES as error:
            raise await self._failure("scan", error) from error

    async def _note_elsewhere(self, operation: str, key: str) -> Moved | None:
        """Return where a session has gone, if the script could not tell.

        While a slot moves, the note may be at another node of a cluster than the script was.
        """
        if self._commands.cluster is None:
            return None
        return _moved(await self._commands.ask(operation, key, None, ("GET", moved_key(key))))

    async def _load_plainly(self, key: str, ttl: int) -> bytes | list[bytes] | None:
        """Do what the script does, on a server that runs none for us."""
        commands = ("GET", key), ("TTL", key), ("GET", moved_key(key))
        found, lives, moved = await self._commands.ask("load", key, None, *commands)
        if found is None:
            return None if moved is None else [moved]
        if ttl and lives < ttl:
            slide = ("EXPIRE", key, ttl)
            try:
                # Not if it was given a longer life in between.
                await self._commands.ask("load", key, None, (*slide, "GT"))
            except ResponseError as error:
                # Redis 6.2 cannot look.
                if "number of arguments" not in str(error):
                    raise
                await self._commands.ask("load", key, None, slide)
        return bytes(found)

    async def _watched(
        self, key: str, expected: bytes, value: bytes, ttl: int, new_id: str
    ) -> bytes | Moved | None:
        """Do what the scripts do, on a server that runs none for us."""
        async with (
            self._commands.alone("merge"),
            self._client.pipeline(transaction=True) as pipeline,
        ):
            while True:
                await pipeline.watch(key)
                current = await pipeline.execute_command("GET", key, **BYTES)
                if current is None:
                    note = await pipeline.execute_command("GET", moved_key(key), **BYTES)
                    return _moved(note)
                if current not in (expected, value):
                    return bytes(current)
                pipeline.multi()
                if new_id:
                    pipeline.delete(key)
                    pipeline.set(moved_key(key), new_id, ex=ttl)
                else:
                    pipeline.set(key, value, ex=ttl or None, keepttl=not ttl)
                try:
                    await pipeline.execute()
                except WatchError:
                    continue
                return value

    async def _ask(self, operation: str, key: str, *commands: tuple[str | bytes | int, ...]) -> Any:
        """Send commands, together with others that are waiting."""
        try:
            return await self._commands.ask(operation, key, None, *commands)
        except FAILURES as error:
            raise await self._failure(operation, error) from error

    async def _failure(self, operation: str, error: Exception) -> SessionStoreError:
        pool = getattr(self._client, "connection_pool", None)
        # Redis 6 tells of what a script was refused in words of its own.
        refused = isinstance(error, ReadOnlyError) or re.search("READONLY|NOREPLICAS", str(error))
        if pool is not None and refused:
            # Idle connections may lead to the former master still.
            with contextlib.suppress(*FAILURES):
                await pool.disconnect(inuse_connections=False)
        return translated(operation, error)

    def _key(self, session_id: str) -> str:
        return self._prefix + session_id


def _met(found: Any, value: bytes) -> bytes | Moved | None:
    """Return what a script that stores a session tells: 1, another value, or where it is."""
    if found == 1:
        return value
    if isinstance(found, list):
        return _moved(found[0])
    if found is None or isinstance(found, bytes):
        return found
    # Whatever it was, the session was not seen to be saved.
    raise ResponseError(f"a script was answered by a {type(found).__name__}")


def _moved(new_id: bytes | None) -> Moved | None:
    return None if new_id is None else Moved(new_id.decode())
