"""`HttpSession`: the attributes of one visitor during one request. No I/O, no framework."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from pyfly_session import ids
from pyfly_session.core.codec import DEFAULT_CODEC, SessionCodec
from pyfly_session.core.metadata import (
    AUTHENTICATED_AT,
    CREATED_AT,
    LAST_ACCESSED,
    MAX_INACTIVE_INTERVAL,
    PRINCIPAL,
    PRINCIPAL_ALIASES,
    RESERVED_NAMES,
    principal_names,
    read_metadata,
    require_free,
    require_interval,
)
from pyfly_session.core.session_state import SessionState
from pyfly_session.errors import SessionInvalidatedError, SessionReadOnlyError


class HttpSession(SessionState):
    """One session as one request sees it.

    Owned by the request that loaded it; not shared between tasks that run at the same time.
    Attributes are decoded when they are first read. Changing a mutable value in place
    (``session.get_attribute("cart").append(...)``) is noticed when the session is committed.

    Args:
        session_id: The id; `pyfly_session.ids.new_id` makes one.
        data: A session dictionary as a store's ``get`` returns it, metadata included.
        is_new: The session was created during this request.
    """

    __slots__ = ()

    def __init__(
        self, session_id: str, data: Mapping[str, Any] | None = None, *, is_new: bool = False
    ) -> None:
        metadata, attributes = dict[str, Any](), dict[str, Any]()
        for name, value in (data or {}).items():
            (metadata if name in RESERVED_NAMES else attributes)[name] = value
        self._start(session_id, DEFAULT_CODEC, {}, metadata, time.time())
        self._is_new = is_new
        self._attributes.adopt(attributes, as_changes=is_new)

    @classmethod
    def create(cls, codec: SessionCodec, now: float) -> HttpSession:
        """Return a new, empty session with a fresh id; not stored yet."""
        session = cls.__new__(cls)
        session._start(None, codec, {}, {CREATED_AT: now}, now)
        session._is_new = True
        return session

    @classmethod
    def restore(
        cls, session_id: str, payload: bytes, codec: SessionCodec, now: float
    ) -> HttpSession:
        """Return a session that a store holds as ``payload``, accessed at ``now``.

        Raises:
            SessionDecodingError: The payload is not a session.
        """
        fragments = codec.split(payload)
        session = cls.__new__(cls)
        session._start(session_id, codec, fragments, read_metadata(fragments, codec), now)
        session._stored_id = session_id
        session._payload = payload
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
    def transient(self) -> bool:
        """True if the store failed and nothing of this session is going to be saved."""
        return self._transient

    @property
    def accessed(self) -> bool:
        """True if anybody looked at the session, so that the response depends on it."""
        return self._accessed

    @property
    def max_inactive_interval(self) -> int | None:
        """Seconds without access after which this session ends; None: as configured for all."""
        interval: int | None = self._metadata.get(MAX_INACTIVE_INTERVAL)
        return interval

    def set_max_inactive_interval(self, seconds: int | None) -> None:
        """Give this session an idle time of its own, at least 1 second; None takes it back."""
        self._require_writable()
        require_interval(seconds)
        self._note(MAX_INACTIVE_INTERVAL, seconds)

    def get_attribute(self, name: str) -> Any:
        """Return the attribute's value, or None if there is none."""
        self._accessed = True
        if self._invalidated:
            raise SessionInvalidatedError
        if name in RESERVED_NAMES:
            return self._last_accessed if name == LAST_ACCESSED else self._metadata.get(name)
        return self._attributes.read(name)

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute.

        The value is encoded when the session is committed; one that cannot be stored is
        reported then, before anything is written.

        Raises:
            ReservedAttributeError: The name belongs to the library's metadata.
        """
        self._require_writable()
        require_free(name)
        self._attributes.assign(name, value)

    def remove_attribute(self, name: str) -> None:
        """Remove an attribute; nothing happens if there is none."""
        self._require_writable()
        require_free(name)
        self._attributes.remove(name)

    def has_attribute(self, name: object) -> bool:
        """Tell whether there is such an attribute, be it None."""
        self._require_valid()
        return name in self._attributes

    def get_attribute_names(self) -> list[str]:
        """List the attributes; names with a leading underscore count as internal."""
        self._require_valid()
        return [name for name in self._attributes if not name.startswith("_")]

    def attribute_names(self) -> list[str]:
        """List the attributes, names with a leading underscore included."""
        self._require_valid()
        return list(self._attributes)

    def mark_accessed(self) -> None:
        """Take note that the response depends on the session."""
        self._accessed = True

    def clear(self) -> None:
        """Remove every attribute, internal ones too, and who is logged in; keep the session."""
        self._require_writable()
        if PRINCIPAL in self._metadata:
            self.authenticate(None)
        for name in list(self._attributes):
            self._attributes.remove(name)

    def authenticate(self, principal: str | None, aliases: Iterable[str] = ()) -> None:
        """Record who logged in just now; `pyfly_session.security.login` does it.

        By an alias the session is found as well, by what a provider calls it for example.
        """
        self._require_writable()
        self._displaced |= frozenset(principal_names(self._metadata))
        self._note(PRINCIPAL, principal)
        self._note(PRINCIPAL_ALIASES, (list(aliases) or None) if principal else None)
        self._note(AUTHENTICATED_AT, self._last_accessed if principal else None)

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
        self._given_id = ids.new_id()
        self._rotating = True

    def invalidate(self) -> None:
        """End the session: its entry is deleted, its cookie removed, its attributes gone."""
        self._invalidated = True
        self._attributes.forget()

    def get_data(self) -> dict[str, Any]:
        """Return the session as a dictionary, internal metadata included.

        The dictionary is the caller's own; the values in it are the session's.
        """
        self._require_valid()
        return {
            **self._metadata,
            LAST_ACCESSED: self._last_accessed,
            **{name: self._attributes.read(name) for name in list(self._attributes)},
        }

    def __repr__(self) -> str:
        state = "invalidated" if self._invalidated else "new" if self._is_new else "stored"
        return f"<HttpSession {ids.mask(self._id)} {state}>"
