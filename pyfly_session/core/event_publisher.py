"""`EventPublisher`: calls listeners of sessions, without a request waiting for them."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from pyfly_session import ids
from pyfly_session.core.change import Stored
from pyfly_session.core.merge import Outcome
from pyfly_session.core.metadata import PRINCIPAL, read_metadata
from pyfly_session.core.session import HttpSession
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.core.tasks import BackgroundTasks
from pyfly_session.errors import SessionDecodingError
from pyfly_session.events import (
    SessionCreated,
    SessionDestroyed,
    SessionEvent,
    SessionIdChanged,
    SessionListener,
)

_logger = logging.getLogger(__name__)
_REMEMBERED = 4096
_AT_ONCE = 32
_STORED = (Outcome.STORED, Outcome.FORKED)

_Lane = deque[SessionEvent]


class EventPublisher:
    """Has listeners called, one event of a session after the other. Shared by all requests.

    Events of one session are told in their order, those of different sessions side by side;
    each listener in its turn. What fails is logged and keeps nobody else from being told.

    Args:
        listeners: Who is told, in this order.
        store: Where the sessions are.
        tasks: Keeps what goes on without a request.
        clock: Unix time in seconds.
        patience: Seconds that a listener may take before it is cancelled.
    """

    def __init__(
        self,
        listeners: Sequence[SessionListener],
        store: CapableStore,
        tasks: BackgroundTasks,
        *,
        clock: Callable[[], float] = time.time,
        patience: float = 30,
    ) -> None:
        for listener in listeners:
            candidate: object = listener
            if not callable(candidate) or isinstance(candidate, type):
                raise TypeError(
                    f"a session listener must be a function, got {listener!r}; give one that"
                    " takes an event, or an object with a method __call__"
                )
        self._listeners = tuple(listeners)
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._patience = patience
        # By event loop and handle, as long as listeners are busy with the session.
        self._lanes: dict[tuple[asyncio.AbstractEventLoop, str], _Lane] = {}
        self._destroyed: OrderedDict[str, None] = OrderedDict()
        self._lost: dict[asyncio.AbstractEventLoop, deque[tuple[str, bytes, str]]] = {}
        if listeners and store.watch_losses is not None:
            store.watch_losses(self.lost)

    @property
    def has_listeners(self) -> bool:
        """True if there is anybody to call."""
        return bool(self._listeners)

    async def finish(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await what is going to be published; it goes on if the caller is cancelled."""
        return await self._tasks.finish(work)

    def committed(self, session: HttpSession, outcome: Outcome, former: Stored | None) -> None:
        """Publish that a session was created, or given another id."""
        stored = session.stored
        if not self.has_listeners or stored is None or outcome not in _STORED:
            return
        handle, principal, at = self._handle(stored.id), session.principal, self._clock()
        if former is None or outcome is Outcome.FORKED:
            self.publish(SessionCreated(handle=handle, principal=principal, at=at))
        elif former.id != stored.id:
            before = self._handle(former.id)
            self.publish(SessionIdChanged(handle=handle, former=before, principal=principal, at=at))

    def destroyed(self, session_id: str, principal: str | None, reason: str) -> None:
        """Tell of a session that has ended; once, whoever noticed it as well."""
        handle = self._handle(session_id)
        if not self._listeners or handle in self._destroyed:
            return
        self._destroyed[handle] = None
        if len(self._destroyed) > _REMEMBERED:
            self._destroyed.popitem(last=False)
        self.publish(
            SessionDestroyed(handle=handle, principal=principal, at=self._clock(), reason=reason)
        )

    def lost(self, stored_id: str, payload: bytes, reason: str) -> None:
        """Take note of a session that the store has removed by itself; may hold its lock."""
        loop = asyncio.get_running_loop()
        lost = self._lost.get(loop)
        if lost is None:
            lost = self._lost[loop] = deque()
            self._begin(self._tell_of_the_lost(lost, loop))
        lost.append((stored_id, payload, reason))

    async def _tell_of_the_lost(
        self, lost: deque[tuple[str, bytes, str]], loop: asyncio.AbstractEventLoop
    ) -> None:
        while lost:
            # In small portions: a sweep finds hundreds at a time.
            for _ in range(min(len(lost), _AT_ONCE)):
                stored_id, payload, reason = lost.popleft()
                self.destroyed(self._store.recall(stored_id), self._principal_of(payload), reason)
            await asyncio.sleep(0)
        del self._lost[loop]

    def _principal_of(self, payload: bytes) -> str | None:
        codec = self._store.codec
        try:
            principal: str | None = read_metadata(codec.split(payload), codec).get(PRINCIPAL)
        except SessionDecodingError:
            return None
        return principal

    def _handle(self, session_id: str) -> str:
        return ids.mask(self._store.key_of(session_id)).removeprefix("#")

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        # Without the context of the request: the next event may be of another one.
        contextvars.Context().run(self._tasks.finish_later, work)

    def publish(self, event: SessionEvent) -> None:
        """Have the listeners called with an event, after those before it of the same session."""
        loop = asyncio.get_running_loop()
        before = event.former if isinstance(event, SessionIdChanged) else event.handle
        lane = self._lanes.get((loop, before))
        if lane is not None:
            lane.append(event)
            self._lanes[loop, event.handle] = lane
            return
        lane = self._lanes[loop, event.handle] = deque([event])
        self._begin(self._serve(lane, loop))

    async def _serve(self, lane: _Lane, loop: asyncio.AbstractEventLoop) -> None:
        handles = set()
        try:
            while lane:
                event = lane.popleft()
                handles.add(event.handle)
                for listener in self._listeners:
                    await self._tell(listener, event)
        finally:
            # Those of events that will not be told any more, too.
            for handle in handles.union(event.handle for event in lane):
                if self._lanes.get((loop, handle)) is lane:
                    del self._lanes[loop, handle]

    async def _tell(self, listener: SessionListener, event: SessionEvent) -> None:
        try:
            async with asyncio.timeout(self._patience):
                done = listener(event)
                if inspect.isawaitable(done):
                    await done
        except (Exception, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Something that the listener waited for was cancelled, which is its own affair.
            _logger.exception("the session listener %r failed on %r", listener, event)
