"""`Invalidation`: how sessions end, wherever they were moved, and what is remembered of that."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from pyfly_session import ids
from pyfly_session.core.event_publisher import EventPublisher
from pyfly_session.core.metadata import PRINCIPAL
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.errors import SessionConflictError

_logger = logging.getLogger(__name__)
# More changes of id than one request can meet.
_MOVES = 256
_REMEMBERED = 4096
# As long as a request may still be under way that was sent before its session ended.
_MOMENT_SECONDS = 30

Notice = Callable[[], None]
T = TypeVar("T")


class Invalidation:
    """Ends sessions. Shared by all requests.

    Args:
        store: Where the sessions are.
        note_seconds: How long the reason is kept of a session that somebody else ended.
        counts: Counts the reasons.
        events: Publishes the ends.
        clock: Unix time in seconds.

    Attributes:
        ended: Until when an id is remembered, and whether a request has come with it since.
        report: Awaited with whose session has ended, and its id; None if nobody has to know.
    """

    report: Callable[[str | None, str], Awaitable[None]] | None = None

    def __init__(
        self,
        store: CapableStore,
        note_seconds: int,
        counts: Counter[str],
        events: EventPublisher,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._note_seconds = note_seconds
        self._counts = counts
        self._events = events
        self._clock = clock
        self.ended: OrderedDict[str, tuple[float, bool]] = OrderedDict()
        self._watchers: dict[str, set[Notice]] = {}

    async def delete(self, session_id: str, reason: str = "invalidated") -> None:
        """Delete a session, under the ids too that others gave it: a logout has to hold.

        Args:
            session_id: The id.
            reason: What listeners are given.

        Raises:
            SessionStoreError: The backend failed, and the session may live.
        """
        await self._finish(self._delete(session_id, reason, look=self._is_heard))

    @property
    def _is_heard(self) -> bool:
        return self._events.has_listeners or self.report is not None

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._is_heard:
            return await work
        # Cancelled in between, nobody could tell later that there was a session.
        done: T = await self._events.finish(work)
        return done

    async def _delete(
        self, session_id: str, reason: str, *, look: bool
    ) -> Mapping[str, Any] | None:
        """Delete a session wherever it is; return what was there if it is to be looked at."""
        found, target = None, session_id
        for _ in range(_MOVES):
            # Looked at before: deleting does not tell whether it was there, nor whose it was.
            data = await self._store.get(target) if look else None
            ended, moved_to = target, await self._store.delete_moved(target)
            if reason != "expired":
                self.remember(ended)
            if data is not None:
                found = data
                self._events.destroyed(ended, data.get(PRINCIPAL), reason)
                if self.report is not None:
                    await self.report(data.get(PRINCIPAL), ended)
            for notice in tuple(self._watchers.get(self._store.key_of(ended), ())):
                notice()
            if moved_to is None:
                return found
            target = moved_to
        raise SessionConflictError(ids.mask(session_id), _MOVES)

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

        async def counted() -> Mapping[str, Any] | None:
            found = await self._delete(session_id, reason, look=True)
            if found is not None:
                self._counts[reason] += 1
            return found

        return await self._finish(counted())

    async def why(self, session_id: str) -> str | None:
        """Return the reason that `end` was given, or None if that is not known."""
        note = await self._store.get(self._note_id(session_id))
        reason = (note or {}).get("reason")
        return reason if isinstance(reason, str) else None

    def remember(self, session_id: str) -> None:
        """Take note that an id was ended, or its session given another one, a moment ago."""
        key = self._store.key_of(session_id)
        _, was_seen = self.ended.pop(key, (0.0, False))
        self.ended[key] = self._clock() + _MOMENT_SECONDS, was_seen
        if len(self.ended) > _REMEMBERED:
            self.ended.popitem(last=False)

    def has_ended(self, session_id: str) -> bool:
        """Return whether that was a moment ago, as far as this process knows."""
        until, _ = self.ended.get(self._store.key_of(session_id), (0.0, False))
        return self._clock() < until

    def is_late(self, session_id: str) -> bool:
        """Return the same for an id that a request came with; the first one is logged."""
        if not self.has_ended(session_id):
            return False
        key = self._store.key_of(session_id)
        until, was_seen = self.ended[key]
        if not was_seen:
            self.ended[key] = until, True
            _logger.info(
                "a request came with session %s, which has ended or goes on under another id; it"
                " gets a session that is not saved, and no cookie",
                ids.mask(session_id),
            )
        return True

    def _note_id(self, session_id: str) -> str:
        return ids.record_id("ended", self._store.key_of(session_id))
