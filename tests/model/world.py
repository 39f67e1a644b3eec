"""Sessions as they should be: a plain model, without codec, store or event loop.

It says what `SessionRepository` has to do in the words of docs/explanation/consistency.md,
and as simply as possible: one dictionary of sessions, one of notes about changes of id.
"""

import copy
import json
import math
from dataclasses import dataclass, field
from typing import Any

from pyfly_session.core.repository import Outcome
from pyfly_session.ports import FORWARD_SECONDS

# As long as a request may take without asking whether its session still lives.
_FAST_SECONDS = 0.05


@dataclass
class Entry:
    """One stored session.

    Attributes:
        attributes: What is stored.
        created: When it was created.
        idle: Its own idle time, or None.
        ttl: Seconds that its last use gave it.
        deadline: When they are over.
    """

    attributes: dict[str, Any]
    created: float
    idle: int | None = None
    ttl: int = 0
    deadline: float = 0.0


@dataclass
class Visit:
    """What one request did to its session.

    Attributes:
        id: The id that the request knows.
        since: When it loaded or made the session.
        created: When the session was created.
        stored_id: The id under which the store has it, as far as the request knows.
        seen: The attributes as the request saw them stored last.
        live: The attributes as they are for the request.
        assigned: Names that were set or removed.
        cleared: Nothing of what is stored stays, whoever has stored it.
        overtaken: Another request gave the session its id; this one knows it no more.
    """

    id: str
    since: float
    created: float
    stored_id: str | None = None
    seen: dict[str, Any] = field(default_factory=dict)
    live: dict[str, Any] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)
    cleared: bool = False
    idle: int | None = None
    idle_changed: bool = False
    rotating: bool = False
    overtaken: bool = False
    invalidated: bool = False

    def assign(self, name: str, value: Any) -> None:
        self.live[name] = copy.deepcopy(value)
        self.assigned.add(name)

    def remove(self, name: str) -> None:
        if name in self.live:
            del self.live[name]
            self.assigned.add(name)

    def clear(self) -> None:
        for name in list(self.live):
            self.remove(name)
        self.cleared = True

    def set_idle(self, seconds: int | None) -> None:
        self.idle, self.idle_changed = seconds, True

    def rotate(self, new_id: str) -> None:
        if not self.overtaken:
            self.id, self.rotating = new_id, True

    def invalidate(self) -> None:
        self.invalidated = True
        self.live.clear()

    @property
    def changes(self) -> set[str]:
        """Names whose values are to be written: set, removed, or changed in place."""
        in_place = {name for name in self.live if _text(self.live[name]) != self._seen(name)}
        return self.assigned | in_place

    def _seen(self, name: str) -> str | None:
        return _text(self.seen[name]) if name in self.seen else None

    def write_onto(self, entry: Entry) -> None:
        """Put this request's changes onto what is stored, attribute by attribute."""
        if self.cleared:
            entry.attributes.clear()
            self.seen.clear()
        for name in self.changes:
            for kept in (entry.attributes, self.seen):
                if name in self.live:
                    kept[name] = copy.deepcopy(self.live[name])
                else:
                    kept.pop(name, None)
        if self.idle_changed:
            entry.idle = self.idle
        self.idle = entry.idle
        self.assigned.clear()
        self.idle_changed = self.cleared = False


