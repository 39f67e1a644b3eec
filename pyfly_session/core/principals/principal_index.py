"""`PrincipalIndex`: keeps the records of who has which sessions true.

The record of a principal always names every session of theirs, and perhaps some that have
ended: an id is noted before the session is stored under it, and struck out after it is gone.
Whoever reads a record looks at the sessions themselves. A session in use is noted again
before its entry could be over, so no message of the backend about expired keys is needed,
and a record that was lost comes back by itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pyfly_session.core.metadata import (
    AUTHENTICATED_AT,
    CREATED_AT,
    LAST_ACCESSED,
    PRINCIPAL,
    RESERVED_NAMES,
    principal_names,
)
from pyfly_session.core.principals.records import (
    ENDING,
    LIVE,
    PENDING,
    Entries,
    Entry,
    PrincipalRecords,
    PrincipalSession,
    left_to_end,
)
from pyfly_session.core.session import HttpSession
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.ports import FORWARD_SECONDS

_REMEMBERED = 65_536
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class SessionRegistration:
    """What `PrincipalIndex.register_limited` did.

    Attributes:
        accepted: The session was registered.
        evicted: The ids of the sessions that were ended to make room, oldest login first.
    """

    accepted: bool
    evicted: tuple[str, ...] = ()


class PrincipalIndex:
    """Notes the sessions of each principal. Shared by all requests, in any number of event loops.

    Args:
        sessions: Where the sessions are.
        records: Where the records are, if not there.
        idle: Idle time of a session in seconds, unless another is given.
        max_lifetime: Seconds after its creation when a session ends at the latest, or None.
        clock: Unix time in seconds.
        end: Ends the session of an id, for a reason, wherever it was moved, and returns what
            it was, or None if there was none.
        later: Has work done without the request waiting for it.
    """

    def __init__(
        self,
        sessions: CapableStore,
        *,
        records: CapableStore | None = None,
        idle: int,
        max_lifetime: int | None = None,
        clock: Callable[[], float],
        end: Callable[[str, str], Awaitable[Mapping[str, Any] | None]],
        later: Callable[..., object],
    ) -> None:
        self._sessions = sessions
        self._records = PrincipalRecords(records or sessions, clock)
        self._idle = idle
        self._max_lifetime = max_lifetime
        self._clock = clock
        self._end = end
        self._later = later
        # When the entry of a session in use has to be renewed by this process.
        self._due: OrderedDict[str, float] = OrderedDict()

    async def register(
        self,
        principal: str,
        session_id: str,
        created_at: float,
        *,
        replaces: Collection[str] = (),
        idle: int | None = None,
    ) -> None:
        """Note a session that is about to be stored; `confirm` it when it is.

        Args:
            principal: Whose it is.
            session_id: The id that it is about to have.
            created_at: Unix time of the login.
            replaces: The ids that it had in this request; the stored one first.
            idle: Its idle time in seconds.
        """
        await self.register_limited(
            principal,
            session_id,
            created_at,
            max_sessions=-1,
            evict_oldest=False,
            replaces=replaces,
            idle=idle,
        )

    async def register_limited(
        self,
        principal: str,
        session_id: str,
        created_at: float,
        *,
        max_sessions: int,
        evict_oldest: bool,
        replaces: Collection[str] = (),
        idle: int | None = None,
    ) -> SessionRegistration:
        """Note a session if the principal's others leave room, in one atomic step.

        Args:
            principal: Whose it is.
            session_id: The id that it is about to have.
            created_at: Unix time of the login.
            max_sessions: The most sessions of this principal; negative for no limit.
            evict_oldest: End the sessions with the oldest logins until there is room.
            replaces: The ids that it had in this request; they take no room of their own.
            idle: Its idle time in seconds.
        """
        mine = self._key(session_id)
        replaced = [self._key(each) for each in replaces]
        victims: list[str] = []
        marked: Entries = {}

        async def with_room(entries: Entries) -> Entries | None:
            # Only what was theirs before can be what the session falls back to.
            former, state = "", PENDING
            for name in dict.fromkeys((mine, *replaced)):
                entry = entries.get(name)
                if entry is not None and entry.state == ENDING:
                    # It stays marked, and a new id does not save it from that.
                    state = ENDING
                elif entry is not None:
                    del entries[name]
                    former = former or (entry.former if entry.state == PENDING else name)
            others = {
                n: entry
                for n, entry in entries.items()
                # Another request is giving, or gave up giving, this very session a new id.
                if entry.state != ENDING and entry.former not in replaced
            }
            excess = len(others) + 1 - max_sessions if max_sessions >= 0 else 0
            if excess > 0:
                live = await self._resolve(principal, others)
                over = {n for n in others if n not in live and not self._is_pending(others[n])}
                entries = {n: entry for n, entry in entries.items() if n not in over}
                others = {n: entry for n, entry in others.items() if n not in over}
                excess = len(others) + 1 - max_sessions
            if excess > 0 and not evict_oldest:
                return None
            victims[:] = sorted(others, key=lambda n: others[n].logged_in_at)[: max(excess, 0)]
            now = self._clock()
            for name in victims:
                entries[name] = entries[name]._replace(state=ENDING, noted_at=now)
            marked.clear()
            marked.update(left_to_end(entries, victims, now))
            entries[mine] = self._entry(created_at, idle, state=state, former=former)
            return entries

        accepted = await self._records.change(principal, with_room)
        if accepted:
            await self._end_marked(principal, marked, "evicted")
        return SessionRegistration(accepted, tuple(victims) if accepted else ())

    async def confirm(
        self, principal: str, noted_id: str, session_id: str, *, idle: int | None = None
    ) -> bool:
        """Take note that the session is stored; False, and end it, if it was ended meanwhile."""
        noted, mine = self._key(noted_id), self._key(session_id)

        async def confirmed(entries: Entries) -> Entries | None:
            entry = entries.pop(noted, None)
            if entry is None or entry.state == ENDING:
                return None
            return entries | {mine: self._entry(entry.logged_in_at, idle)}

        if await self._records.change(principal, confirmed):
            self._remember(session_id, idle or self._idle)
            return True
        # Whoever struck it out may have looked for it before it was there.
        await self._end(session_id, "evicted")
        await self.deregister(principal, noted_id, session_id)
        return False

    async def release(self, principal: str, session_id: str) -> None:
        """Take back `register`: the session is not going to be stored under this id."""

        async def released(entries: Entries) -> Entries:
            entry = entries.get(self._key(session_id))
            # If it is marked, who marked it has yet to end what it would fall back to.
            if entry is not None and entry.state != ENDING:
                del entries[self._key(session_id)]
                if entry.state == PENDING and entry.former:
                    entries[entry.former] = entry._replace(state=LIVE, former="")
            return entries

        await self._records.change(principal, released)

    async def deregister(self, principal: str, *session_ids: str) -> None:
        """Strike out sessions that have ended."""
        names = {self._key(each) for each in session_ids}

        async def without(entries: Entries) -> Entries:
            return {name: entry for name, entry in entries.items() if name not in names}

        await self._records.change(principal, without)

    def note_use(self, session: HttpSession, idle: int) -> None:
        """Have a session in use noted again, if it is time for that."""
        due = self._due.get(session._id)
        if due is not None and self._clock() < due:
            return
        self._remember(session._id, idle)
        logged_in_at = session._metadata.get(AUTHENTICATED_AT) or session._metadata[CREATED_AT]
        for name in principal_names(session._metadata):
            self._later(self.renew(name, session._id, logged_in_at, idle))

    async def renew(self, principal: str, session_id: str, logged_in_at: float, idle: int) -> None:
        """Note a stored session again, so that its entry is not over before its idle time."""
        mine = self._key(session_id)

        async def renewed(entries: Entries) -> Entries | None:
            known = entries.get(mine)
            if known is not None and known.state == ENDING:
                return None
            for name, entry in list(entries.items()):
                if entry.former != mine:
                    continue
                if self._is_pending(entry):
                    until = max(entry.until, self._entry(logged_in_at, idle).until)
                    return entries | {name: entry._replace(until=until)}
                if entry.state == ENDING:
                    return None
                # The change of id was never finished.
                del entries[name]
            if known is not None and known.until - self._clock() > 1.5 * idle:
                return entries
            return entries | {mine: self._entry(logged_in_at, idle)}

        try:
            if not await self._records.change(principal, renewed):
                await self._finish(principal, "ended")
        except BaseException:
            self._due.pop(session_id, None)
            raise

    async def _resolve(self, principal: str, entries: Entries) -> dict[str, PrincipalSession]:
        """Look at the sessions themselves; return those that live and are the principal's."""
        found: dict[str, PrincipalSession] = {}
        names = list(entries)
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            sessions = await asyncio.gather(
                *(self._session(principal, name, entries[name]) for name in some)
            )
            found.update((n, each) for n, each in zip(some, sessions, strict=True) if each)
        return found

    async def _session(self, principal: str, name: str, entry: Entry) -> PrincipalSession | None:
        # The former id first: looked at last, both could be missed while one becomes the other.
        for candidate in filter(None, (entry.former, name)):
            session_id = self._sessions.recall(candidate)
            data = await self._sessions.get(session_id)
            if data is None or self._has_outlived(data):
                continue
            if principal in principal_names(data):
                return PrincipalSession(
                    session_id=session_id,
                    principal=data[PRINCIPAL],
                    created_at=_seconds(data.get(CREATED_AT)),
                    logged_in_at=entry.logged_in_at,
                    last_accessed=_seconds(data.get(LAST_ACCESSED)),
                    attributes={n: v for n, v in data.items() if n not in RESERVED_NAMES},
                )
        return None

    def _has_outlived(self, data: Mapping[str, Any]) -> bool:
        # The store may keep it for longer: a request slides before it knows.
        if self._max_lifetime is None:
            return False
        return self._clock() >= _seconds(data.get(CREATED_AT)) + self._max_lifetime

    async def _finish(self, principal: str, reason: str, told: Callable[[], object] = bool) -> None:
        """End the sessions that are marked for it; whoever marked them may have been stopped."""
        entries = await self._records.read(principal)
        marked = {name: entry for name, entry in entries.items() if entry.state == ENDING}
        await self._end_marked(principal, marked, reason, told)

    async def _end_marked(
        self, principal: str, marked: Entries, reason: str, told: Callable[[], object] = bool
    ) -> None:
        async def without(entries: Entries) -> Entries:
            return {name: each for name, each in entries.items() if marked.get(name) != each}

        for name, entry in marked.items():
            for session_id in filter(None, (name, entry.former)):
                if await self._end(self._sessions.recall(session_id), reason) is not None:
                    told()
        if marked:
            await self._records.change(principal, without)

    def _is_pending(self, entry: Entry) -> bool:
        # After that no request writes it any more.
        return entry.state == PENDING and self._clock() < entry.noted_at + FORWARD_SECONDS

    def _entry(
        self, logged_in_at: float, idle: int | None, *, state: str = LIVE, former: str = ""
    ) -> Entry:
        now = self._clock()
        # Noted again after half of the idle time at the latest, so this is later than its end.
        until = now + 2 * max(idle or self._idle, FORWARD_SECONDS)
        return Entry(logged_in_at, now, until, state, former)

    def _remember(self, session_id: str, idle: int) -> None:
        self._due[session_id] = self._clock() + idle / 2
        self._due.move_to_end(session_id)
        if len(self._due) > _REMEMBERED:
            self._due.popitem(last=False)

    def _key(self, session_id: str) -> str:
        return str(self._sessions.key_of(session_id))


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
