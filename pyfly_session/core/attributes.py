"""`Attributes`: what one request sees of a session's attributes, and what it changed of them."""

from __future__ import annotations

import contextlib
import inspect
import marshal
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from pyfly_session.core.codec import Parts, Raw, SessionCodec, report_lost_attribute
from pyfly_session.core.metadata import RESERVED_NAMES, equal
from pyfly_session.core.shown_values import ShownValues
from pyfly_session.errors import SessionDecodingError, SessionEncodingError, SessionUpdateError


class Removed:
    """Stands for an attribute that was removed."""


REMOVED = Removed()

Delta = dict[str, Any]
"""By name what is to be stored, as `SessionCodec.join` takes it, or `REMOVED`."""

UpdateFunction = Callable[[Any], Any]
"""Gets an attribute's value, or None, and returns the new one. Synchronous; may run again."""

IMMUTABLE = frozenset(
    {str, int, float, bool, type(None), bytes, datetime, date, timedelta, Decimal, UUID}
)
"""A value of one of these types cannot be changed in place: reading it needs no second look."""


class Owner(Protocol):
    """Keeps an attribute as an object that the codec does not know."""

    def plain(self, value: Any) -> Any:
        """Return what is stored of the object.

        Raises:
            SessionEncodingError: It cannot be stored as it is.
        """
        ...


class Update:
    """Functions that a request applied to one attribute, and their result for what it saw.

    Attributes:
        base: What the store held when the first of them ran, None if there was nothing.
        repeatable: False once some of them are stored: the result is not of ``base`` any more.
        functions: In the order in which they ran.
        fragment: The encoded result, for the commit.
        result: The same when the last of them had run, where a change in place is found by that.
    """

    __slots__ = ("base", "fragment", "functions", "repeatable", "result")

    def __init__(self, base: Raw | None) -> None:
        self.base = base
        self.repeatable = True
        self.functions: tuple[UpdateFunction, ...] = ()
        self.fragment = self.result = b""

    def encoded(self, parts: Parts, name: str, codec: SessionCodec) -> Raw:
        """Return the result for what the store holds now; the functions run again if need be.

        Raises:
            SessionUpdateError: One of them failed on what another request had stored.
            SessionEncodingError: The result cannot be stored.
        """
        current = fragment_of(parts, name, codec)
        if self.repeatable and equal(current, self.base):
            return Raw(self.fragment)
        try:
            value = None if current is None else codec.decode(current)
            for function in self.functions:
                value = function(value)
        except Exception as error:
            raise SessionUpdateError(name) from error
        return Raw(codec.encode(name, value))


