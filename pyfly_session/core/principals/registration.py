"""`Registration`: has the records of principals follow the commits of their sessions."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from pyfly_session.core.change import Change, Stored
from pyfly_session.core.merge import Outcome
from pyfly_session.core.metadata import PRINCIPAL
from pyfly_session.core.principals.index import PrincipalSessions, login_time
from pyfly_session.core.principals.own_registry import OwnRegistry, Place
from pyfly_session.core.principals.records import LIVE, PENDING
from pyfly_session.core.session import HttpSession
from pyfly_session.core.tasks import back_off
from pyfly_session.errors import SessionStoreError

# A session is confirmed a moment after it was stored; in all this takes a second.
_LOOKS = 9
_logger = logging.getLogger(__name__)
_STORED = (Outcome.STORED, Outcome.FORKED)


def former_ids(session: HttpSession) -> list[str]:
    """Return the ids that a session had in this request, the stored one first."""
    stored = None if session.stored is None else session.stored.id
    known = (stored, session.previous_id, *session.registrations.values())
    return list(dict.fromkeys(each for each in known if each))


async def _settle(session: HttpSession, *, stored: bool) -> None:
    settle = session.settle_login
    if settle is not None:
        if stored:
            # Kept otherwise: an error's handler may have the login stored at a second attempt.
            session.settle_login = None
            if isinstance(settle, Place) and session.stored is not None:
                # A session of its own may have an id of its own.
                await settle.move_to(session.stored.id)
        await settle(stored)


class Registration:
    """Takes part in each commit: a session is noted before it is stored, and confirmed after.

    Before, for no one may overlook it; looked at again after, for somebody who ended it meanwhile
    could not find it yet. Shared by all requests.

    Args:
        index: The records.

    Attributes:
        own: Has a registry of the application's own do the same, None if there is none.
    """

    def __init__(self, index: PrincipalSessions) -> None:
        self._index = index
        self.own: OwnRegistry | None = None

    def loaded(self, session: HttpSession) -> None:
        """Have a session in use noted again before its entry could be over."""
        self._index.note_use(session)

    async def before(self, session: HttpSession, change: Change) -> None:
        """Note the session for each of its names, and take back what is not going to be."""
        names = session.principal_names
        is_handed_over = bool(
            PRINCIPAL in change.metadata or session.stored is None or change.new_id
        )
        if self.own is not None:
            await self.own.before(session, is_handed_over=is_handed_over)
        if not (names or session.registrations):
            return
        await self._release(session, [name for name in session.registrations if name not in names])
        idle, logged_in_at = session.max_inactive_interval, login_time(session)
        if not (is_handed_over or session.registrations):
            # It has another idle time.
            await asyncio.gather(
                *(self._index.renew(name, session.current_id, logged_in_at, idle) for name in names)
            )
            return
        former = former_ids(session)
        session_id, registered = session.current_id, session.registrations
        session.registrations = dict.fromkeys(names, session_id)
        try:
            await asyncio.gather(
                *(
                    self._index.register(name, session_id, logged_in_at, replaces=former, idle=idle)
                    for name in names
                    if registered.get(name) != session_id
                )
            )
        except Exception:
            # Not of a cancellation: what it interrupted is to be taken back.
            session.registrations = registered
            raise

    async def after(
        self, session: HttpSession, change: Change, outcome: Outcome, former: Stored | None
    ) -> Outcome:
        """Take note of what the commit did."""
        index = self._index
        await self._tell_own(session, outcome, former)
        displaced = {*session.displaced}
        if change.ends:
            await self.released(session)
        noted, session.registrations = session.registrations, {}
        session.displaced = frozenset()
        if not (noted or displaced):
            return outcome
        if former is not None and outcome is not Outcome.FORKED:
            gone = displaced - noted.keys()
            await asyncio.gather(*(index.deregister(name, former.id) for name in gone))
        stored = session.stored
        if stored is None or outcome in (Outcome.GONE, Outcome.DROPPED, Outcome.ENDED):
            await asyncio.gather(*(index.deregister(name, each) for name, each in noted.items()))
            return outcome
        confirming = (self._confirm(session, stored.id, *each) for each in noted.items())
        if all(await asyncio.gather(*confirming)):
            return outcome
        session.ended()
        return Outcome.ENDED

    async def is_confirmed(self, principal: str, session_id: str) -> bool:
        """Return whether a session that was stored has been told to its client.

        Not of one whose login failed, or came to an end that nobody knows.
        """
        for attempt in range(_LOOKS):
            await back_off(attempt, 0.05)
            state = await self._index.state_of(principal, session_id)
            if state != PENDING:
                return state == LIVE
        return False

    async def _tell_own(
        self, session: HttpSession, outcome: Outcome, former: Stored | None
    ) -> None:
        try:
            await _settle(session, stored=outcome in _STORED)
            if self.own is not None:
                await self.own.after(session, outcome, former)
        except Exception:
            # What was stored is stored, whatever the application's registry makes of it.
            _logger.exception("the application's registry was not told of a stored session")

    async def _confirm(
        self, session: HttpSession, session_id: str, name: str, noted_id: str
    ) -> bool:
        """Return whether a stored session is one of this name still; only this tells, so twice."""
        options: Any = {
            "idle": session.max_inactive_interval, "is_alias": name != session.principal
        }  # fmt: skip
        try:
            return await self._index.confirm(name, noted_id, session_id, **options)
        except SessionStoreError:
            return await self._index.confirm(name, noted_id, session_id, **options)

    async def released(self, session: HttpSession) -> None:
        """Take back all notes of a session that is not going to be stored."""
        try:
            await _settle(session, stored=False)
        except Exception:
            _logger.exception("the application's registry still lists a login that failed")
        await self._release(session, list(session.registrations))

    async def _release(self, session: HttpSession, names: list[str]) -> None:
        taken = {name: session.registrations[name] for name in names}
        session.registrations = {n: i for n, i in session.registrations.items() if n not in taken}
        await asyncio.gather(*(self._index.release(name, each) for name, each in taken.items()))
