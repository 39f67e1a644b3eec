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
import ipaddress
import logging
import math
import uuid
from collections import deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import msgspec

from pyfly_session.core.annotated_shapes import field_shapes

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
        is_known = dataclasses.is_dataclass(cls) or issubclass(cls, enum.Enum)
        if not (is_known or _is_model(cls)):
            raise TypeError(
                f"only a dataclass, an enum or a pydantic model can be a session type, got {cls!r}"
            )
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
        if kind is datetime or kind is time:
            return _zoned(value)
        writer = _WRITERS.get(kind)
        if writer is not None:
            return _tagged(kind.__name__, writer(value))
        if kind is set or kind is frozenset:
            return _tagged(kind.__name__, [self.to_plain(item) for item in value])
        if kind is deque:
            return _tagged("deque", [[self.to_plain(item) for item in value], value.maxlen])
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
        plain = {key: self._item(item, key) for key, item in value.items()}
        if all(type(key) is str for key in plain) and TYPE_KEY not in plain:
            return plain
        # JSON has no other keys than texts.
        return _tagged("dict", [[self._item(key, key), item] for key, item in plain.items()])

    def _other(self, value: Any, kind: type) -> Any:
        tag = self.tag_of(kind)
        if tag is not None:
            return self._content(value, kind, tag)
        if (
            dataclasses.is_dataclass(kind)
            or isinstance(value, enum.Enum)
            or _is_model(kind)
            or kind.__module__.partition(".")[0] == "numpy"
        ):
            raise _refusal(kind)
        if isinstance(value, datetime | time):
            return _zoned(value)
        for base, writer in _WRITERS.items():
            if isinstance(value, base):
                return _tagged(base.__name__, writer(value))
        for base, convert in _BASES.items():
            if isinstance(value, base):
                return self.to_plain(convert(value))
        raise _refusal(kind)

    def _content(self, value: Any, kind: type, tag: str) -> dict[str, Any]:
        """Return what is stored of a value of an allowed type."""
        if _is_model(kind):
            try:
                dumped = value.model_dump(mode="json", by_alias=True, round_trip=True)
            except ValueError as error:
                raise Unencodable(kind.__qualname__, str(error)) from None
            return {TYPE_KEY: tag, "value": self.to_plain(dumped)}
        if dataclasses.is_dataclass(value):
            fields = {
                field.name: self._item(getattr(value, field.name), field.name)
                for field in dataclasses.fields(value)
            }
            return {**fields, TYPE_KEY: tag}
        if isinstance(value, enum.Flag):
            # A combination of members has no name to look it up by.
            return {TYPE_KEY: tag, "value": value.value}
        return {TYPE_KEY: tag, "name": value.name}

    def from_plain(self, value: Any) -> Any:
        """Rebuild what `to_plain` wrote; a tag that is not allowed gives a plain dict."""
        if isinstance(value, list):
            return [self.from_plain(item) for item in value]
        if not isinstance(value, dict):
            return value
        tag = value.pop(TYPE_KEY, None)
        if tag == "dict":
            pairs = ((self.from_plain(key), self.from_plain(item)) for key, item in value["value"])
            return {_hashable(key): item for key, item in pairs}
        plain = {key: self.from_plain(item) for key, item in value.items()}
        if tag is None:
            return plain
        reader = _READERS.get(tag) if isinstance(tag, str) else None
        if reader is not None and "value" in plain and plain.keys() <= _OF_READERS:
            return reader(plain["value"]) if len(plain) == 1 else _in_zone(reader, plain)
        cls = self.type_of(tag) if isinstance(tag, str) else None
        if cls is None:
            _logger.warning("session type %.80r is not allowed and comes back as a dict", tag)
            return plain
        if _is_model(cls):
            return cls.model_validate_json(msgspec.json.encode(plain["value"]))  # type: ignore[attr-defined]
        if issubclass(cls, enum.Enum):
            return cls[plain["name"]] if "name" in plain else cls(plain["value"])
        return _build_dataclass(cls, plain)


