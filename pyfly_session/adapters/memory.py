"""`InMemorySessionStore`: sessions in this process, for development, tests and one worker."""

from __future__ import annotations

import functools
import itertools
import logging
import math
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from pyfly_session import ids
from pyfly_session.core.codec import DEFAULT_CODEC, SessionCodec
from pyfly_session.errors import SessionDecodingError
from pyfly_session.ports import FORWARD_SECONDS, SCAN_HEAD, SCAN_STEP, Loss, Moved, Scanned

_logger = logging.getLogger(__name__)
# Bounds the pause of one operation; the rest goes with the next ones.
_SWEEP_AT_ONCE = 256

# An encoded session and, behind it, when it ends: a pair would take 90 bytes more, and be looked
# at by the garbage collector.
_Shelf = OrderedDict[str, bytes]
_END = struct.Struct("d")
_pack, _unpack_from, _END_SIZE = _END.pack, _END.unpack_from, _END.size


class InMemorySessionStore:
    """Keeps encoded sessions, with the semantics of the Redis store.

    Shared by any number of tasks, threads and event loops. Nobody but the store holds what
    is stored: sessions go in and out as copies. Data is lost on restart.

    Sessions are kept on shelves of similar ttl, the least recently used first, so that
    expired ones and the least recently used one are found without a search.

    Args:
        max_sessions: The most sessions to keep; when it is reached, the least recently used
            one is dropped, with one warning. None for no bound.
        codec: Encodes the sessions; the shared one unless given.
        clock: Seconds on a scale of its own; only differences count.

    Attributes:
        clock: As given.
        dropped: How many sessions had to go because there was no room.
    """

    def __init__(
        self,
        *,
        max_sessions: int | None = None,
        codec: SessionCodec = DEFAULT_CODEC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.codec = codec
        self._max_sessions = max_sessions
        self.clock = clock
        self._lock = threading.Lock()
        self._shelves: dict[int, _Shelf] = {}
        # Nothing ends before this time.
        self._sweep_at = math.inf
        self._moved: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self.dropped = 0
        self._notice: Loss | None = None

    keeps_life = True

    async def get(self, session_id: str) -> dict[str, Any] | None:
        """Return a copy of the session's dictionary, or None if it is absent."""
        with self._lock:
            payload = self._find(session_id)
        if payload is None:
            return None
        try:
            return self.codec.loads(payload)
        except SessionDecodingError as error:
            _logger.warning("session %s is unreadable: %s", ids.mask(session_id), error)
            return None

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        """Store a copy of the dictionary, to live for ``ttl`` seconds.

        Raises:
            SessionEncodingError: A value cannot be stored; nothing was.
        """
        payload = self.codec.dumps(data)
        with self._lock:
            self._sweep(self.clock())
            self._put(session_id, payload, ttl)

    async def delete(self, session_id: str) -> None:
        """Remove the session, if it is there."""
        with self._lock:
            self._take(session_id)

    async def exists(self, session_id: str) -> bool:
        """Tell whether the session is stored and alive."""
        with self._lock:
            return self._find(session_id) is not None

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        """Return the encoded session and let it live at least ``ttl`` seconds from now."""
        with self._lock:
            now = self.clock()
            if now >= self._sweep_at:
                self._sweep(now)
            for key, shelf in self._shelves.items():
                entry = shelf.get(session_id)
                if entry is None:
                    continue
                end = _unpack_from(entry, len(entry) - _END_SIZE)[0]
                if end <= now:
                    return self._forward(session_id)
                payload = entry[:-_END_SIZE]
                if end > now + ttl:
                    return payload
                if abs(key) == _rounded(ttl):
                    # Later than before, for most; else the sweep comes a little late.
                    shelf[session_id] = payload + _pack(now + ttl)
                    shelf.move_to_end(session_id)
                else:
                    self._put(session_id, payload, ttl)
                return payload
            return self._forward(session_id) if self._moved else None

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        """Store a new session; False if the id is taken."""
        with self._lock:
            if self._find(session_id) is not None:
                return False
            self._put(session_id, value, ttl)
            return True

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Replace ``expected`` by ``value``; see `pyfly_session.ports.CompareAndSwap`."""
        with self._lock:
            now = self.clock()
            if now >= self._sweep_at:
                self._sweep(now)
            for key, shelf in self._shelves.items():
                entry = shelf.get(session_id)
                if entry is None:
                    continue
                if _unpack_from(entry, len(entry) - _END_SIZE)[0] <= now:
                    break
                if len(entry) != len(expected) + _END_SIZE or not entry.startswith(expected):
                    return entry[:-_END_SIZE]
                if not ttl:
                    shelf[session_id] = value + entry[-_END_SIZE:]
                elif abs(key) == _rounded(ttl):
                    # Later than before, for most; else the sweep comes a little late.
                    shelf[session_id] = value + _pack(now + ttl)
                    shelf.move_to_end(session_id)
                else:
                    self._put(session_id, value, ttl)
                return value
            return self._forward(session_id)

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Move the session to ``new_id``; see `pyfly_session.ports.Rename`."""
        with self._lock:
            current = self._find(session_id)
            if current is None:
                return self._forward(session_id)
            if current not in (expected, value):
                return current
            self._take(session_id)
            self._put(new_id, value, ttl)
            self._moved[session_id] = (new_id, self._ending(self.clock() + FORWARD_SECONDS))
            return value

    async def delete_moved(self, session_id: str) -> str | None:
        """Remove the session, and return the id it was moved to, if it was."""
        with self._lock:
            self._take(session_id)
            moved = self._forward(session_id)
            return moved.new_id if moved else None

    def watch_losses(self, notice: Loss) -> None:
        """Have it called for each session that expires or is dropped; the latest counts."""
        self._notice = notice

    async def scan_sessions(self) -> AsyncIterator[Sequence[Scanned]]:
        """Yield the stored sessions in steps; see `pyfly_session.ports.ScanSessions`."""
        with self._lock:
            shelves = [[*shelf] for key, shelf in self._shelves.items() if key > 0]
        session_ids = itertools.chain.from_iterable(shelves)
        while some := [*itertools.islice(session_ids, SCAN_STEP)]:
            with self._lock:
                now = self.clock()
                found = [(each, entry) for each in some if (entry := self._entry(each))]
            yield [
                Scanned(each, entry[:-_END_SIZE][:SCAN_HEAD], len(entry) - _END_SIZE, left)
                for each, entry in found
                if (left := _end_of(entry) - now) > 0
            ]

    def __len__(self) -> int:
        """Count the stored sessions, expired ones left out."""
        with self._lock:
            now = self.clock()
            return sum(
                1
                for key, shelf in self._shelves.items()
                if key > 0
                for entry in shelf.values()
                if _end_of(entry) > now
            )

    def _find(self, session_id: str) -> bytes | None:
        now = self.clock()
        if now >= self._sweep_at:
            self._sweep(now)
        entry = self._entry(session_id)
        return entry[:-_END_SIZE] if entry is not None and _end_of(entry) > now else None

    def _entry(self, session_id: str) -> bytes | None:
        for shelf in self._shelves.values():
            if (entry := shelf.get(session_id)) is not None:
                return entry
        return None

    def _take(self, session_id: str) -> None:
        for shelf in self._shelves.values():
            if shelf.pop(session_id, None) is not None:
                return

    def _put(self, session_id: str, payload: bytes, ttl: int) -> None:
        key = _shelf_of(session_id, ttl)
        shelf = self._shelves.get(key)
        if shelf is not None and session_id in shelf:
            shelf.move_to_end(session_id)
        else:
            self._take(session_id)
            self._make_room()
            # After that, for making room may have dropped the last of it.
            shelf = self._shelves.setdefault(key, OrderedDict())
        # A copy, and be it without need: what an encoder returns keeps all of its buffer.
        shelf[session_id] = payload + _pack(self._ending(self.clock() + ttl))

    def _ending(self, deadline: float) -> float:
        """Take note that something ends then."""
        if deadline < self._sweep_at:
            self._sweep_at = deadline
        return deadline

    def _forward(self, session_id: str) -> Moved | None:
        moved = self._moved.get(session_id)
        return Moved(moved[0]) if moved and moved[1] > self.clock() else None

    def _sweep(self, now: float) -> None:
        """Drop what has expired, front first; looks at no entry that stays but each first."""
        if now < self._sweep_at:
            return
        budget = _SWEEP_AT_ONCE
        emptied = None
        ends = []
        for key, shelf in self._shelves.items():
            first = next(iter(shelf.values()), None)
            while first is not None and _end_of(first) <= now and budget:
                session_id, entry = shelf.popitem(last=False)
                if self._notice is not None and key > 0:
                    self._notice(session_id, entry[:-_END_SIZE], "expired")
                budget -= 1
                first = next(iter(shelf.values()), None)
            if first is None:
                emptied = key
            else:
                ends.append(_end_of(first))
        if emptied is not None:
            del self._shelves[emptied]
        while self._moved and next(iter(self._moved.values()))[1] <= now:
            self._moved.popitem(last=False)
        ends += [end for _, end in itertools.islice(self._moved.values(), 1)]
        self._sweep_at = min(ends, default=math.inf)

    def _make_room(self) -> None:
        if self._max_sessions is None:
            return
        held = sum(len(shelf) for key, shelf in self._shelves.items() if key > 0)
        if held < self._max_sessions:
            return
        # The first of a shelf was used longest ago there; its last use was ttl before its end.
        oldest = min(
            (key for key, shelf in self._shelves.items() if shelf and key > 0),
            key=lambda key: _end_of(next(iter(self._shelves[key].values()))) - key,
        )
        session_id, entry = self._shelves[oldest].popitem(last=False)
        if self._notice is not None:
            self._notice(session_id, entry[:-_END_SIZE], "dropped")
        self.dropped += 1
        if self.dropped == 1:
            _logger.warning(
                "the in-memory session store is full at %d sessions and now drops the least"
                " recently used; raise pyfly.session.memory.max-sessions or use the redis store",
                self._max_sessions,
            )


def _end_of(entry: bytes) -> float:
    end: float = _unpack_from(entry, len(entry) - _END_SIZE)[0]
    return end


def _shelf_of(session_id: str, ttl: int) -> int:
    """Return the shelf; negative for a record about sessions, which no visitor may crowd out."""
    return -_rounded(ttl) if ids.RECORD in session_id else _rounded(ttl)


@functools.lru_cache(maxsize=256)
def _rounded(ttl: int) -> int:
    """Round a ttl down to three significant bits: neighbours share a shelf."""
    shift = max(0, ttl.bit_length() - 3)
    return ttl >> shift << shift
