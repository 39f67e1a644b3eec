"""`HttpSession`: the attributes of one visitor during one request. No I/O, no framework."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pyfly_session import ids
from pyfly_session.codec import DEFAULT_CODEC, Fragments, Raw, SessionCodec, report_lost_attribute
from pyfly_session.errors import (
    ReservedAttributeError,
    SessionDecodingError,
    SessionEncodingError,
    SessionInvalidatedError,
    SessionReadOnlyError,
)
from pyfly_session.tags import TYPE_KEY

CREATED_AT = "_created_at"
LAST_ACCESSED = "_last_accessed"
MAX_INACTIVE_INTERVAL = "_max_inactive_interval"
PRINCIPAL = "_principal"
AUTHENTICATED_AT = "_authenticated_at"
RESERVED_NAMES = frozenset(
    {CREATED_AT, LAST_ACCESSED, MAX_INACTIVE_INTERVAL, PRINCIPAL, AUTHENTICATED_AT, TYPE_KEY}
)

Delta = dict[str, bytes | None]
"""What a request changed: attribute name to encoded fragment, or to None if removed."""

# A value of one of these cannot be changed in place, so reading it needs no second look.
_IMMUTABLE = frozenset(
    {str, int, float, bool, type(None), bytes, datetime, date, timedelta, Decimal, UUID}
)


class HttpSession:
    """One session as one request sees it.

    Owned by the request that loaded it; not shared between tasks that run at the same time.
    Attributes are decoded when they are first read. Changing a mutable value in place
    (``session.get_attribute("cart").append(...)``) is noticed when the session is committed.

    Args:
        session_id: The id; `pyfly_session.ids.new_id` makes one.
        data: A session dictionary as a store's ``get`` returns it, metadata included.
        is_new: The session was created during this request.
    """

    __slots__ = (
        "_accessed",
        "_assigned",
        "_baseline",
        "_codec",
        "_id",
        "_invalidated",
        "_is_new",
        "_last_accessed",
        "_live",
        "_metadata",
        "_payload",
        "_previous_id",
        "_rotation_refusal",
        "_stored_id",
        "_watched",
        "_write_refusal",
    )

    def __init__(
        self, session_id: str, data: Mapping[str, Any] | None = None, *, is_new: bool = False
    ) -> None:
        self._start(session_id, {}, DEFAULT_CODEC, time.time())
        self._is_new = is_new
        for name, value in (data or {}).items():
            if name in RESERVED_NAMES:
                self._metadata[name] = value
            else:
                self._live[name] = value
                if is_new:
                    self._assigned.add(name)
        self._metadata.setdefault(CREATED_AT, self._last_accessed)

    def _start(self, session_id: str, baseline: Fragments, codec: SessionCodec, now: float) -> None:
        self._id = session_id
        self._previous_id: str | None = None
        self._codec = codec
        self._last_accessed = now
        # What this request has seen in the store, still encoded.
        self._baseline: dict[str, Raw | bytes] = dict(baseline)
        self._live: dict[str, Any] = {}
        self._assigned: set[str] = set()
        self._watched: set[str] = set()
        self._metadata: dict[str, Any] = {}
        self._is_new = False
        self._invalidated = False
        self._accessed = False
        self._write_refusal: str | None = None
        self._rotation_refusal: str | None = None
        # The id and bytes that the store is known to hold; None for a session never stored.
        self._stored_id: str | None = None
        self._payload: bytes | None = None

    @classmethod
    def create(cls, codec: SessionCodec, now: float) -> HttpSession:
        """Return a new, empty session with a fresh id; not stored yet."""
        session = cls.__new__(cls)
        session._start(ids.new_id(), {}, codec, now)
        session._metadata[CREATED_AT] = now
        session._is_new = True
        return session

    @classmethod
    def restore(
        cls, session_id: str, payload: bytes, fragments: Fragments, codec: SessionCodec, now: float
    ) -> HttpSession:
        """Return a session that a store holds as ``payload``, accessed at ``now``.

        Raises:
            SessionDecodingError: The metadata is not what a session's metadata can be.
        """
        session = cls.__new__(cls)
        session._start(session_id, fragments, codec, now)
        session._stored_id = session_id
        session._payload = payload
        for name in RESERVED_NAMES & fragments.keys():
            value = codec.decode(session._baseline.pop(name))
            if not _METADATA_TYPES[name](value):
                raise SessionDecodingError(f"the stored metadata {name} is unusable")
            session._metadata[name] = value
        if CREATED_AT not in session._metadata:
            # Written with the next commit, or the absolute lifetime would start anew every time.
            session._metadata[CREATED_AT] = now
            session._assigned.add(CREATED_AT)
        return session

    @property
    def id(self) -> str:
        """Unique session identifier; those made here are 32 lowercase hex characters."""
        self._accessed = True
        return self._id

    @property
    def previous_id(self) -> str | None:
        """The id before the last `rotate_id` of this request, or None."""
        return self._previous_id

    @property
    def is_new(self) -> bool:
        """True if the session was created during this request."""
        self._accessed = True
        return self._is_new

    @property
    def created_at(self) -> float:
        """Unix timestamp of the session's creation, in seconds."""
        self._accessed = True
        return float(self._metadata[CREATED_AT])

    @property
    def last_accessed(self) -> float:
        """Unix timestamp of the most recent access, in seconds: that of this request."""
        self._accessed = True
        return self._last_accessed

    @property
    def invalidated(self) -> bool:
        """True if `invalidate` has been called."""
        return self._invalidated

    @property
    def modified(self) -> bool:
        """True if there is something to store: new, rotated, ended, or any attribute changed."""
        return self._is_new or self._invalidated or self._previous_id is not None or self.pending

    @property
    def stored(self) -> bool:
        """True if the store is known to have an entry of this session, under whatever id."""
        return self._stored_id is not None

    @property
    def rotated(self) -> bool:
        """True if the store still has the entry under a former id."""
        return self._stored_id is not None and self._stored_id != self._id

    @property
    def accessed(self) -> bool:
        """True if anybody looked at the session, so that the response depends on it."""
        return self._accessed

    @property
    def pending(self) -> bool:
        """True if something was done to the session since its last commit."""
        return (
            (self._invalidated and self.stored)
            or self.rotated
            or bool(self._assigned)
            or any(self._changed_in_place(name) for name in self._watched)
        )

    @property
    def max_inactive_interval(self) -> int | None:
        """Seconds without access after which this session ends; None: as configured for all."""
        value = self._metadata.get(MAX_INACTIVE_INTERVAL)
        return None if value is None else int(value)

    def set_max_inactive_interval(self, seconds: int | None) -> None:
        """Give this session an idle time of its own, at least 1 second; None takes it back."""
        self._require_writable()
        if seconds is not None and (isinstance(seconds, bool) or int(seconds) != seconds):
            raise ValueError(f"the idle time must be a whole number of seconds, got {seconds!r}")
        if seconds is not None and seconds < 1:
            raise ValueError(f"the idle time must be at least 1 second, got {seconds}")
        self._metadata[MAX_INACTIVE_INTERVAL] = seconds
        self._assigned.add(MAX_INACTIVE_INTERVAL)

    def get_attribute(self, name: str) -> Any:
        """Return the attribute's value, or None if there is none."""
        return self._read(name, None)

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute.

        The value is encoded when the session is committed; one that cannot be stored is
        reported then, before anything is written.

        Raises:
            ReservedAttributeError: The name belongs to the library's metadata.
        """
        self._require_writable()
        _require_free(name)
        self._live[name] = value
        self._assigned.add(name)

    def remove_attribute(self, name: str) -> None:
        """Remove an attribute; nothing happens if there is none."""
        self._require_writable()
        _require_free(name)
        if self.has_attribute(name):
            self._live.pop(name, None)
            self._assigned.add(name)

    def get_attribute_names(self) -> list[str]:
        """List the attributes; names with a leading underscore count as internal."""
        return [name for name in self._names() if not name.startswith("_")]

    def attribute_names(self) -> list[str]:
        """List the attributes, names with a leading underscore included."""
        return list(self._names())

    def has_attribute(self, name: object) -> bool:
        """Tell whether there is such an attribute, be it None."""
        self._require_valid()
        return name in self._live or (name in self._baseline and name not in self._assigned)

    def mark_accessed(self) -> None:
        """Take note that the response depends on the session."""
        self._accessed = True

    def clear(self) -> None:
        """Remove every attribute, internal ones of other libraries included; keep the session."""
        self._require_writable()
        for name in list(self._names()):
            self._live.pop(name, None)
            self._assigned.add(name)

    def rotate_id(self) -> None:
        """Give the session a new id and keep its data; the former ids end with the commit.

        Call it at every change of privilege: it is what defeats session fixation.

        Source: OWASP Session Management Cheat Sheet, "Renew the Session ID After Any
        Privilege Level Change".
        """
        self._require_writable()
        if self._rotation_refusal is not None:
            raise SessionReadOnlyError(self._rotation_refusal)
        self._previous_id = self._id
        self._id = ids.new_id()

    def invalidate(self) -> None:
        """End the session: its entry is deleted, its cookie removed, its attributes gone."""
        self._invalidated = True
        self._live.clear()
        self._assigned.clear()
        self._watched.clear()
        self._baseline.clear()

    def get_data(self) -> dict[str, Any]:
        """Return the session as a dictionary, internal metadata included.

        The dictionary is the caller's own; the values in it are the session's.
        """
        data = dict(self._metadata)
        data[LAST_ACCESSED] = self._last_accessed
        for name in self._names():
            data[name] = self._read(name, None)
        return data

    def seal(self, *, writes: str | None = None, rotation: str | None = None) -> None:
        """Refuse further writes, or a further change of id, with these messages."""
        self._write_refusal = writes
        self._rotation_refusal = rotation

    def changes(self) -> Delta:
        """Encode what this request changed since the last commit.

        Raises:
            SessionEncodingError: A value cannot be stored.
        """
        encode = self._codec.encode
        delta: Delta = {}
        for name in self._assigned:
            if name in RESERVED_NAMES:
                value = self._metadata.get(name)
                delta[name] = None if value is None else encode(name, value)
            else:
                delta[name] = encode(name, self._live[name]) if name in self._live else None
        for name in self._watched - self._assigned:
            if self._changed_in_place(name):
                delta[name] = encode(name, self._live[name])
        return delta

    def committed(self, session_id: str, payload: bytes, delta: Delta) -> None:
        """Take note that the store now holds ``payload``, this request's ``delta`` included."""
        self._stored_id = session_id
        self._payload = payload
        self._assigned.clear()
        for name, fragment in delta.items():
            if fragment is None:
                self._baseline.pop(name, None)
            elif name not in RESERVED_NAMES:
                self._baseline[name] = fragment
                if type(self._live.get(name)) not in _IMMUTABLE:
                    self._watched.add(name)

    def _names(self) -> Iterator[str]:
        self._require_valid()
        yield from self._live
        for name in self._baseline:
            if name not in self._live and name not in self._assigned:
                yield name

    def _read(self, name: str, default: Any) -> Any:
        self._require_valid()
        live = self._live
        if name in live:
            value = live[name]
            if name not in self._baseline and name not in self._assigned:
                self._remember(name, value)
        elif name in self._baseline and name not in self._assigned:
            try:
                value = live[name] = self._codec.decode(self._baseline[name])
            except SessionDecodingError as error:
                report_lost_attribute(name, error)
                return default
        elif name in RESERVED_NAMES:
            return self._metadata.get(name, default)
        else:
            return default
        if type(value) not in _IMMUTABLE:
            self._watched.add(name)
        return value

    def _remember(self, name: str, value: Any) -> None:
        """Take a picture of a value that came as plain data, to notice a change in place."""
        if type(value) not in _IMMUTABLE:
            try:
                self._baseline[name] = self._codec.encode(name, value)
            except SessionEncodingError:
                return

    def _changed_in_place(self, name: str) -> bool:
        if name not in self._live or name not in self._baseline:
            return name in self._live
        encoded = self._codec.encode(name, self._live[name])
        seen = bytes(self._baseline[name])
        # Another writer may have formatted the same value differently.
        return encoded != seen and encoded != self._codec.encode(name, self._codec.decode(seen))

    def _require_valid(self) -> None:
        self._accessed = True
        if self._invalidated:
            raise SessionInvalidatedError

    def _require_writable(self) -> None:
        self._require_valid()
        if self._write_refusal is not None:
            raise SessionReadOnlyError(self._write_refusal)

    def __repr__(self) -> str:
        state = "invalidated" if self._invalidated else "new" if self._is_new else "stored"
        return f"<HttpSession {ids.mask(self._id)} {state}>"


def _require_free(name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"an attribute name must be str, got {name!r}")
    if name in RESERVED_NAMES:
        raise ReservedAttributeError(name)


def _is_timestamp(value: object) -> bool:
    return isinstance(value, (int, float)) and -1e12 < value < 1e12


_METADATA_TYPES: dict[str, Callable[[Any], bool]] = {
    CREATED_AT: _is_timestamp,
    LAST_ACCESSED: _is_timestamp,
    AUTHENTICATED_AT: _is_timestamp,
    MAX_INACTIVE_INTERVAL: lambda value: value is None or (type(value) is int and value >= 1),
    PRINCIPAL: lambda value: value is None or isinstance(value, str),
}
