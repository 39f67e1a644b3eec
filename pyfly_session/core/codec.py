"""Sessions as JSON: one object on the wire, one encoded fragment per attribute in memory.

A stored session is one JSON object. `SessionCodec.split` takes it apart at the top level
only, so that an attribute is decoded when somebody reads it and encoded when somebody
changed it; all others travel as the bytes they came as. What plain JSON cannot say is
tagged (see `pyfly_session.core.type_tags`); only allowlisted types are ever rebuilt.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from pyfly_session.core.type_tags import TYPE_KEY, TypeRegistry, Unencodable
from pyfly_session.errors import SessionDecodingError, SessionEncodingError

Raw = msgspec.Raw
Parts = Mapping[str, Any]
"""By name what is stored: encoded, or as `SessionCodec.plain` returns it."""
T = TypeVar("T", bound=type)

_logger = logging.getLogger(__name__)
_TYPE_KEY_BYTES = TYPE_KEY.encode()
_encode = msgspec.json.encode
_decode = msgspec.json.decode
_split = msgspec.json.Decoder(dict[str, Raw]).decode


class SessionCodec:
    """Encodes and decodes sessions; stateless but for its allowlist, shared freely.

    Args:
        types: Dataclasses and enums that may be stored and rebuilt, besides those that
            were allowed for every codec with `allow_session_type`.
    """

    deterministic = True
    """Whether equal sessions have equal stored forms."""

    def __init__(self, types: Iterable[type] = ()) -> None:
        self._registry = TypeRegistry(parent=_SHARED_TYPES)
        for cls in types:
            self._registry.allow(cls)

    def encode(self, name: str, value: Any) -> bytes:
        """Return the JSON fragment of one attribute.

        Raises:
            SessionEncodingError: Some part of the value cannot be stored; the error names
                the attribute, the place inside it and the type.
        """
        return self.write(name, self.plain(name, value))

    def plain(self, name: str, value: Any) -> Any:
        """Return what JSON takes for the value of an attribute; raises as `encode` does.

        It shares nothing with the value that could change.
        """
        try:
            return self._registry.to_plain(value)
        except Unencodable as refusal:
            path = "".join(reversed(refusal.path))
            raise SessionEncodingError(name, path, refusal.type_name, refusal.reason) from None
        except RecursionError:
            raise SessionEncodingError(
                name, "", type(value).__qualname__, "the value is nested too deeply or holds itself"
            ) from None

    def write(self, name: str, plain: Any) -> bytes:
        """Return the fragment of what `plain` returned; raises as `encode` does."""
        try:
            return _write(plain)
        except ValueError as refusal:
            # An integer of more digits than Python is willing to print.
            raise SessionEncodingError(name, "", type(plain).__qualname__, str(refusal)) from None

    def decode(self, fragment: bytes | Raw) -> Any:
        """Return the value of one fragment, always a fresh object.

        Raises:
            SessionDecodingError: The fragment is not JSON, or an allowlisted type refuses
                the fields that were stored for it.
        """
        try:
            value = _decode(fragment)
        except RecursionError:
            raise SessionDecodingError("the stored value is nested too deeply") from None
        except ValueError:
            value = _lenient(fragment)
        if type(value) not in _SCALARS and _TYPE_KEY_BYTES in bytes(fragment):
            try:
                return self._registry.from_plain(value)
            except Exception as error:
                raise SessionDecodingError(f"a typed value cannot be rebuilt: {error}") from error
        return value

    def split(self, payload: bytes) -> dict[str, Raw]:
        """Take a stored session apart into fragments, without decoding them.

        Raises:
            SessionDecodingError: The bytes are not one JSON object.
        """
        try:
            fragments = _split(payload)
        except RecursionError:
            raise SessionDecodingError("the stored session is nested too deeply") from None
        except ValueError as error:
            value = _lenient(payload)
            if not isinstance(value, dict):
                raise SessionDecodingError("the stored session is not a JSON object") from error
            fragments = {name: Raw(json.dumps(part).encode()) for name, part in value.items()}
        # Only an attribute's value can be typed; a tag on the session itself is a forgery.
        fragments.pop(TYPE_KEY, None)
        return fragments

    def join(self, parts: Parts) -> bytes:
        """Return the stored form of a session, the inverse of `split`.

        Raises:
            SessionEncodingError: As `encode`.
        """
        try:
            return _encode(parts)
        except ValueError:
            # One of them is odd, or has to be named.
            pairs = (
                json.dumps(name).encode() + b":" + self.write(name, part)
                for name, part in parts.items()
            )
            return b"{" + b",".join(pairs) + b"}"

    def dumps(self, data: Mapping[str, Any]) -> bytes:
        """Return the stored form of a plain session dictionary."""
        return self.join({name: self.plain(name, value) for name, value in data.items()})

    def loads(self, payload: bytes) -> dict[str, Any]:
        """Return the plain session dictionary of a stored form.

        An attribute that cannot be rebuilt is left out, with a warning in the log.

        Raises:
            SessionDecodingError: The bytes are not one JSON object.
        """
        data = {}
        for name, fragment in self.split(payload).items():
            try:
                data[name] = self.decode(fragment)
            except SessionDecodingError as error:
                report_lost_attribute(name, error)
        return data

    def allow(self, cls: type, *, tag: str | None = None, write: bool = False) -> None:
        """Let this codec store and rebuild a dataclass or enum; see `allow_session_type`."""
        _allow(self._registry, cls, tag, write=write)


def allow_session_type(cls: T, *, tag: str | None = None, write: bool = False) -> T:
    """Let every codec store and rebuild a class of yours. Usable as a class decorator.

    Call it once at start-up, on every node that reads the sessions. The class is never
    imported because stored data names it: only what was allowed here is rebuilt.

    Args:
        cls: A dataclass, an enum or a pydantic model.
        tag: What marks its values on the wire, ``module:qualname`` of the class if not
            given. A class that has moved is allowed a second time under its former tag.
        write: Mark the values with this tag from now on, though the class has another.

    Raises:
        TypeError: The class is none of these.
    """
    _allow(_SHARED_TYPES, cls, tag, write=write)
    return cls


def _allow(registry: TypeRegistry, cls: type, tag: str | None, *, write: bool) -> None:
    if write and tag is not None:
        registry.write_as(cls, tag)
    else:
        registry.allow(cls, tag=tag)


def report_lost_attribute(name: str, error: SessionDecodingError) -> None:
    """Log that a stored attribute is treated as absent."""
    _logger.warning("session attribute %r is treated as absent: %s", name, error)


def _write(plain: Any) -> bytes:
    try:
        return _encode(plain)
    except UnicodeEncodeError:
        # A lone surrogate: no UTF-8 for it, but JSON can spell it as an escape.
        return json.dumps(plain, separators=(",", ":")).encode()


def _lenient(source: bytes | Raw) -> Any:
    """Decode what the strict decoder refuses but the json module of the original wrote.

    That is ``NaN``, infinities and escaped lone surrogates.
    """
    try:
        return json.loads(bytes(source))
    except (ValueError, RecursionError) as error:
        raise SessionDecodingError(f"the stored value is not JSON: {error}") from error


_SCALARS = frozenset({str, int, float, bool, type(None)})
_SHARED_TYPES = TypeRegistry()
DEFAULT_CODEC = SessionCodec()