@dataclass
class World:
    """Everything that is stored, at the time ``now``.

    Attributes:
        ttl: Idle time for all.
        max_lifetime: Seconds after its creation when a session ends, or None.
        keeps_notes: Changes of id leave notes.
        expires: Entries and notes end by the time of the model.
    """

    now: float
    ttl: int
    max_lifetime: int | None
    keeps_notes: bool = True
    expires: bool = True
    entries: dict[str, Entry] = field(default_factory=dict)
    notes: dict[str, tuple[str, float]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def find(self, session_id: str) -> Entry | None:
        """Return what is stored under exactly this id, alive."""
        entry = self.entries.get(session_id)
        if entry is None or (self.expires and entry.deadline <= self.now):
            return None
        return entry

    def alive(self) -> dict[str, tuple[dict[str, Any], int | None]]:
        """Return attributes and idle time of every session that there is, by its id."""
        return {
            session_id: (entry.attributes, entry.idle)
            for session_id, entry in self.entries.items()
            if self.find(session_id) is not None
        }

    def follow(self, session_id: str) -> str | None:
        """Return the id under which the session of this id is now, or None."""
        while self.find(session_id) is None:
            new_id = self._note(session_id)
            if new_id is None:
                return None
            session_id = new_id
        return session_id

    def _note(self, session_id: str) -> str | None:
        new_id, end = self.notes.get(session_id, (None, math.inf))
        return new_id if end > self.now or not self.expires else None

    def use(self, entry: Entry, ttl: int) -> None:
        entry.ttl, entry.deadline = ttl, self.now + ttl

    def slide(self, entry: Entry, ttl: int) -> None:
        """Let it live so long, as a load does, which never cuts a life short."""
        if self.now + ttl > entry.deadline:
            self.use(entry, ttl)

    def time_left(self, idle: int | None, created: float) -> int:
        left = idle or self.ttl
        if self.max_lifetime is not None:
            left = max(1, min(left, math.ceil(created + self.max_lifetime - self.now)))
        return left

    def load(self, session_id: str) -> Visit | None:
        """Return a visit of the session, which counts as a use."""
        entry = self.find(session_id)
        if entry is None:
            return None
        if self.max_lifetime is not None and self.now >= entry.created + self.max_lifetime:
            del self.entries[session_id]
            return None
        left = self.ttl if entry.idle is None else self.time_left(entry.idle, entry.created)
        if left < self.ttl:
            self.use(entry, left)
        else:
            self.slide(entry, left)
        return Visit(
            id=session_id, since=self.now, created=entry.created, stored_id=session_id,
            seen=copy.deepcopy(entry.attributes), live=copy.deepcopy(entry.attributes),
            idle=entry.idle,
        )  # fmt: skip

    def commit(self, visit: Visit, *, create: bool = True) -> Outcome:
        """Do to the store what the request did to its session."""
        if visit.invalidated:
            return self._end(visit)
        changed = bool(visit.changes) or visit.idle_changed
        if visit.stored_id is None:
            if not (create or changed):
                return Outcome.UNSAVED
            self.entries[visit.id] = Entry({}, visit.created)
            visit.stored_id, visit.rotating = visit.id, False
            return self._store(visit, visit.id)
        if visit.rotating or changed or visit.cleared:
            target = self.follow(visit.stored_id)
            return Outcome.GONE if target is None else self._store(visit, target)
        if visit.stored_id != visit.id:
            return Outcome.MOVED
        return Outcome.UNTOUCHED if self._seems_alive(visit) else Outcome.GONE

    def _store(self, visit: Visit, target: str) -> Outcome:
        entry = self.entries[target]
        visit.write_onto(entry)
        self.use(entry, self.time_left(entry.idle, visit.created))
        visit.overtaken = visit.overtaken or target != visit.stored_id
        if visit.rotating and not visit.overtaken:
            self.entries[visit.id] = self.entries.pop(target)
            self.ended.add(target)
            if self.keeps_notes:
                self.notes[target] = (visit.id, self.now + FORWARD_SECONDS)
            target = visit.id
        visit.rotating, visit.stored_id = False, target
        return Outcome.STORED if target == visit.id else Outcome.MOVED

    def _end(self, visit: Visit) -> Outcome:
        target = visit.stored_id
        while target is not None:
            self.ended.add(target)
            self.entries.pop(target, None)
            target = self._note(target)
        visit.stored_id = None
        return Outcome.ENDED

    def _seems_alive(self, visit: Visit) -> bool:
        if visit.id in self.ended:
            return False
        if self.max_lifetime is not None and self.now >= visit.created + self.max_lifetime:
            return False
        return self.now - visit.since <= _FAST_SECONDS or self.find(visit.id) is not None


def _text(value: Any) -> str:
    return json.dumps(value)
