"""`SessionRepository`: loads, creates and commits sessions over any store.

The one place that decides what a commit does, by the state of the session: untouched,
new, changed, rotated or invalidated. Knows nothing of HTTP.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from pyfly_session import ids
from pyfly_session.attributes import Delta
from pyfly_session.endings import Endings
from pyfly_session.errors import SessionConflictError, SessionDecodingError
from pyfly_session.events import SessionListener
from pyfly_session.fallbacks import CapableStore, require_store
from pyfly_session.merging import Merger
from pyfly_session.metadata import (
    CREATED_AT,
    LAST_ACCESSED,
    MAX_INACTIVE_INTERVAL,
    PRINCIPAL,
    encode_time,
    is_interval,
)
from pyfly_session.outcome import Outcome
from pyfly_session.ports import Moved, SessionStore
from pyfly_session.principal_commits import (
    changes_hands,
    confirm_after,
    note_before,
    release,
    strike_out,
)
from pyfly_session.principals import PrincipalSessions
from pyfly_session.publishing import Publisher
from pyfly_session.session import HttpSession
from pyfly_session.stored_ids import HashedIdStore
from pyfly_session.turns import Turns, back_off
from pyfly_session.unfinished import UnfinishedWork

__all__ = ["Outcome", "SessionRepository"]

_logger = logging.getLogger(__name__)
_MERGE_ATTEMPTS = 64
_EAGER_ATTEMPTS = 4
# A request that took longer than this asks once more whether its session still lives.
_RECHECK_SECONDS = 0.05


class SessionRepository:
    """Sessions over a store. Shared by all requests, in any number of event loops.

    Args:
        store: Any session store; what it lacks is made up for by `pyfly_session.fallbacks`.
        ttl: Idle time in whole seconds after which a session ends.
        max_lifetime: Seconds after its creation when a session ends at the latest, or None.
        max_size: Largest size of an encoded session in bytes, or None.
        hash_ids: Give the store a hash of each id instead of the id.
        records: A store for the records of who has which sessions, if they shall not be in
            ``store`` itself.
        watch: Sees, and may wrap, what the store can do; returns what to count with.
        listeners: Are told when a session is created, destroyed or given another id.
        clock: Unix time in seconds.

    Attributes:
        counts: What happened since the start: ``unreadable`` stored values, ``conflicts`` with
            other writers, commits that found the session ``gone``, requests answered 503
            (``unavailable``), and requests that went on without a session (``transient``).
        principals: Finds and ends the sessions of a principal.
        endings: Tells why a session was ended by somebody else.

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
        records: SessionStore | None = None,
        watch: Callable[[CapableStore], Counter[str]] | None = None,
        listeners: Sequence[SessionListener] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        for name, seconds in (("ttl", ttl), ("max_lifetime", max_lifetime)):
            if not (is_interval(seconds) or (seconds is None and name != "ttl")):
                raise ValueError(
                    f"{name} must be a whole number of seconds, at least 1, got {seconds!r}"
                )
        self.store = require_store(store)
        self._capable = (HashedIdStore if hash_ids else CapableStore)(self.store)
        self.counts: Counter[str] = Counter() if watch is None else watch(self._capable)
        # Looked up once: they go through every request.
        self._load, self._codec = self._capable.load_and_slide, self._capable.codec
        self._merger = Merger(self._capable.codec, max_size)
        self._ttl = ttl
        self._max_lifetime = max_lifetime
        self._clock = clock
        self._turns = Turns()
        work = UnfinishedWork()
        self._events = Publisher(listeners, self._capable, work, clock=clock) if listeners else None
        self.endings = Endings(self._capable, ttl, self.counts, self._events)
        self.finish, self.finish_later, self.drain = work.finish, work.finish_later, work.drain
        self.principals = PrincipalSessions(
            self._capable,
            records=None if records is None else CapableStore(require_store(records)),
            idle=ttl,
            max_lifetime=max_lifetime,
            clock=clock,
            end=self.endings.end,
            later=work.finish_later,
        )

    def create(self) -> HttpSession:
        """Return a new session with an id made here; it is stored when it is committed."""
        return HttpSession.create(self._codec, self._clock())

    async def load(self, session_id: str) -> HttpSession | None:
        """Return the session of this id and slide its idle time, or None if it is absent.

        A stored value that is not a session counts as absent and is logged.

        Raises:
            SessionStoreError: The backend failed.
        """
        payload = await self._load(session_id, self._ttl)
        if payload is None or isinstance(payload, Moved):
            return None
        now = self._clock()
        try:
            session = HttpSession.restore(session_id, payload, self._codec, now)
        except SessionDecodingError as error:
            self.counts["unreadable"] += 1
            _logger.warning(
                "session %s is unreadable and treated as absent: %s", ids.mask(session_id), error
            )
            return None
        if self._max_lifetime is not None and now >= self._latest_end(session):
            await self.endings.delete(session_id, "expired")
            return None
        metadata = session._metadata
        if MAX_INACTIVE_INTERVAL in metadata:
            # The common idle time was applied before this session's own was known.
            await self.finish(
                self._capable.load_and_slide(session_id, self.seconds_to_live(session))
            )
        if PRINCIPAL in metadata:
            self.principals.note_use(session, self._idle(session))
        return session

    def _idle(self, session: HttpSession) -> int:
        idle: int = session._metadata.get(MAX_INACTIVE_INTERVAL) or self._ttl
        return idle

    def seconds_to_live(self, session: HttpSession) -> int:
        """Return how long the session lives from now if nobody uses it, at least 1 second."""
        idle = session._metadata.get(MAX_INACTIVE_INTERVAL) or self._ttl
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
        elif not (session.rotated or delta):
            return await self._untouched(session, session._stored_id)
        if session._noted or changes_hands(session):
            return await self._commit_of_principal(session, delta)
        return await self._store(session, delta)

    def settled(self, session: HttpSession, *, create: bool = True) -> Outcome | None:
        """Return what `commit` comes to, if that needs neither the store nor any encoding."""
        if session._transient or not session.untouched:
            return None
        if session._stored_id is None:
            return None if create else Outcome.UNSAVED
        return self._known_outcome(session, session._stored_id)

    async def _untouched(self, session: HttpSession, stored_id: str) -> Outcome:
        """Tell what became of a session that the request did not touch.

        A slow request that only read must not send the cookie of a session that was ended
        or given another id meanwhile: the browser would lose the newer one.
        """
        known = self._known_outcome(session, stored_id)
        if known is not None:
            return known
        return Outcome.UNTOUCHED if await self._capable.exists(stored_id) else Outcome.GONE

    def _known_outcome(self, session: HttpSession, stored_id: str) -> Outcome | None:
        """Return what became of it, as far as that can be told without asking the store."""
        if stored_id != session._given_id:
            return Outcome.MOVED
        if self.endings.has_seen(stored_id):
            return Outcome.GONE
        is_slow = self._clock() - session._last_accessed > _RECHECK_SECONDS
        return None if is_slow else Outcome.UNTOUCHED

    def _store(self, session: HttpSession, delta: Delta) -> Awaitable[Outcome]:
        if session._stored_id is None:
            return self._create(session, delta)
        return self._write(session, delta, rotate=session.rotated)

    async def _commit_of_principal(self, session: HttpSession, delta: Delta) -> Outcome:
        """Store a session that is somebody's, between notes in the records of whose it is.

        Noted before, for nobody may overlook it; looked at again after, for who ended it
        meanwhile could not find it yet.
        """
        former, idle = session._stored_id, self._idle(session)
        await note_before(self.principals, session, idle)
        outcome = await self._store(session, delta)
        gone = outcome is Outcome.GONE
        if await confirm_after(self.principals, session, former, idle, gone=gone):
            return outcome
        session._stored_id = None
        return Outcome.ENDED

    async def release(self, session: HttpSession) -> None:
        """Take note that a session which a login announced is not going to be stored."""
        await release(self.principals, session)

    async def _create(self, session: HttpSession, delta: Delta) -> Outcome:
        delta = {
            CREATED_AT: encode_time(session._metadata[CREATED_AT]),
            LAST_ACCESSED: encode_time(self._clock()),
            **delta,
        }
        payload, fragments = self._merger.merged(b"", delta)
        ttl = self.seconds_to_live(session)
        if not await self._capable.create_if_absent(session._id, payload, ttl):
            # An attempt that was interrupted got there; nobody else has this random id.
            session._stored_id, session._payload = session._id, payload
            session._fragments = fragments
            outcome = await self._write(session, delta, rotate=False)
        else:
            session.committed(session._id, payload, delta, fragments, alone=True)
            outcome = Outcome.STORED
        if self._events is not None and outcome is Outcome.STORED:
            self._events.created(session._id, session._metadata.get(PRINCIPAL))
        return outcome

    async def _write(  # noqa: C901 - one loop, with every end that it can have
        self, session: HttpSession, delta: Delta, *, rotate: bool
    ) -> Outcome:
        """Merge the delta onto what is stored now, and move it to the new id if asked to."""
        store = self._capable
        delta[LAST_ACCESSED] = encode_time(self._clock())
        ttl = self.seconds_to_live(session)
        stored_id, expected = session._stored_id, session._payload
        known = session._fragments
        assert stored_id is not None and expected is not None  # noqa: S101, PT018 - for mypy
        former, turn = stored_id, None
        try:
            for attempt in range(_MERGE_ATTEMPTS):
                if attempt == 1:
                    # Somebody else writes too: line up, or most of us would fail every time.
                    turn = self._turns.of(stored_id)
                    await turn.acquire()
                if attempt >= _EAGER_ATTEMPTS:
                    await back_off(attempt)
                    # What the last attempt met is old by now, and would meet the next writer.
                    newest = await store.load_and_slide(stored_id, ttl)
                    if isinstance(newest, bytes):
                        expected = newest
                    self._merger.adopt_idle_time(session, expected)
                    ttl = self.seconds_to_live(session)
                value, fragments = self._merger.merged(expected, delta, known)
                known = None
                if rotate:
                    found = await store.rename(stored_id, session._id, expected, value, ttl)
                else:
                    found = await store.compare_and_swap(stored_id, expected, value, ttl)
                if found == value:
                    if rotate:
                        self.endings.remember(stored_id)
                        former, stored_id = stored_id, session._id
                    alone = expected is session._payload
                    session.committed(stored_id, value, delta, fragments, alone=alone)
                    if self._events is not None and former != stored_id == session._id:
                        principal = session._metadata.get(PRINCIPAL)
                        self._events.id_changed(former, stored_id, principal)
                    return Outcome.STORED if stored_id == session._id else Outcome.MOVED
                if isinstance(found, Moved):
                    former, stored_id = stored_id, found.new_id
                    if store.key_of(stored_id) == store.key_of(session._id):
                        # An attempt of this session that was interrupted got there.
                        stored_id, rotate = session._id, False
                elif found is None:
                    return self._gone(session)
                else:
                    self.counts["conflicts"] += 1
                    expected = found
                    self._merger.adopt_idle_time(session, found)
                    ttl = self.seconds_to_live(session)
        finally:
            if turn is not None:
                turn.release()
        raise SessionConflictError(ids.mask(session._id), _MERGE_ATTEMPTS)

    async def _end(self, session: HttpSession) -> Outcome:
        former = session._stored_id
        if former is not None:
            await self.endings.delete(former)
        if session.rotated:
            # An attempt that was interrupted may have stored it already.
            await self._capable.delete(session._id)
        session._stored_id = None
        await strike_out(self.principals, session, former)
        return Outcome.ENDED

    def _gone(self, session: HttpSession) -> Outcome:
        self.counts["gone"] += 1
        _logger.info(
            "session %s ended while a request was using it; its changes were dropped",
            ids.mask(session._id),
        )
        return Outcome.GONE
