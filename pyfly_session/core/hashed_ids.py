"""Ids hashed at rest: whoever reads the store cannot use what is there as a cookie."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.ports import Moved, SessionStore


class StoredId(str):
    """An id as a store has it under hashing. A type of its own, for no client may send one."""

    __slots__ = ()


class HashedIdStore(CapableStore):
    """Every capability of a store, under the SHA-256 of each id instead of the id.

    An id is 128 random bits, so a plain hash cannot be turned back by guessing. What the store
    tells of other ids comes back as `StoredId`, and is not hashed again.
    """

    def __init__(self, store: SessionStore) -> None:
        super().__init__(store)
        for name in (
            "get",
            "delete",
            "exists",
            "load_and_slide",
            "create_if_absent",
            "compare_and_swap",
            "delete_moved",
        ):
            setattr(self, name, self._hashing(getattr(self, name)))
        self._plain_rename = self.rename
        self.rename = self._hashed_rename

    def key_of(self, session_id: str) -> str:
        """Return what the store knows the id as."""
        if isinstance(session_id, StoredId):
            return session_id
        return StoredId(hashlib.sha256(session_id.encode()).hexdigest())

    def recall(self, key: str) -> str:
        """Return an id for which `key_of` gives the key."""
        return StoredId(key)

    def _hashing(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def hashed(session_id: str, *arguments: Any) -> Any:
            return _marked(await call(self.key_of(session_id), *arguments))

        return hashed

    async def _hashed_rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        old, new = self.key_of(session_id), self.key_of(new_id)
        found = await self._plain_rename(old, new, expected, value, ttl)
        return Moved(StoredId(found.new_id)) if isinstance(found, Moved) else found


def _marked(answer: Any) -> Any:
    if isinstance(answer, Moved):
        return Moved(StoredId(answer.new_id))
    return StoredId(answer) if isinstance(answer, str) else answer
