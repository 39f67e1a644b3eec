"""What the store keeps of logins under way: which were used, and who has logged out meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from pyfly_session import ids
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.ports import SessionStore
from pyfly_session.security.oauth2.authorization_request import Attempt


class LoginNotes:
    """Notes for all processes that share a store. Shared by all requests.

    Every method may raise a `SessionStoreError`.

    Args:
        store: Where the sessions are.
        lifetime: Seconds that a login may be under way.
        clock: Unix time in seconds.
    """

    def __init__(self, store: SessionStore, lifetime: int, clock: Callable[[], float]) -> None:
        self._store = store
        self._capable = CapableStore(store)
        self._lifetime = lifetime
        self._clock = clock

    async def use(self, attempt: Attempt) -> bool:
        """Use an attempt up; False if that was done before, in whatever process."""
        # No two are alike: to a store that tries again, a value that is there is its own.
        note = self._capable.codec.dumps({"used": ids.new_id()})
        return await self._capable.create_if_absent(attempt.record_id, note, self._lifetime)

    def size_of(self, attributes: dict[str, Any]) -> int:
        """Return how many bytes the attributes of a session take in the store."""
        return len(self._capable.codec.dumps(attributes))

    async def log_out(self, name: str) -> None:
        """Note that the sessions of this name have ended at the provider, by now."""
        await self._store.save(_record_of(name), {"at": self._clock()}, self._lifetime)

    async def logged_out(self, names: Iterable[str], since: float) -> list[str]:
        """Return those names whose sessions have ended at the provider."""
        notes = {name: await self._store.get(_record_of(name)) for name in names}
        return [name for name, note in notes.items() if note and note.get("at", 0) > since]


def _record_of(name: str) -> str:
    known = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:40]
    return ids.record_id("logout", known)
