"""What one request sees of a session's attributes, and what it changed of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from pyfly_session.core.codec import Raw, SessionCodec, report_lost_attribute
from pyfly_session.core.metadata import RESERVED_NAMES
from pyfly_session.core.pictures import picture
from pyfly_session.errors import SessionDecodingError, SessionEncodingError

Delta = dict[str, bytes | None]
"""Attribute name to encoded fragment, or to None if the attribute was removed."""


def applied(delta: Delta, fragments: Mapping[str, Raw]) -> dict[str, Raw]:
    """Return a session's fragments with a delta laid over them; those given stay as they are."""
    result = dict(fragments)
    for name, fragment in delta.items():
        if fragment is None:
            result.pop(name, None)
        else:
            result[name] = Raw(fragment)
    return result


# A value of one of these cannot be changed in place, so reading it needs no second look.
_IMMUTABLE = frozenset(
    {str, int, float, bool, type(None), bytes, datetime, date, timedelta, Decimal, UUID}
)


class Owner(Protocol):
    """Keeps an attribute as an object that the codec does not know."""

    def plain(self, value: Any) -> Any:
        """Return what is stored of the object.

        Raises:
            SessionEncodingError: It cannot be stored as it is.
        """
        ...


class Attributes:
    """Attributes decoded when first read, encoded when changed. Owned by one request.

    Args:
        codec: Decodes and encodes them.
        fragments: What the store holds, by name, the metadata included; never changed here.
    """

    __slots__ = ("_assigned", "_codec", "_encoding", "_live", "_owners", "_seen", "_watched")

    def __init__(self, codec: SessionCodec, fragments: Mapping[str, Raw]) -> None:
        self._codec = codec
        # As the store held it when this request saw it last, still encoded; replaced as a whole.
        self._seen = fragments
        # Decoded by reading or set by this request.
        self._live: dict[str, Any] = {}
        # Set or removed, in this order; removed is what is not live.
        self._assigned: dict[str, None] = {}
        # Committed, or read and of a type that may change in place: with a picture of how it was.
        self._watched: dict[str, bytes | None] = {}
        # Values and pictures of what was encoded last.
        self._encoding: dict[str, tuple[Any, bytes | None]] = _NOTHING
        # Never changed, but replaced: most requests have none.
        self._owners: dict[str, Owner] = _NOTHING

    def adopt(self, data: Mapping[str, Any], *, as_changes: bool) -> None:
        """Take over plain values; as changes, or as what the store is known to hold."""
        self._live.update(data)
        if as_changes:
            self._assigned.update(dict.fromkeys(data))

    def read(self, name: str) -> Any:
        """Return the value, or None if there is none or it cannot be decoded any more."""
        if name in self._live:
            value = self._live[name]
            if name not in self._seen and name not in self._assigned:
                self._remember(name, value)
        elif name in self._seen and name not in self._assigned:
            try:
                value = self._live[name] = self._codec.decode(self._seen[name])
            except SessionDecodingError as error:
                report_lost_attribute(name, error)
                return None
        else:
            return None
        if type(value) not in _IMMUTABLE and name not in self._watched:
            self._watched[name] = None if name in self._assigned else picture(value)
        return value

    def bind(self, name: str, value: Any, owner: Owner) -> None:
        """Have an object stand for an attribute; it is stored if it has changed.

        Changed means: another than now, so an absent attribute may stay absent, and one that
        was stored by an older version of the object stays as it is.
        """
        self._live[name] = value
        self._owners = {**self._owners, name: owner}
        self._watched[name] = None
        if name not in self._assigned:
            self._seen = {**self._seen, name: Raw(self._encoded(name))}

    def owner(self, name: str) -> Owner | None:
        """Return whose object stands for an attribute."""
        return self._owners.get(name) if name in self._live else None

    def assign(self, name: str, value: Any) -> None:
        """Set a value."""
        self._release(name)
        self._live[name] = value
        self._assigned[name] = None

    def remove(self, name: str) -> None:
        """Remove a value, if it is there."""
        if name in self:
            self._release(name)
            self._live.pop(name, None)
            self._assigned[name] = None

    def forget(self) -> None:
        """Drop everything, changes included."""
        self._seen = _NOTHING
        for part in (self._live, self._assigned, self._watched):
            part.clear()

    def __contains__(self, name: object) -> bool:
        """Tell whether there is such an attribute, be it None."""
        return name in self._live or (
            name in self._seen and name not in self._assigned and name not in RESERVED_NAMES
        )

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, the oldest first, whatever was read meanwhile."""
        for name in self._seen:
            if name in self._live or (name not in self._assigned and name not in RESERVED_NAMES):
                yield name
        for name in self._live:
            if name not in self._seen:
                yield name

    @property
    def changed(self) -> bool:
        """True if anything was set, removed or changed in place since the last commit."""
        return bool(self._assigned) or any(
            self._changed_in_place(name) is not None for name in tuple(self._watched)
        )

    def changes(self) -> Delta:
        """Encode what was changed since the last commit.

        Raises:
            SessionEncodingError: A value cannot be stored.
        """
        delta: Delta = {}
        self._encoding = {}
        for name in self._assigned:
            delta[name] = self._encoded(name) if name in self._live else None
        for name in tuple(self._watched):
            if name not in self._assigned:
                fragment = self._changed_in_place(name)
                if fragment is not None:
                    delta[name] = fragment
        for name, fragment in delta.items():
            if fragment is not None:
                # It may change until it is stored.
                value = self._live[name]
                self._encoding[name] = value, None if type(value) in _IMMUTABLE else picture(value)
        return delta

    def committed(self, delta: Delta, fragments: Mapping[str, Raw] | None) -> None:
        """Take note that the store now holds what `changes` returned.

        What was set or removed while the commit was under way waits for the next one.

        Args:
            delta: What was stored; metadata in it is passed over.
            fragments: What was seen before with the delta applied, if somebody has it at hand.
        """
        for name, fragment in delta.items():
            if name in RESERVED_NAMES:
                continue
            if (fragment is None) == (name not in self._live):
                self._assigned.pop(name, None)
            value, then = self._encoding.get(name, _UNKNOWN)
            if fragment is None or (
                type(value) in _IMMUTABLE and self._live.get(name, ...) is value
            ):
                # Nobody set it meanwhile, and nobody can change it in place.
                self._watched.pop(name, None)
            else:
                self._watched[name] = then
        self._seen = applied(delta, self._seen) if fragments is None else fragments

    def _remember(self, name: str, value: Any) -> None:
        """Take note how a value that came as plain data is stored, to notice a change in place."""
        if type(value) not in _IMMUTABLE:
            try:
                self._seen = {**self._seen, name: Raw(self._codec.encode(name, value))}
            except SessionEncodingError:
                return

    def _encoded(self, name: str) -> bytes:
        value = self._live[name]
        owner = self._owners.get(name)
        return self._codec.encode(name, value if owner is None else owner.plain(value))

    def _release(self, name: str) -> None:
        if name in self._owners:
            self._owners = {each: o for each, o in self._owners.items() if each != name}

    def _changed_in_place(self, name: str) -> bytes | None:
        """Return the fragment of a value that is another one than was seen, else None."""
        if name not in self._live:
            return None
        if name not in self._seen:
            return self._encoded(name)
        before = self._watched[name]
        if before is not None and before == picture(self._live[name]):
            return None
        seen = bytes(self._seen[name])
        try:
            encoded = self._encoded(name)
        except SessionEncodingError:
            if self._is_writable(name, seen):
                raise
            # Somebody else stored it; who only reads it must not suffer.
            return None
        if encoded == seen:
            return None
        if before is None:
            with contextlib.suppress(SessionDecodingError):
                # Another writer may have formatted the same value differently.
                if encoded == self._codec.encode(name, self._codec.decode(seen)):
                    return None
        return encoded

    def _is_writable(self, name: str, fragment: bytes) -> bool:
        """Tell whether what is stored can be written again: it may be nested too deeply."""
        try:
            self._codec.encode(name, self._codec.decode(fragment))
        except (SessionEncodingError, SessionDecodingError):
            return False
        return True


# Shared, and so never changed.
_NOTHING: dict[str, Any] = {}
_UNKNOWN: tuple[Any, None] = ..., None
