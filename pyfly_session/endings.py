"""How a session ends in the store, wherever it was moved, and what is remembered of that."""

from __future__ import annotations

from collections import Counter, OrderedDict

from pyfly_session.fallbacks import CapableStore

_MAX_MOVES = 8
_REMEMBERED = 4096


class Endings:
    """Ends sessions. Shared by all requests.

    Args:
        store: Where the sessions are.
        note_seconds: How long the reason is kept of a session that somebody else ended.
        counts: Counts the reasons.
    """

    def __init__(self, store: CapableStore, note_seconds: int, counts: Counter[str]) -> None:
        self._store = store
        self._note_seconds = note_seconds
        self._counts = counts
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def delete(self, session_id: str) -> None:
        """Delete a session, under the ids too that others gave it: a logout has to hold."""
        target: str | None = session_id
        for _ in range(_MAX_MOVES + 1):
            if target is None:
                return
            self.remember(target)
            target = await self._store.delete_moved(target)

    async def end(self, session_id: str, reason: str) -> None:
        """Delete a session on behalf of somebody else, with a note why for its browser."""
        note = self._store.codec.dumps({"reason": reason})
        await self._store.create_if_absent(self._note_id(session_id), note, self._note_seconds)
        await self.delete(session_id)
        self._counts[reason] += 1

    async def why(self, session_id: str) -> str | None:
        """Return the reason that `end` was given, or None if that is not known."""
        note = await self._store.get(self._note_id(session_id))
        reason = (note or {}).get("reason")
        return reason if isinstance(reason, str) else None

    def remember(self, session_id: str) -> None:
        """Take note that this process ended the id, or gave its session another one."""
        self._seen[self._store.key_of(session_id)] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def has_seen(self, session_id: str) -> bool:
        """Tell whether this process ended the id."""
        return self._store.key_of(session_id) in self._seen

    def _note_id(self, session_id: str) -> str:
        # A colon: no client can send it.
        return f"ended:{self._store.key_of(session_id)}"
