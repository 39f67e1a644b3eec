"""Metrics and spans by OpenTelemetry; loaded only where ``pyfly.session.observability`` is on.

Uses the API package alone: what is exported, and where to, is the application's choice of SDK.
No id, no attribute, no user's name and no message of a driver, which may quote a key, is
recorded. A span tells the short hash of an id that the log tells, too.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Awaitable, Iterable
from functools import partial
from importlib import metadata
from typing import Any, TypeVar

from opentelemetry import context, metrics, trace

from pyfly_session import ids
from pyfly_session.core.merge import Outcome
from pyfly_session.core.repository import SessionRepository
from pyfly_session.core.session import HttpSession
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.ports import Moved, SessionStore
from pyfly_session.web.filters import HIGHEST_PRECEDENCE, CallNext, OncePerRequestFilter
from pyfly_session.web.session_id_resolver import SessionIdResolver, headers_of

T = TypeVar("T")

_SCOPE = "pyfly_session"
# Source: semantic conventions, db.client.operation.duration.
_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
_RESULT = "pyfly.session.load.result"
_OUTCOME = "pyfly.session.commit.outcome"
_CREATED = {_OUTCOME: "created"}
_FOUND, _ABSENT = {_RESULT: "found"}, {_RESULT: "absent"}
# Of requests that stored nothing there is nothing to tell.
_IDLE = frozenset({Outcome.UNTOUCHED, Outcome.UNSAVED})
_OUTCOMES = {each: {_OUTCOME: each.name.lower()} for each in Outcome}


class Telemetry:
    """The instruments. One for each container, shared by all requests.

    Args:
        tracer_provider: Makes the tracer; the global one unless given.
        meter_provider: Makes the meter; the global one unless given.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        version = _version()
        self._tracer = trace.get_tracer(_SCOPE, version, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, version, meter_provider=meter_provider)
        self.loads = meter.create_counter(
            "pyfly.session.loads", "{load}", "Ids looked up for requests, found or absent."
        )
        self.commits = meter.create_counter(
            "pyfly.session.commits", "{commit}", "Commits, and what they did."
        )
        self.events = meter.create_counter(
            "pyfly.session.events", "{event}", "What did not go the usual way."
        )
        self.malformed = meter.create_counter(
            "pyfly.session.ids.malformed", "{request}", "Requests with what cannot be an id."
        )
        self.duration = meter.create_histogram(
            "pyfly.session.store.operation.duration",
            "s",
            "Duration of one operation of the session store.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    def observed(self, store: SessionStore, capable: CapableStore) -> CapableStore:
        """Return the store with every operation of it timed and traced."""
        return ObservedStore(capable, system_of(store), self._tracer, self.duration)


class ObservedStore(CapableStore):
    """A store with every operation timed and traced.

    Args:
        store: What is observed.
        system: Its ``db.system.name``.
        tracer: Makes the spans.
        duration: Records the durations, in seconds.
    """

    def __init__(
        self, store: CapableStore, system: str, tracer: trace.Tracer, duration: metrics.Histogram
    ) -> None:
        self._inner = store
        self.codec = store.codec
        self.watch_losses = store.watch_losses
        self.scan_sessions = store.scan_sessions
        self.has_slid = store.has_slid
        self.keeps_life = store.keeps_life
        self._system = system
        self._tracer = tracer
        self._duration = duration

    def key_of(self, session_id: str) -> str:
        """Return what the store knows the id as."""
        return self._inner.key_of(session_id)

    def recall(self, key: str) -> str:
        """Return an id for which `key_of` gives the key."""
        return self._inner.recall(key)

    async def get(self, session_id: str) -> dict[str, Any] | None:
        """Return the session's dictionary, or None."""
        return await self._observed("get", session_id, self._inner.get(session_id))

    async def delete(self, session_id: str) -> None:
        """Remove the session."""
        await self._observed("delete", session_id, self._inner.delete(session_id))

    async def exists(self, session_id: str) -> bool:
        """Return whether the session is stored and alive."""
        return await self._observed("exists", session_id, self._inner.exists(session_id))

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        """Return the encoded session and let it live at least ``ttl`` seconds from now."""
        call = self._inner.load_and_slide(session_id, ttl)
        return await self._observed("load_and_slide", session_id, call)

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        """Store a new session; False if the id is taken."""
        call = self._inner.create_if_absent(session_id, value, ttl)
        return await self._observed("create_if_absent", session_id, call)

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Replace ``expected`` by ``value``."""
        call = self._inner.compare_and_swap(session_id, expected, value, ttl)
        return await self._observed("compare_and_swap", session_id, call)

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Move the session to ``new_id``."""
        call = self._inner.rename(session_id, new_id, expected, value, ttl)
        return await self._observed("rename", session_id, call)

    async def delete_moved(self, session_id: str) -> str | None:
        """Remove the session, and return the id it was moved to, if it was."""
        call = self._inner.delete_moved(session_id)
        return await self._observed("delete_moved", session_id, call)

    async def _observed(self, operation: str, session_id: str, call: Awaitable[T]) -> T:
        attributes = {"db.system.name": self._system, "db.operation.name": operation}
        is_record = ids.is_record(session_id)
        name = f"{operation} {'record' if is_record else 'session'}"
        span = self._tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes)
        token = None
        if span.is_recording():
            if not is_record:
                span.set_attribute("pyfly.session.id.hash", ids.mask(session_id))
            # Current, so that the spans of a driver belong to it.
            token = context.attach(trace.set_span_in_context(span))
        measured = attributes
        began = time.perf_counter()
        try:
            return await call
        except BaseException as error:
            measured = {**attributes, "error.type": type(error).__qualname__}
            span.set_attribute("error.type", measured["error.type"])
            span.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            self._duration.record(time.perf_counter() - began, measured)
            if token is not None:
                context.detach(token)
            span.end()


