"""`SessionRepository`: loads, creates and commits sessions over any store.

The one place that decides what a commit does, by the state of the session: untouched, new,
changed, rotated or ended. Knows nothing of HTTP, and of users only whose session it is: the list
of who has which sessions is kept by `Registration`, around a commit.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pyfly_session import ids
from pyfly_session.core.change import Change, Stored
from pyfly_session.core.codec import Parts
from pyfly_session.core.event_publisher import EventPublisher
from pyfly_session.core.hashed_ids import HashedIdStore
from pyfly_session.core.invalidation import Invalidation
from pyfly_session.core.merge import Outcome, assembled, is_login_of
from pyfly_session.core.metadata import (
    ANONYMOUS,
    CREATED_AT,
    ENDS_AT,
    MAX_INACTIVE_INTERVAL,
    PRINCIPAL,
    SECURITY_CONTEXT,
    is_interval,
    read_one,
)
from pyfly_session.core.principals.index import PrincipalSessions
from pyfly_session.core.principals.own_registry import OwnRegistry, Registry
from pyfly_session.core.principals.registration import Registration
from pyfly_session.core.session import HttpSession
from pyfly_session.core.store_capabilities import CapableStore, require_store
from pyfly_session.core.tasks import BackgroundTasks
from pyfly_session.core.writer import SessionWriter
from pyfly_session.errors import SessionDecodingError, SessionStoreError
from pyfly_session.events import SessionListener
from pyfly_session.ports import Moved, SessionStore

__all__ = ["Outcome", "SessionRepository"]

_logger = logging.getLogger(__name__)
# A request that took longer than this asks once more whether its session still lives.
_RECHECK_SECONDS = 0.05
# Two logins of one user with the same former id that are no further apart are one: a button that
# was pressed twice. Later it is a user whose browser never got the first answer.
_SAME_LOGIN_SECONDS = 10
_ABOUT_WHO_IT_IS = frozenset({ANONYMOUS, MAX_INACTIVE_INTERVAL, PRINCIPAL, SECURITY_CONTEXT})


class SessionRepository:
    """Sessions over a store. Shared by all requests, in any number of event loops.

    Args:
        store: Any session store; what it lacks is made up for by
            `pyfly_session.core.store_capabilities`.
        ttl: Idle time in whole seconds after which a session ends.
        max_lifetime: Seconds after its creation when a session ends at the latest, or None.
        anonymous_ttl: Idle time of sessions that are nobody's, or None for that of all.
        max_size: Largest size of an encoded session in bytes, or None.
        hash_ids: Give the store a hash of each id instead of the id.
        records: A store for the records of who has which sessions, if they shall not be in
            ``store`` itself.
        decorate: Returns the store with something around it, telemetry for example.
        counts: What to count with.
        listeners: Called when a session is created, destroyed or given another id.
        clock: Unix time in seconds.

    Attributes:
        ttl: Idle time in seconds, where a session has none of its own.
        max_lifetime: Seconds after its creation when a session ends at the latest, or None.
        anonymous_ttl: Idle time in seconds of sessions that are nobody's, or None.
        counts: What happened since the start: ``unreadable`` stored values, ``conflicts`` with
            other writers, commits that found the session ``gone`` or ``dropped_changes``,
            requests answered 503 (``unavailable``), and requests that went on without a session
            (``transient``).
        principals: Finds and ends the sessions of a principal.
        invalidation: Ends sessions, and tells why one was ended by somebody else.

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
        anonymous_ttl: int | None = None,
        max_size: int | None = None,
        hash_ids: bool = False,
        records: SessionStore | None = None,
        decorate: Callable[[CapableStore], CapableStore] | None = None,
        counts: Counter[str] | None = None,
        listeners: Sequence[SessionListener] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        times = {"ttl": ttl, "max_lifetime": max_lifetime, "anonymous_ttl": anonymous_ttl}
        for name, seconds in times.items():
            if not (is_interval(seconds) or (seconds is None and name != "ttl")):
                raise ValueError(
                    f"{name} must be a whole number of seconds, at least 1, got {seconds!r}"
                )
        self.store = require_store(store)
        capable = (HashedIdStore if hash_ids else CapableStore)(self.store)
        self.capable_store = capable if decorate is None else decorate(capable)
        self.counts: Counter[str] = Counter() if counts is None else counts
        # Looked up once: they go through every request.
        self._load, self._codec = self.capable_store.load_and_slide, self.capable_store.codec
        self.ttl = ttl
        self.max_lifetime = max_lifetime
        self.anonymous_ttl = anonymous_ttl
        self._max_size = max_size
        self._clock = clock
        tasks = BackgroundTasks()
        self.finish, self.finish_later, self.drain = tasks.finish, tasks.finish_later, tasks.drain
        self._events = events = EventPublisher(listeners, self.capable_store, tasks, clock=clock)
        self.invalidation = Invalidation(self.capable_store, ttl, self.counts, events, clock)
        self.principals = PrincipalSessions(
            self.capable_store,
            records=None if records is None else CapableStore(require_store(records)),
            idle=ttl,
            max_lifetime=max_lifetime,
            clock=clock,
            end=self.invalidation.end,
            later=tasks.finish_later,
        )
        self._writer = SessionWriter(
            self.capable_store,
            max_size=max_size,
            deadline=getattr(self.store, "deadline", None),
            counts=self.counts,
            clock=clock,
            seconds_to_live=self._seconds_to_live_of,
            remember=self.invalidation.remember,
            later=tasks.finish_later,
        )
        self._registration = Registration(self.principals)

    def report_to(self, registry: Registry) -> None:
        """Have a registry of the application's own know who has which sessions.

        `pyfly_session.web.SessionFilter` does it with that of its ``concurrency``.
        """
        own = OwnRegistry(registry, self.capable_store, idle=self.ttl, clock=self._clock)
        self._registration.own, self.invalidation.report = own, own.ended

    async def forget_expired(self, principal: str) -> None:
        """Have such a registry strike out what has expired of a principal's sessions.

        Raises:
            SessionStoreError: The backend failed.
        """
        if self._registration.own is not None:
            await self._registration.own.forget_expired(principal)

    def create(self) -> HttpSession:
        """Return a new session with an id made here; it is stored when it is committed."""
        return HttpSession.create(self._codec, self._clock())

    async def load(self, session_id: str, *, slide: bool = True) -> HttpSession | None:
        """Return the session of this id and slide its idle time, or None if it is absent.

        A stored value that is not a session counts as absent and is logged.

        Args:
            session_id: The id.
            slide: Count this as an access. If not, and nothing but attributes is changed, the
                session ends when it would have ended anyway.

        Raises:
            SessionStoreError: The backend failed.
        """
        payload = await self._load(session_id, self.ttl if slide else 0)
        if payload is None:
            return None
        if isinstance(payload, Moved):
            self.invalidation.remember(session_id)
            return None
        stored = Stored(session_id, payload)
        try:
            session = HttpSession.restore(stored, self._codec, self._clock())
        except SessionDecodingError as error:
            self.counts["unreadable"] += 1
            _logger.warning(
                "session %s is unreadable and treated as absent: %s", ids.mask(session_id), error
            )
            return None
        own = session.own_lifetime
        if self._has_outlived(session):
            await self.invalidation.delete(session_id, "expired")
            return None
        if not slide:
            session.slides = False
            return session
        if own is not None and own.idle is not None:
            # The common idle time was applied before this session's own was known.
            is_exact = self.max_lifetime is None and own.ends_at is None
            if not (is_exact and self.capable_store.has_slid(payload)):
                await self.finish(self._slide(stored, self.seconds_to_live(session)))
        if stored.fragments is not None and PRINCIPAL in stored.fragments:
            self._registration.loaded(session)
        return session

    async def keep_alive(self, session: HttpSession, *, slide: bool) -> bool:
        """Return whether a session that was loaded long ago still lives under its id.

        Under another id it does not: a client that does not have the new one has no right to it.

        Args:
            session: The session; a new idle time of its own is taken over.
            slide: Count this as an access.

        Raises:
            SessionStoreError: The backend failed.
        """
        stored = session.stored
        if stored is None or session.moved or self._has_outlived(session):
            return False
        if not slide:
            return await self.capable_store.exists(stored.id)
        ttl = self.seconds_to_live(session)
        payload = await self._load(stored.id, ttl)
        if payload is None or isinstance(payload, Moved):
            return False
        current = Stored(stored.id, payload)
        fragments = current.taken_apart(self._codec)
        now = self._seconds_to_live_of(fragments)
        if now != ttl or ENDS_AT in fragments:
            # Another request gave it an idle time of its own.
            await self._slide(current, now)
        if session.principal is not None:
            self._registration.loaded(session)
        return True

    async def _slide(self, stored: Stored, ttl: int) -> None:
        """Let a session that was just loaded live exactly as long as its own idle time."""
        own = read_one(stored.taken_apart(self._codec), MAX_INACTIVE_INTERVAL, self._codec)
        if self.ttl <= ttl == own:
            await self._load(stored.id, ttl)
        else:
            # A load only extends a life; a shorter idle time needs a write of the same bytes.
            await self.capable_store.compare_and_swap(
                stored.id, stored.payload, stored.payload, ttl
            )

    def seconds_to_live(self, session: HttpSession) -> int:
        """Return how long the session lives from now if nobody uses it, at least 1 second."""
        return self._seconds_to_live(session.metadata, session.loaded_at)

    def _seconds_to_live_of(self, fragments: Parts) -> int:
        if self.max_lifetime is None and MAX_INACTIVE_INTERVAL not in fragments:
            return self.ttl
        return self._seconds_to_live(lambda name: read_one(fragments, name, self._codec), math.inf)

    def _seconds_to_live(self, metadata: Callable[[str], Any], created_at: float) -> int:
        idle: int = metadata(MAX_INACTIVE_INTERVAL) or self.ttl
        latest_end = self._latest_end(metadata, created_at)
        if latest_end == math.inf:
            return idle
        return max(1, min(idle, math.ceil(latest_end - self._clock())))

    def _latest_end(self, metadata: Callable[[str], Any], created_at: float) -> float:
        """Return when a session ends however much it is used; ``created_at`` if it has none."""
        fixed = metadata(ENDS_AT)
        latest_end: float = math.inf if fixed is None else fixed
        if self.max_lifetime is None:
            return latest_end
        created = metadata(CREATED_AT)
        return min(latest_end, (created_at if created is None else created) + self.max_lifetime)

    def _has_outlived(self, session: HttpSession) -> bool:
        if self.max_lifetime is None and session.own_lifetime is None:
            return False
        return self._clock() >= self._latest_end(session.metadata, session.loaded_at)

    def known_outcome(self, session: HttpSession) -> Outcome | None:
        """Return what became of an unchanged session, if it takes no question to the store."""
        if session.moved:
            return Outcome.MOVED
        invalidation, stored = self.invalidation, session.stored
        if invalidation.ended and stored is not None and invalidation.has_ended(stored.id):
            return Outcome.GONE
        if self._has_outlived(session):
            return Outcome.GONE
        if self._clock() - session.loaded_at > _RECHECK_SECONDS:
            return None
        return Outcome.UNTOUCHED

    async def commit(  # noqa: C901 - the one switch
        self, session: HttpSession, *, create: bool = True
    ) -> Outcome:
        """Store what the request did to the session. May be repeated; at most one look if clean.

        Args:
            session: A session of this repository.
            create: Store a new session although nothing was written to it.

        Raises:
            SessionEncodingError: A value cannot be stored; nothing was written.
            SessionUpdateError: A function failed on what others had stored; nothing was written.
            SessionTooLargeError: The session would be too large; nothing was written.
            SessionStoreError: The backend failed, or other writers won every attempt.
        """
        if session.commit_under_way is not None:
            await self.settle(session)
        if session.invalidated:
            return await self._end(session)
        former = session.stored
        if former is not None and not session.touched:
            return await self._untouched(session, former)
        if self.anonymous_ttl is not None or session.own_lifetime is not None:
            self._settle_idle_time(session)
        try:
            change = session.change(self._clock())
        except Exception:
            await self.release(session)
            raise
        if former is None:
            if change.is_empty and not create:
                return Outcome.UNSAVED
            if change.is_plain and not self._events.has_listeners:
                return await self._create(session, change)
        elif change.is_empty:
            return await self._untouched(session, former)
        elif change.is_plain:
            return await self._writer.write(session, change, former)
        # A login, a new id or another lifetime counts as an access, wherever it happens.
        session.slides = True
        return await self._commit_and_tell(session, change, former)

    def _settle_idle_time(self, session: HttpSession) -> None:
        """Give a session that is nobody's the idle time of those, and take it back at a login."""
        if session.has_login:
            if session.metadata(ANONYMOUS):
                session.mark_anonymous(None)
        elif session.max_inactive_interval is None and self.anonymous_ttl is not None:
            stored = session.stored
            before = {} if stored is None else stored.taken_apart(self._codec)
            # Not with any write of a visitor: a login stored meanwhile would inherit the time.
            if stored is None or not _ABOUT_WHO_IT_IS.isdisjoint(before):
                session.mark_anonymous(self.anonymous_ttl)

    async def _untouched(self, session: HttpSession, stored: Stored) -> Outcome:
        """Tell what became of a session that the request did not change.

        A slow request that only read must not send the cookie of a session that was ended
        or given another id meanwhile: the browser would lose the newer one.
        """
        known = self.known_outcome(session)
        if known is not None:
            return known
        return Outcome.UNTOUCHED if await self.capable_store.exists(stored.id) else Outcome.GONE

    async def _commit_and_tell(
        self, session: HttpSession, change: Change, former: Stored | None
    ) -> Outcome:
        """Store a change that the list of who has which sessions, or a listener, has to hear of."""
        try:
            await self._registration.before(session, change)
        except Exception:
            await self.release(session)
            raise
        if former is None:
            work = self._create(session, change)
        else:
            work = self._writer.write(session, change, former)
        # Tasks, for the request may be cancelled: what is stored is told all the same.
        storing = self.finish_later(work)
        telling = self.finish_later(self._tell_when_stored(storing, session, change, former))
        session.commit_under_way = telling
        try:
            return await asyncio.shield(telling)
        except asyncio.CancelledError:
            if change.new_id:
                # Nobody would hear of it, so it is dropped, unless it is done.
                storing.cancel()
            raise

    async def _tell_when_stored(
        self,
        storing: asyncio.Task[Outcome],
        session: HttpSession,
        change: Change,
        former: Stored | None,
    ) -> Outcome:
        try:
            outcome = await storing
        except Exception:
            await self.release(session)
            raise
        else:
            return await self._tell_after(session, change, outcome, former)
        finally:
            session.commit_under_way = None

    async def settle(self, session: HttpSession) -> None:
        """Wait for a commit of the session that goes on though its request was cancelled."""
        if session.commit_under_way is not None:
            await asyncio.wait({session.commit_under_way})

    async def _tell_after(
        self, session: HttpSession, change: Change, outcome: Outcome, former: Stored | None
    ) -> Outcome:
        self._events.committed(session, outcome, former)
        try:
            return await self._registration.after(session, change, outcome, former)
        except SessionStoreError as error:
            # What was done is done; a record that is not true yet is repaired by later use.
            _logger.warning("session %s: %s", ids.mask(session.current_id), error, exc_info=error)
            return outcome

    async def release(self, session: HttpSession) -> None:
        """Take note that what a request began with the session is not going to be stored."""
        try:
            await self._registration.released(session)
        except SessionStoreError as error:
            _logger.warning("a login's place could not be given back: %s", error)

    async def _create(self, session: HttpSession, change: Change) -> Outcome:
        session_id, parts = session.current_id, change.applied_to({}, self._codec)
        payload = assembled(parts, {}, self._codec, self._max_size)
        stored = Stored(session_id, payload)
        ttl = self._seconds_to_live_of(parts)
        attempt, session.attempt = session.attempt, (payload, change)
        store = self.capable_store
        if not await store.create_if_absent(session_id, payload, ttl):
            # Nobody else has this random id, so an attempt of ours has stored it: this one, if the
            # driver tried twice, or one that was interrupted. Swapped for themselves, the bytes
            # are read and given their time in one call.
            found = await store.compare_and_swap(session_id, payload, payload, ttl)
            if found != payload:
                return await self._resume(session, attempt, found)
        session.committed(stored, change, alone=True)
        return Outcome.STORED

    async def _resume(
        self,
        session: HttpSession,
        attempt: tuple[bytes, Change] | None,
        found: bytes | Moved | None,
    ) -> Outcome:
        """Go on where an attempt to create the session was interrupted."""
        if not isinstance(found, bytes):
            session.ended()
            return Outcome.GONE
        stored = Stored(session.current_id, found)
        if attempt is not None and attempt[0] == found:
            session.committed(stored, attempt[1])
        else:
            session.committed(stored, Change({}, {}))
        change = session.change(self._clock())
        if change.is_empty:
            return Outcome.STORED
        return await self._writer.write(session, change, stored)

    async def has_just_logged_in(self, session: HttpSession, principal: str) -> bool:
        """Return whether another request logged the same user in, with the same former id.

        Args:
            session: One whose request came with an id that was replaced.
            principal: Who is about to be logged in.

        Raises:
            SessionStoreError: The backend failed.
        """
        former_id = session.presented_id if session.stored is None else session.stored.id
        if former_id is None:
            return False
        current = await self._writer.followed(former_id)
        if current is None or current.id == former_id:
            return False
        fragments = current.taken_apart(self._codec)
        at = is_login_of(fragments, self._codec, principal, former_id)
        if at is None or self._clock() - at > _SAME_LOGIN_SECONDS:
            return False
        return await self._registration.is_confirmed(principal, current.id)

    async def _end(self, session: HttpSession) -> Outcome:
        former = session.stored
        change = Change({}, {})
        change.ends = True
        names = frozenset(session.principal_names)
        session_id = session.presented_id if former is None else former.id
        if session_id is not None:
            await self.invalidation.delete(session_id)
        if session.rotated:
            # An attempt that was interrupted may have stored it already.
            await self.capable_store.delete(session.current_id)
        session.ended()
        session.displaced |= names
        return await self._tell_after(session, change, Outcome.ENDED, former)
