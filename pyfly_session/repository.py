"""`SessionRepository`: loads, creates and commits sessions over any store.

The one place that decides what a commit does, by the state of the session: untouched,
new, changed, rotated or invalidated. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import math
import random
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from pyfly_session import ids
from pyfly_session.attributes import Delta
from pyfly_session.errors import SessionConflictError, SessionDecodingError, SessionTooLargeError
from pyfly_session.fallbacks import CapableStore, require_store
from pyfly_session.metadata import (
    CREATED_AT,
    LAST_ACCESSED,
    MAX_INACTIVE_INTERVAL,
    is_interval,
    take_metadata,
)
from pyfly_session.ports import Moved, SessionStore
from pyfly_session.session import HttpSession
from pyfly_session.stored_ids import HashedIdStore

_logger = logging.getLogger(__name__)
_MERGE_ATTEMPTS = 64
_EAGER_ATTEMPTS = 4
_MAX_MOVES = 8
# A request that took longer than this asks once more whether its session still lives.
_RECHECK_SECONDS = 0.05
_REMEMBERED_ENDS = 4096


class Outcome(enum.Enum):
    """What a commit found and did."""

    UNSAVED = "a new session that nothing asked to store"
    UNTOUCHED = "nothing to store; the session lives"
    STORED = "created, updated or given its new id; the session lives under its id"
    MOVED = "the changes went to the id that another request gave the session"
    ENDED = "invalidated by this request; its entry is gone"
    GONE = "ended or expired meanwhile; nothing was stored"


class SessionRepository:
    """Sessions over a store. Shared by all requests, in any number of event loops.

    Args:
        store: Any session store; what it lacks is made up for by `pyfly_session.fallbacks`.
        ttl: Idle time in whole seconds after which a session ends.
        max_lifetime: Seconds after its creation when a session ends at the latest, or None.
        max_size: Largest size of an encoded session in bytes, or None.
        hash_ids: Give the store a hash of each id instead of the id.
        clock: Unix time in seconds.

    Attributes:
        counts: What happened since the start: ``unreadable`` stored values, ``conflicts`` with
            other writers, commits that found the session ``gone``, requests answered 503
            (``unavailable``), and requests that went on without a session (``transient``).

    Raises:
        StoreContractError: The store does not keep the contract.
        ValueError: A time is not a whole number of seconds, at least 1.
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        ttl: int = 1800,
        max_lifetime: int | None = None,
        max_size: int | None = None,
        hash_ids: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        for name, seconds in (("ttl", ttl), ("max_lifetime", max_lifetime)):
            if not (is_interval(seconds) or (seconds is None and name != "ttl")):
                raise ValueError(
                    f"{name} must be a whole number of seconds, at least 1, got {seconds!r}"
                )
        self.store = require_store(store)
        self._capable = (HashedIdStore if hash_ids else CapableStore)(self.store)
        self._max_size = max_size
        self._ttl = ttl
        self._max_lifetime = max_lifetime
        self._clock = clock
        self.counts: Counter[str] = Counter()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._finishing: set[asyncio.Task[Any]] = set()

    def create(self) -> HttpSession:
        """Return a new session with an id made here; it is stored when it is committed."""
        return HttpSession.create(self._capable.codec, self._clock())

    async def load(self, session_id: str) -> HttpSession | None:
        """Return the session of this id and slide its idle time, or None if it is absent.

        A stored value that is not a session counts as absent and is logged.

        Raises:
            SessionStoreError: The backend failed.
        """
        payload = await self._capable.load_and_slide(session_id, self._ttl)
        if payload is None:
            return None
        codec = self._capable.codec
        now = self._clock()
        try:
            session = HttpSession.restore(session_id, payload, codec, now)
        except SessionDecodingError as error:
            self.counts["unreadable"] += 1
            _logger.warning(
                "session %s is unreadable and treated as absent: %s", ids.mask(session_id), error
            )
            return None
        if self._max_lifetime is not None and now >= self._latest_end(session):
            await self._capable.delete(session_id)
            return None
        if session.max_inactive_interval is not None:
            # The common idle time was applied before this session's own was known.
            await self.finish(
                self._capable.load_and_slide(session_id, self.seconds_to_live(session))
            )
        return session

    def seconds_to_live(self, session: HttpSession) -> int:
        """Return how long the session lives from now if nobody uses it, at least 1 second."""
        idle = session.max_inactive_interval or self._ttl
        if self._max_lifetime is None:
            return idle
        return max(1, min(idle, math.ceil(self._latest_end(session) - self._clock())))

    def _latest_end(self, session: HttpSession) -> float:
        created_at: float = session._metadata[CREATED_AT]
        return created_at + (self._max_lifetime or math.inf)

    async def commit(self, session: HttpSession, *, create: bool = True) -> Outcome:
        """Store what the request did to the session. May be repeated; costs nothing if clean.

        Args:
            session: A session of this repository.
            create: Store a new session although nothing was written to it.

        Raises:
            SessionEncodingError: A value cannot be stored; nothing was written.
            SessionTooLargeError: Nor was it, because the whole is too large.
            SessionStoreError: The backend failed, or other writers won every attempt.
        """
        if session._invalidated:
            return await self._end(session)
        delta = session.changes()
        if session._stored_id is None:
            if not (create or delta):
                return Outcome.UNSAVED
            return await self._create(session, delta)
        if session.rotated or delta:
            return await self._write(session, delta, rotate=session.rotated)
        if session._stored_id != session._id:
            return Outcome.MOVED
        return Outcome.UNTOUCHED if await self._is_still_live(session) else Outcome.GONE

    async def _create(self, session: HttpSession, delta: Delta) -> Outcome:
        now = self._clock()
        encode = self._capable.codec.encode
        created_at = encode(CREATED_AT, session._metadata[CREATED_AT])
        fragments = {CREATED_AT: created_at, LAST_ACCESSED: encode(LAST_ACCESSED, now)}
        fragments.update((name, part) for name, part in delta.items() if part is not None)
        payload = self._join(fragments)
        ttl = self.seconds_to_live(session)
        if not await self._capable.create_if_absent(session._id, payload, ttl):
            # An attempt that was interrupted got there; nobody else has this random id.
            session._stored_id, session._payload = session._id, payload
            return await self._write(session, delta, rotate=False)
        session.committed(session._id, payload, delta)
        return Outcome.STORED

    async def _write(self, session: HttpSession, delta: Delta, *, rotate: bool) -> Outcome:
        """Merge the delta onto what is stored now, and move it to the new id if asked to."""
        codec, store = self._capable.codec, self._capable
        delta = {**delta, LAST_ACCESSED: codec.encode(LAST_ACCESSED, self._clock())}
        ttl = self.seconds_to_live(session)
        stored_id, expected = session._stored_id, session._payload
        assert stored_id is not None and expected is not None  # noqa: S101, PT018 - for mypy
        for attempt in range(_MERGE_ATTEMPTS):
            if attempt >= _EAGER_ATTEMPTS:
                await _back_off(attempt)
                # What the last attempt met is old by now, and would meet the next writer.
                expected = await store.load_and_slide(stored_id, ttl) or expected
                self._adopt_idle_time(session, expected)
                ttl = self.seconds_to_live(session)
            value = self._merged(expected, delta)
            if rotate:
                found = await store.rename(stored_id, session._id, expected, value, ttl)
            else:
                found = await store.compare_and_swap(stored_id, expected, value, ttl)
            if found == value:
                if rotate:
                    self._remember_end(stored_id)
                    stored_id = session._id
                session.committed(stored_id, value, delta)
                return Outcome.STORED if stored_id == session._id else Outcome.MOVED
            if isinstance(found, Moved):
                stored_id = found.new_id
                if store.key_of(stored_id) == store.key_of(session._id):
                    # An attempt of this session that was interrupted got there.
                    stored_id, rotate = session._id, False
            elif found is None:
                return self._gone(session)
            else:
                self.counts["conflicts"] += 1
                expected = found
                self._adopt_idle_time(session, found)
                ttl = self.seconds_to_live(session)
        raise SessionConflictError(ids.mask(session._id), _MERGE_ATTEMPTS)

    def _adopt_idle_time(self, session: HttpSession, found: bytes) -> None:
        """Take over the idle time that another request gave the session meanwhile."""
        if MAX_INACTIVE_INTERVAL in session._metadata_changed:
            return
        codec = self._capable.codec
        try:
            metadata = take_metadata(codec.split(found), codec)
        except SessionDecodingError:
            return
        session._metadata.pop(MAX_INACTIVE_INTERVAL, None)
        if MAX_INACTIVE_INTERVAL in metadata:
            session._metadata[MAX_INACTIVE_INTERVAL] = metadata[MAX_INACTIVE_INTERVAL]

    def _merged(self, current: bytes, delta: Delta) -> bytes:
        fragments = self._fragments(current)
        for name, fragment in delta.items():
            if fragment is None:
                fragments.pop(name, None)
            else:
                fragments[name] = fragment
        return self._join(fragments, current)

    def _fragments(self, current: bytes) -> dict[str, Any]:
        try:
            return dict(self._capable.codec.split(current))
        except SessionDecodingError:
            # Somebody overwrote the session with something that is none; nothing to keep.
            return {}

    def _join(self, fragments: Mapping[str, Any], current: bytes = b"") -> bytes:
        """Encode the whole; what was too large before may stay so, but not grow."""
        join, limit = self._capable.codec.join, self._max_size
        payload = join(fragments)
        if limit is None or len(payload) <= limit:
            return payload
        # The time of the write has as many digits as it happens to have.
        former = {**self._fragments(current), LAST_ACCESSED: fragments[LAST_ACCESSED]}
        if current and len(payload) <= len(join(former)):
            return payload
        sizes = {name: len(bytes(part)) for name, part in fragments.items()}
        largest = max(sizes, key=sizes.__getitem__)
        raise SessionTooLargeError(len(payload), limit, largest, sizes[largest])

    async def _end(self, session: HttpSession) -> Outcome:
        ended, target = 0, session._stored_id
        # Follow the session to the ids that others gave it: a logout has to hold.
        while target is not None and ended <= _MAX_MOVES:
            self._remember_end(target)
            target = await self._capable.delete_moved(target)
            ended += 1
        if session.rotated:
            # An attempt that was interrupted may have stored it already.
            await self._capable.delete(session._id)
        session._stored_id = None
        return Outcome.ENDED

    def _gone(self, session: HttpSession) -> Outcome:
        self.counts["gone"] += 1
        _logger.info(
            "session %s ended while a request was using it; its changes were dropped",
            ids.mask(session._id),
        )
        return Outcome.GONE

    async def _is_still_live(self, session: HttpSession) -> bool:
        """Tell whether an untouched session is still there, asking the store only if slow.

        A slow request that only read must not send the cookie of a session that was ended
        or given another id meanwhile: the browser would lose the newer one.
        """
        if self._capable.key_of(session._id) in self._ended:
            return False
        if self._clock() - session._last_accessed <= _RECHECK_SECONDS:
            return True
        return await self._capable.exists(session._id)

    def _remember_end(self, session_id: str) -> None:
        self._ended[self._capable.key_of(session_id)] = None
        if len(self._ended) > _REMEMBERED_ENDS:
            self._ended.popitem(last=False)

    async def finish(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await the work; if the caller is cancelled meanwhile, the work goes on without it."""
        return await asyncio.shield(self.finish_later(work))

    def finish_later(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start the work on its own; `drain` waits for it."""
        task = asyncio.ensure_future(work)
        self._finishing.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._finishing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _logger.debug("a store operation ended with an error", exc_info=task.exception())

    async def drain(self) -> None:
        """Wait for this loop's work of cancelled requests, before its client is closed."""
        loop = asyncio.get_running_loop()
        # One that is done may still be listed; to await it would not let the loop unlist it.
        while tasks := [
            task for task in list(self._finishing) if task.get_loop() is loop and not task.done()
        ]:
            await asyncio.gather(*tasks, return_exceptions=True)


async def _back_off(attempt: int) -> None:
    """Spread out writers that keep meeting each other."""
    await asyncio.sleep(random.uniform(0, 0.001 * attempt))  # noqa: S311 - no secret