def _build_dataclass(cls: type, stored: dict[str, Any]) -> Any:
    """Build from what is there: fields of a newer node are ignored, missing ones default."""
    arguments: dict[str, Any] = {}
    afterwards: dict[str, Any] = {}
    shapes = field_shapes(cls)
    for field in dataclasses.fields(cls):
        if field.name in stored:
            value = stored[field.name]
            if field.name in shapes:
                value = shapes[field.name](value)
            (arguments if field.init else afterwards)[field.name] = value
    instance = cls(**arguments)
    for name, value in afterwards.items():
        object.__setattr__(instance, name, value)
    return instance


def _refusal(kind: type) -> Unencodable:
    """Say why a value of a type cannot be stored, and what to do."""
    name, own = f"{kind.__module__}.{kind.__qualname__}", kind.__qualname__
    if name.startswith("numpy."):
        why = f"a value of type {name} cannot be stored; call its item(), or tolist() for an array"
    elif not (dataclasses.is_dataclass(kind) or issubclass(kind, enum.Enum) or _is_model(kind)):
        why = (
            f"a value of type {name} cannot be stored; store plain data, or a dataclass allowed"
            " with pyfly_session.allow_session_type"
        )
    else:
        why = (
            f"{name} is not an allowed session type; call"
            f" pyfly_session.allow_session_type({kind.__name__}) at start-up"
        )
        why += ", or keep it with pyfly_session.fastapi.Stored" if _is_model(kind) else ""
    return Unencodable(own, why)


def _is_model(cls: type) -> bool:
    """Return whether a class is a model of pydantic, which is not imported here."""
    return hasattr(cls, "model_validate_json") and hasattr(cls, "model_dump")


def _zoned(value: datetime | time) -> dict[str, Any]:
    """Write a time with what ISO 8601 has no word for: the name of its zone, and its fold."""
    tag = "datetime" if isinstance(value, datetime) else "time"
    plain = _tagged(tag, value.isoformat())
    zone = value.tzinfo
    # Here, and not with all the others: it is a tenth of the time that the package takes to import.
    from zoneinfo import ZoneInfo

    if isinstance(zone, ZoneInfo) and zone.key is not None:
        plain["zone"] = zone.key
    elif zone is not None and value.utcoffset() is None:
        name = type(zone).__qualname__
        raise Unencodable(tag, f"its zone, a {name}, cannot be stored; use zoneinfo.ZoneInfo")
    if value.fold:
        plain["fold"] = 1
    return plain


def _in_zone(reader: Callable[[Any], Any], plain: dict[str, Any]) -> Any:
    """Read what `_zoned` wrote; where a zone is not known, a date keeps its offset."""
    value = reader(plain["value"]).replace(fold=1 if plain.get("fold") == 1 else 0)
    if "zone" not in plain:
        return value
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return value.replace(tzinfo=ZoneInfo(plain["zone"]))
    except ZoneInfoNotFoundError:
        if isinstance(value, time):
            raise
        _logger.warning("the time zone %.80r is not known here; its offset is kept", plain["zone"])
        return value


def _hashable(item: Any) -> Any:
    """Turn what was a tuple before it became JSON into one again."""
    return tuple(map(_hashable, item)) if isinstance(item, list) else item


def _tagged(tag: str, value: Any) -> dict[str, Any]:
    return {TYPE_KEY: tag, "value": value}


_ADDRESSES: tuple[type, ...] = (
    *(ipaddress.IPv4Address, ipaddress.IPv4Network, ipaddress.IPv4Interface),
    *(ipaddress.IPv6Address, ipaddress.IPv6Network, ipaddress.IPv6Interface),
)
_PATHS = (Path, PurePosixPath, PureWindowsPath)
_WRITERS: dict[type, Callable[[Any], Any]] = {
    date: date.isoformat,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    uuid.UUID: str,
    Decimal: str,
    bytes: lambda value: base64.b64encode(value).decode("ascii"),
    **dict.fromkeys(_ADDRESSES, str),
    # The first that fits counts, and a Path is one of the others as well.
    **dict.fromkeys(_PATHS, str),
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
    "deque": lambda value: deque(*value),
    **{each.__name__: each for each in (*_ADDRESSES, *_PATHS)},
}
_OF_READERS = {"value", "zone", "fold"}
# Subclasses of plain types are stored as what they extend; bool and enums came earlier.
_BASES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    dict: dict,
    list: list,
    tuple: tuple,
}