class ObservedSessionRepository(SessionRepository):
    """A `SessionRepository` that tells what it does.

    Args:
        store: Any session store.
        telemetry: The instruments.
        options: As those of `SessionRepository`.
    """

    def __init__(self, store: SessionStore, *, telemetry: Telemetry, **options: Any) -> None:
        super().__init__(
            store,
            decorate=partial(telemetry.observed, store),
            counts=_Events(telemetry.events),
            **options,
        )
        self._telemetry = telemetry
        self._dropped = 0

    async def load(self, session_id: str, *, slide: bool = True) -> HttpSession | None:
        """Return the session of this id, and count whether there was one."""
        session = await super().load(session_id, slide=slide)
        self._telemetry.loads.add(1, _ABSENT if session is None else _FOUND)
        return session

    async def commit(self, session: HttpSession, *, create: bool = True) -> Outcome:
        """Store what the request did to the session, and count what came of it."""
        was_stored = session.stored is not None
        try:
            outcome = await super().commit(session, create=create)
        except BaseException as error:
            failed = {_OUTCOME: "failed", "error.type": type(error).__qualname__}
            self._telemetry.commits.add(1, failed)
            raise
        if outcome is Outcome.STORED and not was_stored:
            self._telemetry.commits.add(1, _CREATED)
            self._count_dropped()
        elif outcome not in _IDLE:
            self._telemetry.commits.add(1, _OUTCOMES[outcome])
        return outcome

    def _count_dropped(self) -> None:
        """Count what a store without room for a new session dropped, if it tells."""
        dropped: int = getattr(self.store, "dropped", 0)
        if dropped > self._dropped:
            self.counts["dropped"] += dropped - self._dropped
            self._dropped = dropped


class MalformedIdFilter(OncePerRequestFilter):
    """Counts requests that bring what cannot be an id, which no store is asked for.

    Args:
        telemetry: The instruments.
        exclude_patterns: The paths without sessions.
        resolver: Tells the ids of a request; its ``ways`` tell where one could be.
    """

    __pyfly_order__ = HIGHEST_PRECEDENCE + 149

    def __init__(
        self,
        telemetry: Telemetry,
        exclude_patterns: Iterable[str],
        resolver: SessionIdResolver,
    ) -> None:
        self.exclude_patterns = exclude_patterns
        self._count = telemetry.malformed.add
        self._resolver = resolver
        ways = getattr(resolver, "ways", ())
        self._headers = {name.lower().encode() for way, name in ways if way == "header"}
        names = b"|".join(re.escape(name.encode()) for way, name in ways if way == "cookie")
        self._cookie = re.compile(rb"(?:^|;)\s*(?:%s)\s*=" % names) if names else None

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        """Look at the ids of the request, and run the rest of the chain."""
        headers = list(headers_of(request))
        if self._offers(headers) and not self._resolver.candidates(headers):
            self._count(1)
        return await call_next(request)

    def _offers(self, headers: list[tuple[bytes, bytes]]) -> bool:
        for name, value in headers:
            if name in self._headers:
                return True
            if name == b"cookie" and self._cookie is not None and self._cookie.search(value):
                return True
        return False


class _Events(Counter[str]):
    """A counter whose increments are added to a metric, too."""

    def __init__(self, events: metrics.Counter) -> None:
        super().__init__()
        self._add = events.add

    def __setitem__(self, name: str, count: int) -> None:
        more = count - self[name]
        super().__setitem__(name, count)
        self._add(more, {"pyfly.session.event": name})


def _version() -> str:
    try:
        return metadata.version("pyfly-session")
    except metadata.PackageNotFoundError:
        # Run from its source.
        return ""


def system_of(store: SessionStore) -> str:
    """Return the ``db.system.name`` of a store: what it says itself, or what its class is called.

    ``RedisSessionStore`` is ``redis``, a ``MongoStore`` is ``mongo``.
    """
    said = getattr(store, "db_system_name", None)
    name = type(store).__name__
    return said or (name.removesuffix("Store").removesuffix("Session") or name).lower()