class Attributes:
    """Attributes decoded when first read, encoded when changed. Owned by one request.

    Args:
        codec: Decodes and encodes them.
        fragments: What the store holds, by name, the metadata included; never changed here.
    """

    __slots__ = ("_assigned", "_codec", "_encoding", "_held", "_live", "_owners", "_seen",
                 "_updates", "_watched")  # fmt: skip

    def __init__(self, codec: SessionCodec, fragments: Mapping[str, Raw]) -> None:
        self._codec = codec
        # As the store held it when this request saw it last; replaced as a whole.
        self._seen: Parts = fragments
        # Decoded by reading or set by this request.
        self._live: dict[str, Any] = {}
        # Set or removed, in this order; removed is what is not live.
        self._assigned: dict[str, None] = {}
        # Committed, or read and of a type that may change in place: with a snapshot.
        self._watched: dict[str, bytes | None] = {}
        # The rest is replaced, never changed in place: most requests need none of it.
        # Values and snapshots of what was encoded last.
        self._encoding: dict[str, tuple[Any, bytes | None]] = _NOTHING
        self._owners: dict[str, Owner] = _NOTHING
        # What the store held of those, before their objects were compared with themselves.
        self._held: dict[str, Raw | None] = _NOTHING
        self._updates: dict[str, Update] = _NOTHING

    def adopt(self, data: Mapping[str, Any], *, as_changes: bool) -> None:
        """Take over plain values; as changes, or as what the store is known to hold."""
        self._live.update(data)
        if as_changes:
            self._assigned.update(dict.fromkeys(data))

    def read(self, name: str) -> Any:
        """Return the value, or None if there is none or it cannot be decoded any more."""
        if name in self._live:
            value = self._live[name]
            if name not in self._seen and name not in self._assigned and name not in self._updates:
                self._remember(name, value)
        elif name in self._seen and name not in self._assigned:
            try:
                value = self._live[name] = self._codec.decode(self._seen[name])
            except SessionDecodingError as error:
                report_lost_attribute(name, error)
                return None
        else:
            return None
        if type(value) not in IMMUTABLE and name not in self._watched:
            self._watched[name] = None if name in self._assigned else snapshot(value)
        return value

    def show_in(self, view: dict[str, Any]) -> bool:
        """Keep all values in another dictionary, too, from now on.

        Returns:
            True if some of them may be changed in place.
        """
        dict.clear(view)
        may_change = False
        for name in list(self):
            value = self.read(name)
            dict.__setitem__(view, name, value)
            may_change = may_change or type(value) not in IMMUTABLE
        self._live = ShownValues(self._live, view)
        return may_change

    def bind(self, name: str, value: Any, owner: Owner) -> None:
        """Have an object stand for an attribute; it is stored if it has changed.

        Changed means: another than now, so an absent attribute may stay absent, and one that
        was stored by an older version of the object stays as it is.
        """
        self._live[name] = value
        self._owners = {**self._owners, name: owner}
        self._watched[name] = None
        if name not in self._assigned:
            self._held = {name: fragment_of(self._seen, name, self._codec), **self._held}
            self._seen = {**self._seen, name: Raw(self._encoded(name))}

    def owner(self, name: str) -> Owner | None:
        """Return whose object stands for an attribute."""
        return self._owners.get(name) if name in self._live else None

    def assign(self, name: str, value: Any) -> None:
        """Set a value."""
        if self._owners or self._updates:
            self._release(name)
        self._live[name] = value
        self._assigned[name] = None

    def update(self, name: str, function: UpdateFunction) -> Any:
        """Apply a function to a value, now and again when it is stored; return the result."""
        owner = self.owner(name)
        value = self.read(name)
        if name in self._watched and self._changed_in_place(name) is not None:
            # That change was none by a function: the whole value is this request's own.
            self._assigned[name] = None
        value = self._applied(name, function, value if owner is None else owner.plain(value))
        base = self._held.get(name, fragment_of(self._seen, name, self._codec))
        update = self._updates.get(name)
        self._release(name)
        self._live[name] = value
        if name not in self._assigned:
            update = update or Update(base)
            update.functions = (*update.functions, function)
            self._updates = {**self._updates, name: update}
            self._watched.pop(name, None)
            update.result = b""
            if type(value) not in IMMUTABLE:
                picture = self._watched[name] = snapshot(value)
                # What no snapshot tells is seen by what would be stored of it.
                update.result = self._encoded(name) if picture is None else b""
        return value

    def _applied(self, name: str, function: UpdateFunction, value: Any) -> Any:
        """Return what a function makes of a copy of a value."""
        if type(value) not in IMMUTABLE:
            value = self._codec.decode(self._codec.encode(name, value))
        return require_no_coroutine(name, function(value))

    def remove(self, name: str) -> None:
        """Remove a value, if it is there."""
        if name in self:
            self._release(name)
            self._live.pop(name, None)
            self._assigned[name] = None

    def forget(self) -> None:
        """Drop everything, changes included."""
        self._seen = self._updates = _NOTHING
        for part in (self._live, self._assigned, self._watched):
            part.clear()

    def __contains__(self, name: object) -> bool:
        """Return whether there is such an attribute, be it None."""
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
        return bool(self._assigned or self._updates) or any(
            self._changed_in_place(name) is not None for name in tuple(self._watched)
        )

    def changes(self) -> tuple[Delta, Mapping[str, Update]]:
        """Encode what was set, removed or changed in place since the last commit, and updated.

        Raises:
            SessionEncodingError: A value cannot be stored.
        """
        delta: Delta = {}
        self._encoding = {}
        for name in self._assigned:
            value = self._live.get(name, REMOVED)
            if type(value) in _AS_THEY_ARE and name not in self._owners:
                delta[name] = value
            else:
                delta[name] = self._plain(name)
                self._note_encoding(name)
        for name in tuple(self._watched):
            if name not in self._assigned:
                fragment = self._changed_in_place(name)
                if fragment is not None:
                    delta[name] = Raw(fragment)
                    self._note_encoding(name)
        if not self._updates:
            return delta, _NOTHING
        updates = {name: update for name, update in self._updates.items() if name not in delta}
        for name, update in updates.items():
            update.fragment = self._encoded(name)
        # Copies: functions that come while the commit is under way wait for the next one.
        return delta, {name: _copy(update) for name, update in updates.items()}

    def committed(
        self,
        delta: Delta,
        updates: Mapping[str, Update],
        stored: Callable[[], Mapping[str, Raw]] | None,
    ) -> bool:
        """Take note that the store now holds what `changes` returned.

        What was set or removed while the commit was under way waits for the next one.

        Args:
            delta: What was set, removed or changed in place.
            updates: What was updated.
            stored: Returns all that is stored now; None if that is not to be seen.

        Returns:
            False if nothing can have changed since.
        """
        for name, part in delta.items():
            now = self._live.get(name, REMOVED)
            value, then = self._encoding.get(name, (part, None))
            if (part is REMOVED) == (now is REMOVED):
                self._assigned.pop(name, None)
            if name in self._updates:
                self._release(name)
            if part is REMOVED or (now is value and type(value) in IMMUTABLE):
                # Nobody set it meanwhile, and nobody can change it in place.
                self._watched.pop(name, None)
            else:
                self._watched[name] = then
        self._seen = laid_over(self._seen, delta)
        for name, update in updates.items():
            fragment = Raw(update.fragment) if stored is None else stored()[name]
            self._updated(name, update, fragment)
        return bool(self._assigned or self._watched or self._updates)

    def _updated(self, name: str, update: Update, fragment: Raw) -> None:
        """Take note that an update is stored; later functions for the name stay."""
        now = self._updates.get(name)
        rest = now.functions[len(update.functions) :] if now is not None else ()
        self._updates = {n: each for n, each in self._updates.items() if n != name}
        self._seen = {**self._seen, name: fragment}
        if rest:
            later = Update(None)
            later.functions, later.repeatable = rest, False
            self._updates[name] = later
        elif name not in self._assigned and bytes(fragment) != update.fragment:
            # What others had stored is in it: the next reader sees that.
            self._live.pop(name, None)
            self._watched.pop(name, None)

    def _remember(self, name: str, value: Any) -> None:
        """Take note how a value that came as plain data is stored, to notice a change in place."""
        if type(value) not in IMMUTABLE:
            try:
                self._seen = {**self._seen, name: Raw(self._codec.encode(name, value))}
            except SessionEncodingError:
                return

    def _note_encoding(self, name: str) -> None:
        """Take note of what is encoded now: it may change until it is stored."""
        value = self._live[name]
        self._encoding[name] = value, None if type(value) in IMMUTABLE else snapshot(value)

    def _plain(self, name: str) -> Any:
        value = self._live[name]
        owner = self._owners.get(name)
        return self._codec.plain(name, value if owner is None else owner.plain(value))

    def _encoded(self, name: str) -> bytes:
        return self._codec.write(name, self._plain(name))

    def _release(self, name: str) -> None:
        """Forget what stood for the value until now."""
        if name in self._owners:
            self._owners = {each: o for each, o in self._owners.items() if each != name}
        if name in self._updates:
            self._updates = {each: u for each, u in self._updates.items() if each != name}

    def _changed_since_update(self, name: str, update: Update) -> bytes | None:
        """Return the fragment of a value that was changed in place after a function's turn."""
        before = self._watched.get(name)
        if before is not None:
            return None if before == snapshot(self._live[name]) else self._encoded(name)
        encoded = self._encoded(name) if update.result else b""
        return None if encoded == update.result else encoded

    def _changed_in_place(self, name: str) -> bytes | None:
        """Return the fragment of a value that is another one than was seen, else None."""
        if name not in self._live:
            return None
        if name in self._updates:
            return self._changed_since_update(name, self._updates[name])
        before = self._watched.get(name)
        if before is not None and name in self._seen and before == snapshot(self._live[name]):
            return None
        found = fragment_of(self._seen, name, self._codec)
        if found is None:
            return self._encoded(name)
        seen = bytes(found)
        try:
            encoded = self._encoded(name)
        except SessionEncodingError:
            if self._is_writable(name, seen):
                raise
            # Somebody else stored it; a request that only reads it must not suffer.
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
        """Return whether what is stored can be written again: it may be nested too deeply."""
        try:
            self._codec.encode(name, self._codec.decode(fragment))
        except (SessionEncodingError, SessionDecodingError):
            return False
        return True


