"""One record for each principal, in the session store itself: the sessions that may be theirs.

A record is kept like a session, under an id that no client can send, and changed by
compare-and-swap alone. So it needs nothing of a store that sessions do not need, is atomic
wherever they are, and lives in one slot of a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import msgspec

from pyfly_session import ids
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.core.tasks import back_off
from pyfly_session.errors import SessionConflictError, SessionDecodingError

_NOBODY = ":"
# All in one member: a codec takes each member of an object on its own.
_ENTRIES = "sessions"
LIVE, PENDING, ENDING = "live", "pending", "ending"
_ATTEMPTS = 256
_EAGER_ATTEMPTS = 4
_REMEMBERED = 16
# Longer than it takes to end a session that was marked for it.
_ENDING_SECONDS = 60


class Entry(NamedTuple):
    """What a record tells of one session.

    Attributes:
        logged_in_at: Unix time of the login, in seconds.
        noted_at: Unix time when the entry was written.
        until: Unix time when the session has ended for certain, unless the entry is renewed.
        state: ``live``; ``pending`` while it is being stored; ``ending`` while it is being ended.
        former: The id that it still has while it is given a new one, or empty; with a colon in
            front if nobody was logged in under that.
    """

    logged_in_at: float
    noted_at: float
    until: float
    state: str = LIVE
    former: str = ""

    @property
    def fallback(self) -> str:
        """The id under which the session is this principal's until it has its new one, or empty."""
        return "" if self.former.startswith(_NOBODY) else self.former

    @property
    def replaces(self) -> str:
        """The id that it is about to leave, whoever was logged in under it, or empty."""
        return self.former.removeprefix(_NOBODY)


@dataclass(frozen=True, slots=True)
class PrincipalSession:
    """A stored session of a principal, as it was when it was found.

    Attributes:
        session_id: Its id, which opens the session; as the store knows it.
        principal: Whose it is.
        created_at: Unix time of its creation, in seconds.
        logged_in_at: Unix time of the login, in seconds.
        last_accessed: Unix time of the last write to it, in seconds.
        attributes: What is stored in it.
    """

    session_id: str = field(repr=False)
    principal: str
    created_at: float
    logged_in_at: float
    last_accessed: float
    attributes: Mapping[str, Any] = field(repr=False)

    @property
    def masked_id(self) -> str:
        """A short hash of the id, to show and to log."""
        return ids.mask(self.session_id)


@dataclass(frozen=True, slots=True)
class SessionRegistration:
    """What `PrincipalSessions.register_limited` did.

    Attributes:
        accepted: The session was registered.
        evicted: The ids of the sessions that were ended to make room, oldest login first.
    """

    accepted: bool
    evicted: tuple[str, ...] = ()


Entries = dict[str, Entry]


def of_nobody(key: str) -> str:
    """Return what `Entry.former` tells of an id under which nobody was logged in."""
    return _NOBODY + key


def left_to_end(entries: Entries, victims: Collection[str], now: float) -> Entries:
    """Return the victims, and what others marked to be ended and did not come to end."""
    return {
        name: entry
        for name, entry in entries.items()
        if entry.state == ENDING and (name in victims or entry.noted_at + _ENDING_SECONDS < now)
    }


def keep_newest(known: OrderedDict[Any, Any], key: object, value: object, most: int) -> None:
    """Note a value as the newest, and forget the oldest if there are too many."""
    known[key] = value
    known.move_to_end(key)
    if len(known) > most:
        known.popitem(last=False)


Decision = Callable[[Entries], Awaitable[Entries | None]]


class PrincipalRecords:
    """Reads and changes the records. Shared by all requests, in any number of event loops.

    Args:
        store: Where the records are.
        clock: Unix time in seconds.
    """

    def __init__(self, store: CapableStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        # What this process has stored lately, to be swapped again.
        self._latest: OrderedDict[str, tuple[bytes | None, Entries]] = OrderedDict()
        # One for each record and event loop, as long as somebody holds or wants it.
        self._locks: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()

    async def read(self, principal: str) -> Entries:
        """Return the entries that are not over; some of their sessions may have ended already."""
        return self._alive(self._entries(await self._store.get(_key(principal)) or {}))

    async def change(self, principal: str, decide: Decision) -> bool:
        """Replace the entries by what ``decide`` makes of them, atomically.

        Args:
            principal: Whose entries.
            decide: Gets the entries, which it may change, and returns the new ones, or None to
                leave all as it is. Called again if another process was faster.

        Returns:
            False if ``decide`` returned None.

        Raises:
            SessionConflictError: Others were faster every time.
            SessionStoreError: The backend failed.
        """
        # One request of this process after the other, or most of them would meet.
        lock = self._locks.setdefault((id(asyncio.get_running_loop()), principal), asyncio.Lock())
        async with lock:
            return await self._change(_key(principal), decide)

    async def _change(self, key: str, decide: Decision) -> bool:
        store = self._store
        # A login changes its record twice; what it has stored needs not be fetched.
        known, is_fresh = self._latest.pop(key, None), False
        for attempt in range(_ATTEMPTS):
            if attempt >= _EAGER_ATTEMPTS:
                await back_off(attempt, 0.0005)
            if known is None:
                data = await store.get(key)
                known = None if data is None else self._encoded(data), self._entries(data or {})
                is_fresh = True
            current, before = known[0], self._alive(known[1])
            after = await decide(dict(before))
            if after is None or after == before:
                if is_fresh:
                    return after is not None
                known = None
                continue
            value = self._encoded({_ENTRIES: after})
            ttl = self._seconds_to_live(after)
            if current is not None:
                found = await store.compare_and_swap(key, current, value, ttl)
            elif await store.create_if_absent(key, value, ttl):
                found = value
            else:
                # Somebody else made it; what it holds comes with the next attempt.
                found = b""
            if found == value:
                keep_newest(self._latest, key, (value, after), _REMEMBERED)
                return True
            # It never moves: nobody renames a record.
            current = found if isinstance(found, bytes) else None
            known, is_fresh = (current, self._entries(self._data(current))), True
        raise SessionConflictError("of a principal's record", _ATTEMPTS)

    def _data(self, payload: bytes | None) -> dict[str, Any]:
        try:
            return {} if payload is None else self._store.codec.loads(payload)
        except SessionDecodingError:
            return {}

    def _encoded(self, data: Mapping[str, Any]) -> bytes:
        # In one call: a record may have hundreds of entries, and the event loop stands still.
        return self._store.codec.join(data)

    def _entries(self, data: dict[str, Any]) -> Entries:
        """Return the entries of a record; what is none is left out."""
        stored = data.get(_ENTRIES)
        entries: Entries = {}
        try:
            entries = msgspec.convert(stored, Entries)
        except msgspec.ValidationError:
            for name, value in stored.items() if isinstance(stored, dict) else ():
                with contextlib.suppress(msgspec.ValidationError):
                    entries[name] = msgspec.convert(value, Entry)
        return entries

    def _alive(self, entries: Entries) -> Entries:
        """Return the entries that are not over."""
        now = self._clock()
        return {name: entry for name, entry in entries.items() if entry.until > now}

    def _seconds_to_live(self, entries: Entries) -> int:
        latest = max((entry.until for entry in entries.values()), default=0.0)
        return min(max(1, math.ceil(latest - self._clock())), 2**31 - 1)


def _key(principal: str) -> str:
    digest = hashlib.sha256(principal.encode("utf-8", "surrogatepass")).hexdigest()
    # 160 bits: nobody finds two names with one record, and the id stays short.
    return ids.record_id("principal", digest[:40])
