"""Ids hashed at rest: whoever reads the store cannot use what is there as a cookie."""

from __future__ import annotations

import hashlib
from typing import Any

from pyfly_session import ids
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.ports import Moved, SessionStore


class HashedId(str):
    """An id as a store has it under hashing. A type of its own, for no client may send one."""

    __slots__ = ()


class HashedIdStore(CapableStore):
    """Every capability of a store, under the SHA-256 of each id instead of the id.

    An id is 128 random bits, so a plain hash cannot be turned back by guessing. What the store
    tells of other ids comes back as `HashedId`, and is not hashed again. The ids of records
    (`pyfly_session.ids.is_record`) are no secrets and stay as they are.

    Args:
        store: Any session store.
    """

    def __init__(self, store: SessionStore | CapableStore) -> None:
        self._inner = store if isinstance(store, CapableStore) else CapableStore(store)
        self.codec = self._inner.codec
        self.watch_losses = self._inner.watch_losses
        self.scan_sessions = self._inner.scan_sessions
        self.has_slid = self._inner.has_slid
        self.keeps_life = self._inner.keeps_life

    def key_of(self, session_id: str) -> str:
        """Return what the store knows the id as."""
        if isinstance(session_id, HashedId) or ids.is_record(session_id):
            return session_id
        return HashedId(hashlib.sha256(session_id.encode()).hexdigest())

    def recall(self, key: str) -> str:
        """Return an id for which `key_of` gives the key."""
        return HashedId(key)

    async def get(self, session_id: str) -> dict[str, Any] | None:
        """Return the session's dictionary, or None."""
        return await self._inner.get(self.key_of(session_id))

    async def delete(self, session_id: str) -> None:
        """Remove the session."""
        await self._inner.delete(self.key_of(session_id))

    async def exists(self, session_id: str) -> bool:
        """Return whether the session is stored and alive."""
        return await self._inner.exists(self.key_of(session_id))

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        """Return the encoded session and let it live at least ``ttl`` seconds from now."""
        return _marked(await self._inner.load_and_slide(self.key_of(session_id), ttl))

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        """Store a new session; False if the id is taken."""
        return await self._inner.create_if_absent(self.key_of(session_id), value, ttl)

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Replace ``expected`` by ``value``."""
        key = self.key_of(session_id)
        return _marked(await self._inner.compare_and_swap(key, expected, value, ttl))

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Move the session to ``new_id``."""
        old, new = self.key_of(session_id), self.key_of(new_id)
        return _marked(await self._inner.rename(old, new, expected, value, ttl))

    async def delete_moved(self, session_id: str) -> str | None:
        """Remove the session, and return the id it was moved to, if it was."""
        moved_to = await self._inner.delete_moved(self.key_of(session_id))
        return None if moved_to is None else HashedId(moved_to)


def _marked(answer: bytes | Moved | None) -> bytes | Moved | None:
    return Moved(HashedId(answer.new_id)) if isinstance(answer, Moved) else answer