def laid_over(parts: Parts, delta: Delta) -> dict[str, Any]:
    """Return the parts of a session with a delta laid over them; those given stay as they are."""
    laid = {**parts, **delta}
    for name, part in delta.items():
        if part is REMOVED:
            del laid[name]
    return laid


def fragment_of(parts: Parts, name: str, codec: SessionCodec) -> Raw | None:
    """Return one of the parts of a session, encoded; None if it is absent."""
    if name not in parts:
        return None
    part = parts[name]
    return part if type(part) is Raw else Raw(codec.write(name, part))


def require_no_coroutine(name: str, result: Any) -> Any:
    """Return what a function of `Attributes.update` returned; refuse what has to be awaited."""
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError(
            f"update_attribute({name!r}, ...) takes no coroutine function: it runs again when the"
            " session is stored; await what it needs before"
        )
    return result


def snapshot(value: Any) -> bytes | None:
    """Return bytes that differ if the value does, None if it is not of plain data only.

    Plain are lists, dictionaries, tuples, sets, texts, bytes, numbers, bool and None. Unlike ``==``
    a snapshot tells 1 from 1.0 and from True. Two snapshots of equal values may differ, if they
    are made of other objects. Made by `marshal`, which is written in C and follows what holds
    itself; it is never loaded.
    """
    try:
        return marshal.dumps(value)
    except ValueError:
        return None


def _copy(update: Update) -> Update:
    copy = Update(update.base)
    copy.functions, copy.repeatable = update.functions, update.repeatable
    copy.fragment = update.fragment
    return copy


# A float may be one that JSON has no word for.
_AS_THEY_ARE = frozenset({str, int, bool, type(None), Removed})
# Shared, and so never changed.
_NOTHING: dict[str, Any] = {}
