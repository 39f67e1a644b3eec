"""Every capability for every store: what a store lacks is made from its four verbs.

The fallbacks read, compare and then write, in several steps. Between the steps another
request can write too, so a store without a capability cannot promise what the capability
promises:

=================  =====================================================================
without            what can happen when two requests meet within the same instant
=================  =====================================================================
`LoadAndSlide`     sliding saves what was just read: it can undo a write of that instant
`CreateIfAbsent`   nothing in practice: a new id has 128 random bits
`CompareAndSwap`   an update between the second reading and the save is lost, a delete
                   there is undone
`Rename`           as `CompareAndSwap`; a request that still works under the former id
                   finds no session and its late write is dropped; a change of id that was
                   interrupted and is tried again can look like a logout, and ends the session
=================  =====================================================================

`WatchLosses` and `ScanSessions` have no fallback: a store without them tells nothing of sessions
that nobody asks for.

What stays true without any capability: a write merges onto what is stored when it is made,
and a session that is gone when its commit begins is not brought back.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

from pyfly_session.core.codec import DEFAULT_CODEC, SessionCodec
from pyfly_session.core.metadata import MAX_INACTIVE_INTERVAL, is_interval
from pyfly_session.errors import SessionEncodingError, StoreContractError
from pyfly_session.ports import (
    CompareAndSwap,
    CreateIfAbsent,
    LoadAndSlide,
    Moved,
    Rename,
    ScanSessions,
    SessionStore,
    WatchLosses,
)

_VERBS = ("get", "save", "delete", "exists")


def require_store(candidate: object) -> SessionStore:
    """Return the candidate if it keeps the `SessionStore` contract.

    Raises:
        StoreContractError: It is a class, lacks a verb, or has one that is not a coroutine
            function; the Protocol's own isinstance check sees none but the second.
    """
    name = candidate.__name__ if isinstance(candidate, type) else type(candidate).__name__
    if isinstance(candidate, type):
        raise StoreContractError(
            f"a session store must be an instance, got the class {name}; call it: {name}(...)"
        )
    for verb in _VERBS:
        method = getattr(candidate, verb, None)
        if method is None:
            raise StoreContractError(
                f"{name} is not a session store: it has no method {verb!r};"
                f" a store has the coroutine methods {', '.join(_VERBS)}"
            )
        if not inspect.iscoroutinefunction(inspect.unwrap(method)):
            raise StoreContractError(
                f"{name}.{verb} must be a coroutine function; define it with 'async def'"
            )
    return cast("SessionStore", candidate)


class CapableStore:
    """A store with every capability, its own where it has them.

    Args:
        store: Any session store.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self.codec: SessionCodec = getattr(store, "codec", DEFAULT_CODEC)
        if not (self.codec.deterministic or isinstance(store, CompareAndSwap)):
            raise StoreContractError(
                f"{type(store).__name__} needs the capability CompareAndSwap to use"
                f" {type(self.codec).__name__}, which never writes the same bytes twice"
            )
        self.get = store.get
        self.delete = store.delete
        self.exists = store.exists
        self.load_and_slide = (
            store.load_and_slide if isinstance(store, LoadAndSlide) else self._get_and_save
        )
        self.create_if_absent = (
            store.create_if_absent if isinstance(store, CreateIfAbsent) else self._save_if_absent
        )
        self.compare_and_swap = (
            store.compare_and_swap if isinstance(store, CompareAndSwap) else self._save_if_same
        )
        if isinstance(store, Rename):
            self.rename, self.delete_moved = store.rename, store.delete_moved
        else:
            self.rename, self.delete_moved = self._save_and_delete, self._delete_only

        self.watch_losses = store.watch_losses if isinstance(store, WatchLosses) else None
        # There is none to make of four verbs. The ids are what `recall` takes.
        self.scan_sessions = store.scan_sessions if isinstance(store, ScanSessions) else None
        # Whether a swap can leave a life as it is.
        self.keeps_life: bool = getattr(store, "keeps_life", False)
        # Whether a load has given a session all of its own idle time; few stores can tell.
        self.has_slid: Callable[[bytes], bool] = getattr(store, "has_slid", lambda payload: False)

    def key_of(self, session_id: str) -> str:
        """Return what the store knows the id as."""
        return session_id

    def recall(self, key: str) -> str:
        """Return an id for which `key_of` gives the key."""
        return key

    async def _read(self, session_id: str) -> bytes | None:
        data = await self._store.get(session_id)
        if data is None:
            return None
        try:
            return self.codec.dumps(data)
        except (AttributeError, SessionEncodingError):
            # Not a session's dictionary: the bytes make the reader treat it as undecodable.
            return b""

    async def _write(self, session_id: str, value: bytes, ttl: int) -> None:
        await self._store.save(session_id, self.codec.loads(value), ttl)

    async def _get_and_save(self, session_id: str, ttl: int) -> bytes | Moved | None:
        payload = await self._read(session_id)
        if payload and ttl:
            data = self.codec.loads(payload)
            own: Any = data.get(MAX_INACTIVE_INTERVAL)
            await self._store.save(session_id, data, max(ttl, own) if is_interval(own) else ttl)
        return payload

    async def _save_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        if await self._store.exists(session_id):
            return False
        await self._write(session_id, value, ttl)
        return True

    async def _save_if_same(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        current = await self._read(session_id)
        if current != expected:
            return current
        await self._write(session_id, value, ttl)
        return value

    async def _save_and_delete(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        # New record first, old one last: if the second step fails the user keeps a session.
        await self._write(new_id, value, ttl)
        current = await self._read(session_id)
        if current not in (expected, value):
            await self._store.delete(new_id)
            return current
        await self._store.delete(session_id)
        return value

    async def _delete_only(self, session_id: str) -> str | None:
        await self._store.delete(session_id)
        return None
