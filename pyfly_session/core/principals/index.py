"""`PrincipalSessions`: find, list and end sessions by principal, and keep that list true.

The record of a principal always names every session of theirs, and perhaps some that have
ended: an id is noted before the session is stored under it, and struck out after it is gone.
Whoever reads a record looks at the sessions themselves. A session in use is noted again
before its entry could be over, so no message of the backend about expired keys is needed,
and a record that was lost comes back by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
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
    SessionRegistration,
    keep_newest,
    left_to_end,
    of_nobody,
)
from pyfly_session.core.session import HttpSession
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.errors import SessionStoreError, TooManySessionsError
from pyfly_session.ports import FORWARD_SECONDS

_REMEMBERED = 65_536
_NO_LIMIT = (-1, True)
_AT_ONCE = 64
MOST_SESSIONS = 500  # Beyond that the oldest login ends, whatever the limit.


class PrincipalSessions:
    """The sessions of each principal. Shared by all requests, in any number of event loops.

    A bean of the container, ``principal_sessions``. What is in the records is written by the
    commits of the sessions, as `Registration` has it.

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
        # The limit to hold a login to when it is stored, and whether the oldest makes room for it
        # then; by whose it is and the key that it is noted under.
        self._limits: OrderedDict[tuple[str, str], tuple[int, bool]] = OrderedDict()
        # When the entry of a session in use has to be renewed by this process.
        self._due: OrderedDict[str, float] = OrderedDict()

    async def find_by_principal(self, principal: str) -> list[PrincipalSession]:
        """Return the live sessions of a principal, oldest login first. No access to any of them.

        Raises:
            SessionStoreError: The backend failed.
        """
        found: Mapping[str, PrincipalSession] = {}
        marked = False

        async def without_dead(entries: Entries) -> Entries:
            nonlocal found, marked
            marked = any(entry.state == ENDING for entry in entries.values())
            live = {name: entry for name, entry in entries.items() if entry.state != ENDING}
            found = await self._resolve(principal, live)
            # If one got a new id meanwhile, the record has changed, and all is looked at again.
            return {
                name: entry
                for name, entry in entries.items()
                if name in found or entry.state == ENDING or self._is_pending(entry)
            }

        await self._records.change(principal, without_dead)
        if marked:
            await self._finish(principal, "ended")
        sessions = {each.session_id: each for each in found.values()}
        return sorted(sessions.values(), key=lambda each: each.logged_in_at)

    async def end(self, session_id: str, *, reason: str = "ended") -> bool:
        """End one session, wherever it was moved; False if there is none.

        Raises:
            SessionStoreError: The backend failed.
        """
        data = await self._end(session_id, reason)
        if data is None:
            return False
        for name in principal_names(data.get):
            await self.deregister(name, session_id)
        return True

    async def end_all(
        self,
        principal: str,
        *,
        keep: HttpSession | str | None = None,
        reason: str = "ended",
        told: Callable[[], object] | None = None,
    ) -> int:
        """End every session of a principal, logins that are under way included.

        Args:
            principal: Whose sessions.
            keep: One that goes on, the current one for example.
            reason: What `pyfly_session.security.why_ended` tells.
            told: Called for each that was ended, to show how far it is.

        Returns:
            How many there were.

        Raises:
            SessionStoreError: The backend failed; some sessions may be left.
        """
        if isinstance(keep, HttpSession):
            kept = {self._key(keep.current_id)}
            if keep.stored is not None:
                kept.add(self._key(keep.stored.id))
        else:
            kept = {self._key(keep)} if keep else set()
        live: Mapping[str, PrincipalSession] = {}

        async def all_ending(entries: Entries) -> Entries:
            nonlocal live
            chosen = {
                name: entry
                for name, entry in entries.items()
                if name not in kept and entry.replaces not in kept
            }
            live = await self._resolve(principal, chosen)
            return entries | {name: entry._replace(state=ENDING) for name, entry in chosen.items()}

        await self._records.change(principal, all_ending)
        await self._finish(principal, reason, told or bool)
        return len({each.session_id for each in live.values()})

    async def list_sessions(self, principal: str) -> list[tuple[str, float]]:
        """Return id and time of login of each live session, oldest login first."""
        found = await self.find_by_principal(principal)
        return [(each.session_id, each.logged_in_at) for each in found]

    async def count(self, principal: str) -> int:
        """Return how many live sessions there are."""
        return len(await self.find_by_principal(principal))

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

        There is no limit to that, but for a login that was held to one and gave its place back.

        Raises:
            TooManySessionsError: The place was taken meanwhile.
        """
        # A login that changed the id once more is held to the limit that it began with.
        known = ((principal, self._key(each)) for each in (session_id, *replaces))
        limit, evicts = next(filter(None, map(self._limits.get, known)), _NO_LIMIT)
        noted = await self.register_limited(
            principal,
            session_id,
            created_at,
            max_sessions=limit,
            evict_oldest=evicts,
            replaces=replaces,
            idle=idle,
        )
        if not noted.accepted:
            raise TooManySessionsError(principal)

    async def register_limited(  # noqa: C901 - one atomic decision
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

        Nothing changes for the others: those that have to go are ended by `confirm`, when the
        session is stored.

        Args:
            principal: Whose it is.
            session_id: The id that it is about to have.
            created_at: Unix time of the login.
            max_sessions: The most sessions of this principal; negative for no limit.
            evict_oldest: Those with the oldest logins make room; otherwise the new one is refused.
            replaces: The ids that it had in this request; they take no room of their own.
            idle: Its idle time in seconds.
        """
        mine = self._key(session_id)
        replaced = [self._key(each) for each in replaces]

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
            if max_sessions >= 0 and not evict_oldest:
                others = {
                    name: entry
                    for name, entry in entries.items()
                    # Another request is giving, or gave up giving, this very session a new id.
                    if entry.state != ENDING and entry.replaces not in replaced
                }
                if len(others) >= max_sessions:
                    over = await self._over(principal, others)
                    entries = {n: entry for n, entry in entries.items() if n not in over}
                    if len(others) - len(over) >= max_sessions:
                        return None
            if not former and replaced:
                former = of_nobody(replaced[0])
            entries[mine] = self._entry(created_at, idle, state=state, former=former)
            return entries

        if not await self._records.change(principal, with_room):
            return SessionRegistration(False)
        if max_sessions >= 0:
            keep_newest(self._limits, (principal, mine), (max_sessions, evict_oldest), _REMEMBERED)
        return SessionRegistration(True)

    async def confirm(  # noqa: C901 - one atomic decision
        self, principal: str, noted_id: str, session_id: str, *, idle: int | None, is_alias: bool
    ) -> bool:
        """Take note that the session is stored, and end those that were to make room for it.

        Returns:
            False if somebody ended it meanwhile; it is gone then.
        """
        noted, mine = self._key(noted_id), self._key(session_id)
        limit, evicts = self._limits.pop((principal, noted), _NO_LIMIT)
        limit = limit if evicts else -1
        marked: Entries = {}

        async def confirmed(entries: Entries) -> Entries | None:
            entry = entries.pop(noted, None)
            known = entries.get(mine) if mine != noted else None
            if known is not None and known.state == LIVE:
                # It has joined a login of the same user, which needs no second place.
                return entries
            if entry is None or entry.state == ENDING:
                return None
            now = self._clock()
            others = {
                name: each
                for name, each in entries.items()
                if name != mine
                and each.state != ENDING
                # Another request is giving this very session a new id, and will join this one.
                and not (entry.replaces and each.replaces == entry.replaces)
            }
            victims: list[str] = []
            if 0 <= limit <= len(others):
                live = await self._resolve(principal, others)
                gone = {name for name in others if name not in live}
                entries = {
                    name: each
                    for name, each in entries.items()
                    if name not in gone or self._is_pending(each)
                }
                # What is not stored yet may still fail, and takes nobody's place.
                staying = sorted(live, key=lambda name: others[name].logged_in_at)
                victims = staying[: max(0, len(staying) + 1 - limit)]
            elif len(others) >= MOST_SESSIONS:
                victims = sorted(others, key=lambda name: others[name].logged_in_at)
                del victims[len(others) + 1 - MOST_SESSIONS :]
            if is_alias:  # Many users may share it; the oldest are not found by it any more.
                over = {name for name in victims if others[name].state == LIVE}
                entries, victims = {n: e for n, e in entries.items() if n not in over}, []
            for name in victims:
                entries[name] = entries[name]._replace(state=ENDING, noted_at=now)
            marked.clear()
            marked.update(left_to_end(entries, victims, now))
            return entries | {mine: self._entry(entry.logged_in_at, idle)}

        if await self._records.change(principal, confirmed):
            self._remember(session_id, idle or self._idle)
            if limit >= 0:
                await self._end_marked(principal, marked, "evicted")
            elif marked:
                self._later(self._end_marked(principal, marked, "evicted"))
            return True
        # Whoever struck it out may have looked for it before it was there. Its id is told nobody.
        with contextlib.suppress(SessionStoreError):
            await self._end(session_id, "evicted")
            await self.deregister(principal, noted_id, session_id)
        return False

    async def state_of(self, principal: str, session_id: str) -> str | None:
        """Return what the record tells of a session, None if it tells of none such."""
        entry = (await self._records.read(principal)).get(self._key(session_id))
        return None if entry is None else entry.state

    async def _over(self, principal: str, entries: Entries) -> set[str]:
        """Return those entries whose sessions have ended."""
        live = await self._resolve(principal, entries)
        return {n for n, each in entries.items() if n not in live and not self._is_pending(each)}

    async def release(self, principal: str, session_id: str) -> None:
        """Take back `register`: the session is not going to be stored under this id."""

        async def released(entries: Entries) -> Entries:
            entry = entries.get(self._key(session_id))
            # If it is marked, who marked it has yet to end what it would fall back to.
            if entry is not None and entry.state != ENDING:
                del entries[self._key(session_id)]
                if entry.state == PENDING and entry.fallback:
                    entries[entry.fallback] = entry._replace(state=LIVE, former="")
            return entries

        await self._records.change(principal, released)

    async def deregister(self, principal: str, *session_ids: str) -> None:
        """Strike out sessions that have ended."""
        names = {self._key(each) for each in session_ids}

        async def without(entries: Entries) -> Entries:
            return {name: entry for name, entry in entries.items() if name not in names}

        await self._records.change(principal, without)

    def note_use(self, session: HttpSession) -> None:
        """Have a session in use noted again, if it is time for that."""
        session_id = session.current_id
        due = self._due.get(session_id)
        if due is not None and self._clock() < due:
            return
        idle = session.max_inactive_interval or self._idle
        self._remember(session_id, idle)
        for name in session.principal_names:
            self._later(self.renew(name, session_id, login_time(session), idle))

    async def renew(
        self, principal: str, session_id: str, logged_in_at: float, idle: int | None
    ) -> None:
        """Note a stored session again, so that its entry is not over before its idle time."""
        mine, idle = self._key(session_id), idle or self._idle

        async def renewed(entries: Entries) -> Entries | None:
            known = entries.get(mine)
            if known is not None and known.state == ENDING:
                return None
            for name, entry in list(entries.items()):
                if entry.fallback != mine:
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
        for candidate in filter(None, (entry.fallback, name)):
            session_id = self._sessions.recall(candidate)
            data = await self._sessions.get(session_id)
            if data is None or self._has_outlived(data):
                continue
            if principal in principal_names(data.get):
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
            for session_id in filter(None, (name, entry.fallback)):
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
        keep_newest(self._due, session_id, self._clock() + idle / 2, _REMEMBERED)

    def _key(self, session_id: str) -> str:
        return str(self._sessions.key_of(session_id))


def login_time(session: HttpSession) -> float:
    """Return the Unix time of a session's login, in seconds."""
    logged_in_at: float = session.metadata(AUTHENTICATED_AT) or session.metadata(CREATED_AT)
    return logged_in_at or session.loaded_at


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
