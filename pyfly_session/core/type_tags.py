"""Type tags: how values that JSON has no word for are written and rebuilt.

A tagged value is an object with the key ``__pyfly_type__``. Built-in types carry their
content under ``value``; a dataclass carries its fields inline, as the original writes them;
an enum carries its member's ``name``. A dictionary of the user's that happens to contain the
tag key is itself tagged (``dict``), so that nobody can forge a type by storing one.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import logging
import math
import typing
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

TYPE_KEY = "__pyfly_type__"

_logger = logging.getLogger(__name__)
_PLAIN = frozenset({str, int, bool, type(None)})


class Unencodable(Exception):  # noqa: N818 - internal signal, turned into SessionEncodingError
    """A value has no stored form; ``path`` collects where it sits, innermost first."""

    def __init__(self, type_name: str, reason: str) -> None:
        super().__init__(reason)
        self.type_name = type_name
        self.reason = reason
        self.path: list[str] = []


class TypeRegistry:
    """An allowlist of dataclasses and enums, and the walk that applies the tags.

    Args:
        parent: A registry that is asked where this one does not know a type.
    """

    def __init__(self, parent: TypeRegistry | None = None) -> None:
        self._parent = parent
        self._by_tag: dict[str, type] = {}
        self._tags: dict[type, str] = {}

    def allow(self, cls: type, *, tag: str | None = None) -> None:
        """Allow a dataclass or enum; the tag given first is the one that is written."""
        if not (dataclasses.is_dataclass(cls) or issubclass(cls, enum.Enum)):
            raise TypeError(f"only a dataclass or an enum can be a session type, got {cls!r}")
        tag = tag or f"{cls.__module__}:{cls.__qualname__}"
        if tag in _READERS or tag == "dict":
            raise ValueError(f"the tag {tag!r} is that of a built-in type; choose another")
        self._by_tag[tag] = cls
        self._tags.setdefault(cls, tag)

    def write_as(self, cls: type, tag: str) -> None:
        """Allow a class and write it under this tag from now on."""
        self.allow(cls, tag=tag)
        self._tags[cls] = tag

    def tag_of(self, cls: type) -> str | None:
        """Return the tag a class is written under, or None if it is not allowed."""
        return self._tags.get(cls) or (self._parent.tag_of(cls) if self._parent else None)

    def type_of(self, tag: str) -> type | None:
        """Return the class behind a tag, or None if the tag is not allowed."""
        return self._by_tag.get(tag) or (self._parent.type_of(tag) if self._parent else None)

    def to_plain(self, value: Any) -> Any:
        """Return a structure that JSON can say; shares what needs no change.

        Raises:
            Unencodable: Some part of the value has no stored form.
        """
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is float:
            return value if math.isfinite(value) else _tagged("float", repr(value))
        if kind is list or kind is tuple:
            return [self._item(item, index) for index, item in enumerate(value)]
        if kind is dict:
            return self._mapping(value)
        writer = _WRITERS.get(kind)
        if writer is not None:
            return _tagged(kind.__name__, writer(value))
        if kind is set or kind is frozenset:
            return _tagged(kind.__name__, [self.to_plain(item) for item in value])
        return self._other(value, kind)

    def _item(self, value: Any, key: object) -> Any:
        if type(value) in _PLAIN:
            return value
        try:
            return self.to_plain(value)
        except Unencodable as refusal:
            refusal.path.append(f"[{key!r}]")
            raise

    def _mapping(self, value: dict[Any, Any]) -> Any:
        plain = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise Unencodable(
                    type(key).__qualname__,
                    f"dictionary keys must be str, got {key!r} of type {type(key).__qualname__};"
                    " JSON would turn it into a string",
                )
            plain[key] = self._item(item, key)
        if TYPE_KEY in plain:
            return _tagged("dict", [[key, item] for key, item in plain.items()])
        return plain

    def _other(self, value: Any, kind: type) -> Any:
        tag = self.tag_of(kind)
        is_dataclass = dataclasses.is_dataclass(kind)
        if tag is None and (is_dataclass or isinstance(value, enum.Enum)):
            raise Unencodable(
                kind.__qualname__,
                f"{kind.__module__}.{kind.__qualname__} is not an allowed session type;"
                f" call pyfly_session.allow_session_type({kind.__name__}) at start-up",
            )
        if tag is not None and is_dataclass:
            fields = {
                field.name: self._item(getattr(value, field.name), field.name)
                for field in dataclasses.fields(value)
            }
            return {**fields, TYPE_KEY: tag}
        if tag is not None and isinstance(value, enum.Flag):
            # A combination of members has no name to look it up by.
            return {TYPE_KEY: tag, "value": value.value}
        if tag is not None:
            return {TYPE_KEY: tag, "name": value.name}
        for base, writer in _WRITERS.items():
            if isinstance(value, base):
                return _tagged(base.__name__, writer(value))
        for base, convert in _BASES.items():
            if isinstance(value, base):
                return self.to_plain(convert(value))
        name = f"{kind.__module__}.{kind.__qualname__}"
        if hasattr(kind, "model_dump"):
            raise Unencodable(
                kind.__qualname__,
                f"a value of type {name} cannot be stored as it is; a pydantic model goes through"
                ' pyfly_session.fastapi.Stored, or becomes plain data by model_dump(mode="json")',
            )
        raise Unencodable(
            kind.__qualname__,
            f"a value of type {name} cannot be stored; store plain data, or a dataclass allowed"
            " with pyfly_session.allow_session_type",
        )

    def from_plain(self, value: Any) -> Any:
        """Rebuild what `to_plain` wrote; a tag that is not allowed gives a plain dict."""
        if isinstance(value, list):
            return [self.from_plain(item) for item in value]
        if not isinstance(value, dict):
            return value
        tag = value.pop(TYPE_KEY, None)
        if tag == "dict":
            return {_text(key): self.from_plain(item) for key, item in value["value"]}
        plain = {key: self.from_plain(item) for key, item in value.items()}
        if tag is None:
            return plain
        reader = _READERS.get(tag) if isinstance(tag, str) else None
        if reader is not None and plain.keys() == {"value"}:
            return reader(plain["value"])
        cls = self.type_of(tag) if isinstance(tag, str) else None
        if cls is None:
            _logger.warning("session type %.80r is not allowed and comes back as a dict", tag)
            return plain
        if issubclass(cls, enum.Enum):
            return cls[plain["name"]] if "name" in plain else cls(plain["value"])
        return _build_dataclass(cls, plain)


def _build_dataclass(cls: type, stored: dict[str, Any]) -> Any:
    """Build from what is there: fields of a newer node are ignored, missing ones default."""
    arguments: dict[str, Any] = {}
    afterwards: dict[str, Any] = {}
    tuples = _tuple_fields(cls)
    for field in dataclasses.fields(cls):
        if field.name in stored:
            value = stored[field.name]
            if field.name in tuples and isinstance(value, list):
                value = tuple(value)
            (arguments if field.init else afterwards)[field.name] = value
    instance = cls(**arguments)
    for name, value in afterwards.items():
        object.__setattr__(instance, name, value)
    return instance


def _tuple_fields(cls: type) -> frozenset[str]:
    """Name the fields that are annotated as tuples: JSON only has lists."""
    try:
        hints = typing.get_type_hints(cls)
    except (NameError, TypeError):
        return frozenset()
    return frozenset(
        name for name, hint in hints.items() if hint is tuple or typing.get_origin(hint) is tuple
    )


def _text(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"dictionary keys must be str, got {key!r}")
    return key


def _hashable(item: Any) -> Any:
    """Turn what was a tuple before it became JSON into one again."""
    return tuple(map(_hashable, item)) if isinstance(item, list) else item


def _tagged(tag: str, value: Any) -> dict[str, Any]:
    return {TYPE_KEY: tag, "value": value}


_WRITERS: dict[type, Callable[[Any], Any]] = {
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    uuid.UUID: str,
    Decimal: str,
    bytes: lambda value: base64.b64encode(value).decode("ascii"),
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda value: timedelta(*value),
    "UUID": uuid.UUID,
    "Decimal": Decimal,
    "bytes": lambda value: base64.b64decode(value, validate=True),
    "set": lambda value: set(map(_hashable, value)),
    "frozenset": lambda value: frozenset(map(_hashable, value)),
    "float": float,
}
# Subclasses of plain types are stored as what they extend; bool and enums came earlier.
_BASES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    dict: dict,
    list: list,
    tuple: tuple,
}
