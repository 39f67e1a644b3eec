"""Which sessions there are, the one that was used last first: a scan, sorted while it runs.

No store has its sessions in that order, and an index for it would cost each request a write. So
a page looks at all of them, at the front of each only, and keeps those it shows.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.errors import SessionStoreError
from pyfly_session.ports import Scanned

# The metadata in front of a session that is longer than what a scan gives of it.
_FRONT = re.compile(
    rb'\{(?:"_[a-z_]+":(?:[-+.0-9eE]+|"(?:[^"\\]|\\.)*"|\[(?:"(?:[^"\\]|\\.)*",?)*\]),)*'
)
# Of those that can only be read whole, as many are in a step of the event loop.
_WHOLE_AT_ONCE = 50


class _Front(msgspec.Struct, rename=lambda name: f"_{name}", gc=False):
    created_at: float = 0.0
    last_accessed: float = 0.0
    version: str = ""
    max_inactive_interval: int | None = None
    principal: str | None = None


_decode = msgspec.json.Decoder(_Front).decode


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A stored session as an overview tells of it.

    Attributes:
        session_id: Its id, as the store knows it.
        last_used: Unix time of the last request that counts as an access, as far as the store
            can tell; never before the last write.
        ends_at: Unix time when it ends if nobody uses it.
        size: Of its encoded form, in bytes.
    """

    session_id: str = field(repr=False)
    last_used: float
    ends_at: float
    size: int


@dataclass(slots=True)
class SessionPage:
    """A page of sessions, and how many there are in all.

    Attributes:
        sessions: Those of the page, the one that was used last first.
        total: How many sessions were looked at.
        logged_in: How many of these belong to somebody.
        matching: How many are on this page and on others.
        complete: All were looked at.
        problem: Why not, if the store failed on the way.
    """

    sessions: list[ListedSession] = field(default_factory=list)
    total: int = 0
    logged_in: int = 0
    matching: int = 0
    complete: bool = False
    problem: str | None = None


class SessionOverview:
    """Looks at all sessions of a store.

    Args:
        store: Where the sessions are.
        idle: Idle time of a session in seconds, unless it has one of its own.
        max_lifetime: Seconds after its creation when a session ends at the latest, or None.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        store: CapableStore,
        *,
        idle: int,
        max_lifetime: int | None,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._idle = idle
        self._max_lifetime = max_lifetime
        self._clock = clock

    async def page(
        self,
        prefix: str = "",
        *,
        visitors: bool = False,
        number: int = 1,
        size: int = 50,
        patience: float | None = None,
        told: Callable[[int], object] = bool,
    ) -> SessionPage | None:
        """Return a page of the sessions, or None if the store cannot scan them.

        Args:
            prefix: How the names of their principals begin.
            visitors: Those of nobody, too.
            number: Which page, from 1.
            size: Sessions on a page.
            patience: Seconds after which it is told what was found so far; None for no end.
            told: Called after each step with how many were looked at.
        """
        if self._store.scan_sessions is None:
            return None
        page, most = SessionPage(), size * number
        latest: list[tuple[float, int, Scanned, float]] = []
        order = itertools.count()
        try:
            async for step in self._steps(page, patience):
                now = self._clock()
                for front, scanned in zip(await self._fronts(step), step, strict=True):
                    ends_at = self._end_of(front, now + scanned.seconds_left)
                    if front is None or ends_at <= now:
                        continue
                    page.total += 1
                    page.logged_in += front.principal is not None
                    if not _is_wanted(front.principal, prefix, visitors=visitors):
                        continue
                    page.matching += 1
                    idle = front.max_inactive_interval or self._idle
                    used = max(now + scanned.seconds_left - idle, front.last_accessed)
                    entry = used, next(order), scanned, ends_at
                    if len(latest) < most:
                        heapq.heappush(latest, entry)
                    elif used > latest[0][0]:
                        heapq.heapreplace(latest, entry)
                told(page.total)
        except SessionStoreError as error:
            page.problem = str(error)
        # A scan may give one twice.
        found = {
            scanned.session_id: ListedSession(
                self._store.recall(scanned.session_id), used, ends_at, scanned.size
            )
            for used, _, scanned, ends_at in sorted(latest, reverse=True)
        }
        page.sessions = [*found.values()][most - size :]
        return page

    async def _steps(
        self, page: SessionPage, patience: float | None
    ) -> AsyncIterator[Sequence[Scanned]]:
        """Yield what the store gives until there is no more of it, or no more time."""
        assert self._store.scan_sessions is not None  # noqa: S101 - for mypy
        steps, end = aiter(self._store.scan_sessions()), time.monotonic() + (patience or 0.0)
        ahead = asyncio.ensure_future(anext(steps, None))
        try:
            while True:
                left = None if patience is None else max(0.0, end - time.monotonic())
                await asyncio.wait({ahead}, timeout=left)
                # A store that has all at hand is always done, and would go on past the end.
                if left == 0 or not ahead.done():
                    return
                step = await ahead
                if step is None:
                    page.complete = True
                    return
                # The store works on the next ones while these are looked at.
                ahead = asyncio.ensure_future(anext(steps, None))
                yield step
                # One that has all at hand would let nobody else work.
                await asyncio.sleep(0)
        finally:
            ahead.cancel()

    def _end_of(self, front: _Front | None, ends_at: float) -> float:
        if front is None or self._max_lifetime is None:
            return ends_at
        return min(ends_at, front.created_at + self._max_lifetime)

    async def _fronts(self, step: Sequence[Scanned]) -> list[_Front | None]:
        fronts = [*map(_front, step)]
        # Of an encrypted session the front tells nothing.
        whole = [n for n, front in enumerate(fronts) if front is None]
        for start in range(0, len(whole), _WHOLE_AT_ONCE):
            some = whole[start : start + _WHOLE_AT_ONCE]
            ids = (self._store.recall(step[n].session_id) for n in some)
            for n, data in zip(some, await asyncio.gather(*map(self._store.get, ids)), strict=True):
                fronts[n] = None if data is None else _front_of(data)
        return fronts


def _is_wanted(principal: str | None, prefix: str, *, visitors: bool) -> bool:
    return visitors and not prefix if principal is None else principal.startswith(prefix)


def _front(scanned: Scanned) -> _Front | None:
    """Return the metadata of a session, None if the whole has to be read for it."""
    head = scanned.head
    try:
        if len(head) == scanned.size:
            return _decode(head)
        found = _FRONT.match(head)
        front = found and _decode(found[0].rstrip(b",") + b"}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # What we write has its version in front, and all other metadata beside it.
    return front if front and front.version else None


def _front_of(data: Mapping[str, Any]) -> _Front | None:
    names = _Front.__struct_encode_fields__
    known = {name: data[name] for name in names if name in data}
    try:
        return msgspec.convert(known, _Front)
    except msgspec.ValidationError:
        return None
