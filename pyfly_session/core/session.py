"""`HttpSession`: the attributes of one visitor during one request. No I/O, no framework."""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pyfly_session import errors, ids
from pyfly_session.core import metadata as meta
from pyfly_session.core.attribute_access import AttributeAccess
from pyfly_session.core.attributes import (
    IMMUTABLE,
    REMOVED,
    Attributes,
    Delta,
    Update,
    UpdateFunction,
)
from pyfly_session.core.change import Change, Stored
from pyfly_session.core.codec import DEFAULT_CODEC, Raw, SessionCodec
from pyfly_session.core.lifetime import Lifetime, lifetime_metadata, lifetime_of

_NOTHING: dict[str, Any] = {}
_UNREADABLE = object()


class HttpSession(AttributeAccess):
    """One session as one request sees it.

    Owned by the request that loaded it; not shared between tasks that run at the same time. When
    the request is over, whatever would change it raises `SessionReadOnlyError`.
    Attributes are decoded when they are first read. Changing a mutable value in place
    (``session.get_attribute("cart").append(...)``) is noticed when the session is committed.

    Args:
        session_id: The id; `pyfly_session.ids.new_id` makes one.
        data: A session dictionary as a store's ``get`` returns it, metadata included.
        is_new: The session was created during this request.

    Attributes:
        invalidated: True if `invalidate` has been called.
        why_transient: Why nothing is saved, None if it is: ``unavailable`` (the store failed),
            ``replaced`` (the id that came was given up a moment ago), ``withheld`` (by the browser,
            perhaps, for the request comes from another site), ``outside`` (of the cookie's path).
        accessed: Anything looked at the session, so that the response depends on it.
        touched: Something may have happened to it since its last commit.
        stored: What the store is known to hold, None for a session never stored.
        seen: What attributes are read from: the same, but never another user's, though the session
            may have become that.
        moved: Another request gave the session another id, which this one is not told.
        id_is_known: The client has the session's id already.
        presented_id: The id that the request came with, if that was replaced or ended.
        own_lifetime: How long it and its cookie live, None if as configured for all.
        slides: Whether this request keeps it alive.
        write_refusal: With which message changes are refused, None if they are not.
        rotation_refusal: With which message a change of id is refused, None if it is not.
        loaded_at: Unix time when this request saw it first, in seconds.
        attempt: What an interrupted creation may have stored; kept by the repository.
        commit_under_way: Done when a commit is that outlived its request; kept by the writer.
        displaced: The names by which it was found before this request; with ``registrations``
            (the id noted for each name) and ``settle_login`` (tells a registry of the
            application's own) kept by `pyfly_session.core.principals.registration`.
    """

    __slots__ = (
        "_attributes", "_cleared", "_codec", "_id", "_is_new", "_noted", "_previous_id",
        "_wanted_id", "accessed", "attempt", "commit_under_way", "displaced", "id_is_known",
        "invalidated", "loaded_at", "moved", "own_lifetime", "presented_id", "registrations",
        "rotation_refusal", "seen", "settle_login", "slides", "stored", "touched", "why_transient",
        "write_refusal",
    )  # fmt: skip

    def _start(self, stored: Stored | None, codec: SessionCodec, now: float) -> None:
        self._id: str | None = None if stored is None else stored.id
        self._previous_id: str | None = None
        self._wanted_id: str | None = None
        self._codec = codec
        self.loaded_at = now
        self._is_new = stored is None
        self.id_is_known = stored is not None
        self._cleared = self.invalidated = self.moved = self.accessed = self.touched = False
        self.slides = True
        self.why_transient: str | None = None
        self.own_lifetime: Lifetime | None = None
        self.write_refusal: str | None = None
        self.rotation_refusal: str | None = None
        # None until somebody reads or changes an attribute.
        self._attributes: Attributes | None = None
        # What this request changed of the metadata, None for what it removed. Another dictionary
        # with each change: a commit tells by that what came while it was under way.
        self._noted: Mapping[str, Any] = _NOTHING
        self.displaced: frozenset[str] = frozenset()
        self.registrations: Mapping[str, str] = _NOTHING
        self.settle_login: Callable[[bool], Awaitable[None]] | None = None
        self.stored = self.seen = stored
        self.presented_id: str | None = None
        self.commit_under_way: Future[None] | None = None
        self.attempt: tuple[bytes, Change] | None = None

    def __init__(
        self, session_id: str, data: Mapping[str, Any] | None = None, *, is_new: bool = False
    ) -> None:
        self._start(None, DEFAULT_CODEC, time.time())
        self._id, self._is_new, self.id_is_known = session_id, is_new, not is_new
        metadata, attributes = dict[str, Any](), dict[str, Any]()
        for name, value in (data or {}).items():
            (metadata if name in meta.RESERVED_NAMES else attributes)[name] = value
        self._noted = {meta.CREATED_AT: self.loaded_at, **metadata}
        self.attributes.adopt(attributes, as_changes=is_new)
        self.touched = is_new

    @classmethod
    def create(cls, codec: SessionCodec, now: float) -> HttpSession:
        """Return a new, empty session with a fresh id; not stored yet."""
        session = cls.__new__(cls)
        session._start(None, codec, now)
        session._noted = {meta.CREATED_AT: now}
        return session

    @classmethod
    def restore(cls, stored: Stored, codec: SessionCodec, now: float) -> HttpSession:
        """Return a session that a store holds, accessed at ``now``.

        Raises:
            SessionDecodingError: What is stored is not a session.
        """
        fragments = stored.fragments = codec.split(stored.payload)
        session = cls.__new__(cls)
        session._start(stored, codec, now)
        if not meta.check_times(fragments):
            # Written at once, or the absolute lifetime would begin anew with each request.
            session._note({meta.CREATED_AT: now})
            session.touched = True
        if not meta.RARE_NAMES.isdisjoint(fragments):
            session.own_lifetime = lifetime_of(meta.read_metadata(fragments, codec).get)
        return session

    @property
    def id(self) -> str:
        """Unique session identifier; those made here are 32 lowercase hex characters."""
        self.accessed = True
        return self.current_id

    @property
    def current_id(self) -> str:
        """The id, without taking note that somebody looked."""
        # Not before it is wanted: most visitors without a cookie get no session.
        self._id = self._id or ids.new_id()
        return self._id

    @property
    def previous_id(self) -> str | None:
        """The id before the last `rotate_id` of this request, or None."""
        return self._previous_id

    @property
    def is_new(self) -> bool:
        """True if the session was created during this request."""
        self.accessed = True
        return self._is_new

    @property
    def created_at(self) -> float:
        """Unix timestamp of the session's creation, in seconds."""
        self.accessed = True
        created: float | None = self.metadata(meta.CREATED_AT)
        return self.loaded_at if created is None else float(created)

    @property
    def last_accessed(self) -> float:
        """Unix timestamp of the most recent access, in seconds: that of this request."""
        self.accessed = True
        return self.loaded_at

    @property
    def modified(self) -> bool:
        """True if there is something to store: new, rotated, ended, or any attribute changed."""
        return self._is_new or self._previous_id is not None or self.pending or self.invalidated

    @property
    def transient(self) -> bool:
        """True if nothing of this session is going to be saved; `why_transient` tells why."""
        return self.why_transient is not None

    @property
    def rotated(self) -> bool:
        """True if the store still has the session under an id that it is about to leave."""
        return self._wanted_id is not None and self.stored is not None

    @property
    def pending(self) -> bool:
        """True if something was done to the session since its last commit."""
        if not self.touched:
            return False
        leaves = self.stored is not None and (self.invalidated or self._wanted_id is not None)
        if leaves or self._is_noted or self._cleared:
            return True
        return self._attributes is not None and self._attributes.changed

    @property
    def max_inactive_interval(self) -> int | None:
        """Seconds without access after which this session ends; None: as configured for all."""
        return None if self.own_lifetime is None else self.own_lifetime.idle_time(self.loaded_at)

    def set_max_inactive_interval(
        self, value: int | timedelta | datetime | None, *, persistent: bool | None = None
    ) -> None:
        """Give this session a life of its own, and its cookie the same.

        Args:
            value: The idle time, a `timedelta` or whole seconds; or the `datetime` when the session
                ends, however much it is used. None: as configured for all.
            persistent: Whether the browser keeps the cookie for so long (True, "remember me") or
                until it is closed itself (False). None: as configured for all.
        """
        self._require_writable()
        noted = lifetime_metadata(value, persistent, self.loaded_at)
        self._note(noted)
        self.own_lifetime = lifetime_of(noted.get)

    def mark_anonymous(self, idle: int | None) -> None:
        """Give it the idle time of visitors who are nobody; None takes it back."""
        self._note({meta.MAX_INACTIVE_INTERVAL: idle, meta.ANONYMOUS: idle and 1})
        self.own_lifetime = lifetime_of(self.metadata)

    def get_attribute(self, name: str, default: Any = None) -> Any:
        """Return the attribute's value, or the default if there is none."""
        self.accessed = True
        if self.invalidated:
            raise errors.SessionInvalidatedError
        if name in meta.RESERVED_NAMES:
            return self.loaded_at if name == meta.LAST_ACCESSED else self.metadata(name)
        if self._attributes is None:
            found = self._fragments.get(name)
            if found is None:
                return default
            # Most requests read a text or two: nothing is kept. `read` logs what is unreadable.
            try:
                value = self._codec.decode(found)
            except errors.SessionDecodingError:
                value = _UNREADABLE
            if type(value) in IMMUTABLE:
                return value
        value = self.attributes.read(name)
        if value is None and default is not None and name not in self.attributes:
            return default
        if type(value) not in IMMUTABLE:
            # It may be changed in place.
            self.touched = True
        return value

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute. Of two requests that set the same one, the last to be stored wins.

        The value is encoded at the commit; one that cannot be stored is reported then.

        Raises:
            ReservedAttributeError: The name belongs to the library's metadata.
        """
        if self.invalidated or self.write_refusal is not None:
            self._require_writable()
        if type(name) is not str or name in meta.RESERVED_NAMES:
            meta.require_free(name)
        self.accessed = self.touched = True
        (self._attributes or self.attributes).assign(name, value)

    def update_attribute(self, name: str, function: UpdateFunction) -> Any:
        """Change an attribute by a function of its value; requests that meet lose nothing.

        The function runs at once, on what this request sees, and again at the commit, on what
        another one stored meanwhile; so it should do nothing but compute:
        ``session.update_attribute("visits", lambda n: (n or 0) + 1)``.

        Args:
            name: The attribute.
            function: Synchronous; gets a copy of the value, or None if there is none, and returns
                the new one.

        Raises:
            TypeError: The function is a coroutine function.
        """
        self._require_writable()
        meta.require_free(name)
        return self.attributes.update(name, function)

    def remove_attribute(self, name: str) -> None:
        """Remove an attribute; nothing happens if there is none."""
        self._require_writable()
        meta.require_free(name)
        self.attributes.remove(name)

    def has_attribute(self, name: object) -> bool:
        """Return whether there is such an attribute, be it None."""
        self._require_valid()
        return name in self.attributes

    def attribute_names(self) -> list[str]:
        """List the attributes, names with a leading underscore included."""
        self._require_valid()
        return list(self.attributes)

    def clear(self) -> None:
        """Remove every attribute, internal ones too, and who is logged in; keep the session."""
        self._require_writable()
        if self.principal is not None:
            self.authenticate(None)
        for name in list(self.attributes):
            self.attributes.remove(name)
        # Of a session that nobody has stored there is nothing else to remove.
        self._cleared = self.stored is not None

    @property
    def principal(self) -> str | None:
        """Who the session belongs to, None if nobody is logged in."""
        return self.metadata(meta.PRINCIPAL)  # type: ignore[no-any-return]

    @property
    def has_login(self) -> bool:
        """True if somebody is logged in, be it by the attribute of the original alone."""
        return self.principal is not None or meta.SECURITY_CONTEXT in self.attributes

    @property
    def principal_names(self) -> tuple[str, ...]:
        """By which names the session can be found: its principal's, and aliases of it."""
        return meta.principal_names(self.metadata)

    def authenticate(self, principal: str | None, aliases: Iterable[str] = ()) -> None:
        """Record who logged in just now; `pyfly_session.security.login` does it.

        It is found by the aliases as well; without any, those of a former login of the same
        principal stay.
        """
        self._require_writable()
        self.displaced |= frozenset(self.principal_names)
        former = ids.mask(self.stored.id) if principal and self.stored else None
        aliases = list(aliases)
        if principal is not None and principal == self.principal:
            aliases = aliases or [*self.principal_names[1:]]
        self._note(
            {
                meta.PRINCIPAL: principal,
                meta.PRINCIPAL_ALIASES: (aliases or None) if principal else None,
                meta.AUTHENTICATED_AT: self.loaded_at if principal else None,
                meta.LOGGED_IN_FROM: former,
            }
        )

    def rotate_id(self, new_id: str | None = None) -> None:
        """Give the session a new id and keep its data; the former ids end with the commit.

        Call it at every change of privilege: it is what defeats session fixation. Of two requests
        that change the id the first to be stored wins: the new id is final with the response.

        Args:
            new_id: A fresh one that nobody knows; made here unless given.

        Source: OWASP Session Management Cheat Sheet, "Renew the Session ID After Any
        Privilege Level Change".
        """
        self.require_rotation()
        self.touched = True
        if self.moved:
            return  # Another request gave it a new id, which this one may not learn.
        self._previous_id = self.current_id
        self._id = self._wanted_id = new_id or ids.new_id()
        self.id_is_known = False

    def require_rotation(self) -> None:
        """Raise the error that `rotate_id` would raise."""
        self._require_valid()
        if refusal := self.write_refusal or self.rotation_refusal:
            raise errors.SessionReadOnlyError(refusal)

    def invalidate(self) -> None:
        """End the session: its entry is deleted, its cookie removed, its attributes gone."""
        if self.invalidated:
            return
        self._require_writable()
        self.invalidated = True
        if self._attributes is not None:
            self._attributes.forget()

    def get_data(self) -> dict[str, Any]:
        """Return the session as a dictionary of the caller's own, metadata included."""
        self._require_valid()
        self.touched = True
        metadata = {n: value for n in meta.RARE_NAMES if (value := self.metadata(n)) is not None}
        times = {meta.CREATED_AT: self.created_at, meta.LAST_ACCESSED: self.loaded_at}
        attributes = {name: self.attributes.read(name) for name in list(self.attributes)}
        return {**times, **metadata, **attributes}

    def metadata(self, name: str) -> Any:
        """Return what the session keeps about itself, None where that is absent or unusable."""
        if name in self._noted:
            return self._noted[name]
        return meta.read_one(self._fragments, name, self._codec)

    def forked(self, stored: Stored, change: Change) -> None:
        """Take note that it is stored as a session of its own, under an id that is its own."""
        self._id, self._is_new, self.id_is_known = stored.id, True, False
        self.committed(stored, change)

    def ended(self) -> None:
        """Take note that the store has it no more, under whatever id."""
        self.stored = None
        self._wanted_id = None
        self.touched = self.moved = False

    def change(self, now: float) -> Change:
        """Return what this request did since the last commit, encoded.

        Raises:
            SessionEncodingError: A value cannot be stored.
        """
        delta: Delta = {}
        updates: Mapping[str, Update] = _NOTHING
        if self._attributes is not None:
            delta, updates = self._attributes.changes()
        noted: Delta = {
            name: REMOVED if value is None else Raw(self._codec.encode(name, value))
            for name, value in self._noted.items()
        }
        times = {meta.LAST_ACCESSED: now, meta.VERSION: meta.new_version()}
        change = Change(delta, {**noted, **times}, updates)
        change.noted = self._noted
        if noted or self._wanted_id or self._cleared:
            change.new_id = self._wanted_id if self.rotated else None
            change.principal = self._noted.get(meta.PRINCIPAL)
            change.is_plain = not (self._is_noted or change.new_id)
            change.clears = self._cleared
        if meta.SECURITY_CONTEXT in delta or meta.SECURITY_CONTEXT in updates:
            change.note_login(self._fragments, self._codec)
        change.is_empty = change.is_plain and not (delta or updates or change.clears)
        return change

    def committed(self, stored: Stored, change: Change, *, alone: bool = False) -> None:
        """Take note that the store now holds ``stored``, this request's change included.

        ``alone`` if nothing in it was written by others since this request saw the session.
        """
        self.stored = stored
        noted, self._noted = self._noted, _NOTHING
        if noted is not change.noted:
            # Something was noted while the commit was under way.
            earlier = change.noted
            self._noted = {n: v for n, v in noted.items() if earlier.get(n, ...) is not v}
        self._wanted_id, self.attempt, self._cleared = None, None, False
        self.moved = stored.id != self._id
        # Of a session that became another user's, this request goes on seeing what it loaded.
        before, codec = self.seen, self._codec
        if alone or not self.moved or (before and before.owner(codec)) == stored.owner(codec):
            self.seen = stored
        is_shown, self.touched = self.seen is stored, bool(self._noted)
        if is_shown and not alone:
            self.own_lifetime = lifetime_of(self.metadata)
        if self._attributes is not None:
            shown = partial(stored.taken_apart, codec) if is_shown else None
            self.touched |= self._attributes.committed(change.delta, change.updates, shown)

    @property
    def attributes(self) -> Attributes:
        """The attributes, decoded as far as somebody has read them."""
        attributes = self._attributes
        if attributes is None:
            attributes = self._attributes = Attributes(self._codec, self._fragments)
        return attributes

    @property
    def _fragments(self) -> Mapping[str, Raw]:
        loaded = self.seen
        return _NOTHING if loaded is None else loaded.fragments or loaded.taken_apart(self._codec)

    @property
    def _is_noted(self) -> bool:
        if meta.is_beginning(self._noted):
            # It goes with the first write of a new session, which it is no reason for.
            return self.stored is not None
        return bool(self._noted)

    def _note(self, metadata: Mapping[str, Any]) -> None:
        self._noted = {**self._noted, **metadata}

    def _require_valid(self) -> None:
        self.accessed = True
        if self.invalidated:
            raise errors.SessionInvalidatedError

    def _require_writable(self) -> None:
        self._require_valid()
        if self.write_refusal is not None:
            raise errors.SessionReadOnlyError(self.write_refusal)
        self.touched = True

    def __repr__(self) -> str:
        state = "invalidated" if self.invalidated else "new" if self._is_new else "stored"
        return f"<HttpSession {ids.mask(self.current_id)} {state}>"
