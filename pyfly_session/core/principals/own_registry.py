"""What a registry of the application's own is told of its users' sessions, and when."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from pyfly_session.core.change import Stored
from pyfly_session.core.merge import Outcome
from pyfly_session.core.principals.index import login_time
from pyfly_session.core.session import HttpSession
from pyfly_session.core.store_capabilities import CapableStore

_logger = logging.getLogger(__name__)


class Registry(Protocol):
    """What is used of it; see `pyfly_session.concurrency.SessionRegistry`."""

    async def register(self, principal: str, session_id: str, created_at: float) -> None: ...

    async def deregister(self, principal: str, session_id: str) -> None: ...

    async def list_sessions(self, principal: str) -> list[tuple[str, float]]: ...


class Place:
    """A session's place in a registry, until it is known whether the session was stored.

    Called with whether it was.

    Attributes:
        principal: Whose it is.
        session_id: The id that is noted.
        is_taken: It is noted now.
    """

    def __init__(
        self, registry: Registry, principal: str, session_id: str, created_at: float
    ) -> None:
        self._registry = registry
        self._created_at = created_at
        self.principal = principal
        self.session_id = session_id
        self.is_taken = False

    async def take(self) -> bool:
        """Note the session; False if there is no room."""
        self.is_taken = True
        await self._registry.register(self.principal, self.session_id, self._created_at)
        return True

    async def move_to(self, session_id: str) -> None:
        """Note the session under another id."""
        former, self.session_id = self.session_id, session_id
        if self.is_taken and former != session_id:
            await self._registry.register(self.principal, session_id, self._created_at)
            await self._registry.deregister(self.principal, former)

    async def __call__(self, stored: bool) -> None:
        """Keep the place, or give it back; that can be undone."""
        if not stored:
            self.is_taken = False
            await self._registry.deregister(self.principal, self.session_id)
        elif not self.is_taken:
            await self.take()


class OwnRegistry:
    """Has a registry follow the commits and the ends of sessions. Shared by all requests.

    As with the records of our own, an id is noted before its session is stored, and struck out
    after it is gone.

    Args:
        registry: The application's.
        sessions: Where the sessions are.
        idle: Idle time of a session in seconds, unless it has another.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        registry: Registry,
        sessions: CapableStore,
        *,
        idle: int,
        clock: Callable[[], float],
    ) -> None:
        self.registry = registry
        self._sessions = sessions
        self._key_of = sessions.key_of
        self._idle = idle
        self._clock = clock

    async def before(self, session: HttpSession, *, is_handed_over: bool) -> None:
        """Have it know the id that a session is about to have.

        Args:
            session: The session.
            is_handed_over: It is new, or gets another id or another user.
        """
        place, principal = session.settle_login, session.principal
        if isinstance(place, Place):
            if place.principal == principal:
                # A login took it; what came after that may have changed the id again.
                await place.move_to(session.current_id)
                return
            session.settle_login = None
            await place(False)
        if principal is not None and is_handed_over:
            taken = Place(self.registry, principal, session.current_id, login_time(session))
            # Known before it is done: if the request is cancelled, it has to be given back.
            session.settle_login = taken
            await taken.take()

    async def after(self, session: HttpSession, outcome: Outcome, former: Stored | None) -> None:
        """Have it forget the ids and users that a session had before a commit."""
        if session.stored is not None and outcome in (Outcome.STORED, Outcome.FORKED):
            await self._note_again(session, session.stored.id)
        if former is None or outcome in (Outcome.FORKED, Outcome.DROPPED):
            return
        stored = session.stored if outcome in (Outcome.STORED, Outcome.MOVED) else None
        gone = {former.id} if stored is None else {former.id, stored.id}
        for name in {session.principal, *session.displaced} - {None}:
            kept = {stored.id} if stored is not None and name == session.principal else set()
            for session_id in gone - kept:
                await self.ended(name, session_id)

    async def _note_again(self, session: HttpSession, session_id: str) -> None:
        """Note a session that somebody struck out who did not find it under its new id yet."""
        registry, principal = self.registry, session.principal
        if principal is None or session_id in dict(await registry.list_sessions(principal)):
            return
        await registry.register(principal, session_id, login_time(session))
        # Looked at after that: whoever ends it later finds it.
        if not await self._sessions.exists(session_id):
            await registry.deregister(principal, session_id)

    async def forget_expired(self, principal: str) -> None:
        """Have it strike out the sessions that have ended without anybody noticing.

        Raises:
            SessionStoreError: The backend failed.
        """
        for session_id, logged_in_at in await self.registry.list_sessions(principal):
            # One that is younger is there, or is about to be stored.
            is_old = logged_in_at + self._idle <= self._clock()
            if is_old and not await self._sessions.exists(session_id):
                await self.registry.deregister(principal, session_id)

    async def ended(self, principal: str | None, session_id: str) -> None:
        """Have it strike out a session, if it has that; what was done is done if it fails."""
        if principal is None:
            return
        key = self._key_of(session_id)
        try:
            for each, _ in await self.registry.list_sessions(principal):
                if self._key_of(each) == key:
                    await self.registry.deregister(principal, each)
        except Exception:
            _logger.exception("the application's registry still lists a session that has ended")
