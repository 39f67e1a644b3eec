"""How a session ends in the store, wherever it was moved, and what is remembered of that."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from pyfly_session.core.event_publisher import Publisher
from pyfly_session.core.metadata import PRINCIPAL
from pyfly_session.core.store_capabilities import CapableStore

_MAX_MOVES = 8
_REMEMBERED = 4096

Notice = Callable[[], None]


class Endings:
    """Ends sessions. Shared by all requests.

    Args:
        store: Where the sessions are.
        note_seconds: How long the reason is kept of a session that somebody else ended.
        counts: Counts the reasons.
        events: Tells listeners of the ends; None if there are no listeners.
    """

    def __init__(
        self,
        store: CapableStore,
        note_seconds: int,
        counts: Counter[str],
        events: Publisher | None = None,
    ) -> None:
        self._store = store
        self._note_seconds = note_seconds
        self._counts = counts
        self._events = events
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._watchers: dict[str, set[Notice]] = {}

    async def delete(self, session_id: str, reason: str = "invalidated") -> None:
        """Delete a session, under the ids too that others gave it: a logout has to hold.

        Args:
            session_id: The id.
            reason: What listeners are told.
        """
        await self._finish(self._delete(session_id, reason))

    async def _finish(self, work: Coroutine[Any, Any, None]) -> None:
        if self._events is None:
            await work
        else:
            # Cancelled in between, nobody could tell later that there was a session.
            await self._events.finish(work)

    async def _delete(
        self, session_id: str, reason: str, seen: list[Mapping[str, Any]] | None = None
    ) -> None:
        """Delete a session wherever it is; what was there is added to ``seen``."""
        events = self._events
        target: str | None = session_id
        for _ in range(_MAX_MOVES + 1):
            if target is None:
                return
            self.remember(target)
            # Looked at before: deleting does not tell whether it was there, nor whose it was.
            look = events is not None or seen is not None
            found = await self._store.get(target) if look else None
            ended, target = target, await self._store.delete_moved(target)
            if found is not None and seen is not None:
                seen.append(found)
            if found is not None and events is not None:
                events.destroyed(ended, found.get(PRINCIPAL), reason)
            for notice in tuple(self._watchers.get(self._store.key_of(ended), ())):
                notice()

    def watch(self, session_id: str, notice: Notice) -> Callable[[], None]:
        """Have it called when this process ends the session of an id, not when it renames it.

        Args:
            session_id: The id.
            notice: Called in whatever thread ends the session; must not raise.

        Returns:
            What stops the watching.
        """
        key = self._store.key_of(session_id)
        self._watchers.setdefault(key, set()).add(notice)

        def stop() -> None:
            watchers = self._watchers.get(key, set())
            watchers.discard(notice)
            if not watchers:
                self._watchers.pop(key, None)

        return stop

    async def end(self, session_id: str, reason: str) -> Mapping[str, Any] | None:
        """Delete a session on behalf of somebody else, with a note why for its browser.

        Returns:
            What the session was, or None if there was none. Those that were are counted.
        """
        note = self._store.codec.dumps({"reason": reason})
        await self._store.create_if_absent(self._note_id(session_id), note, self._note_seconds)
        seen: list[Mapping[str, Any]] = []

        async def counted() -> None:
            await self._delete(session_id, reason, seen)
            if seen:
                self._counts[reason] += 1

        await self._finish(counted())
        return seen[-1] if seen else None

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
        return bool(self._seen) and self._store.key_of(session_id) in self._seen

    def _note_id(self, session_id: str) -> str:
        # A colon: no client can send it.
        return f"ended:{self._store.key_of(session_id)}"
