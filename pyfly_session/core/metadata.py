"""The metadata that a session keeps about itself, under reserved names beside the attributes."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from pyfly_session.core.codec import Raw, SessionCodec
from pyfly_session.core.type_tags import TYPE_KEY
from pyfly_session.errors import ReservedAttributeError, SessionDecodingError

CREATED_AT = "_created_at"
LAST_ACCESSED = "_last_accessed"
# Another one with every write: two requests that make the same change do not write the same bytes.
VERSION = "_version"
MAX_INACTIVE_INTERVAL = "_max_inactive_interval"
ENDS_AT = "_ends_at"
COOKIE_PERSISTENT = "_cookie_persistent"
# 1 if the idle time is that of visitors who are nobody.
ANONYMOUS = "_anonymous"
PRINCIPAL = "_principal"
PRINCIPAL_ALIASES = "_principal_aliases"
AUTHENTICATED_AT = "_authenticated_at"
# The mask of the id that the login replaced: tells a second press of the button from a second user.
LOGGED_IN_FROM = "_logged_in_from"
SECURITY_CONTEXT = "SECURITY_CONTEXT"
"""The attribute that tells who is logged in, and what they may do; the original's name."""

RESERVED_NAMES = frozenset(
    {
        CREATED_AT,
        LAST_ACCESSED,
        VERSION,
        MAX_INACTIVE_INTERVAL,
        ENDS_AT,
        COOKIE_PERSISTENT,
        ANONYMOUS,
        PRINCIPAL,
        PRINCIPAL_ALIASES,
        AUTHENTICATED_AT,
        LOGGED_IN_FROM,
        TYPE_KEY,
    }
)


def require_free(name: object) -> None:
    """Refuse an attribute name that is no string or belongs to the metadata."""
    if not isinstance(name, str):
        raise TypeError(f"an attribute name must be str, got {name!r}")
    if name in RESERVED_NAMES:
        raise ReservedAttributeError(name)


def check_times(fragments: Mapping[str, Raw]) -> bool:
    """Check the two times that every session has; return whether it has that of its creation.

    Raises:
        SessionDecodingError: They are no times.
    """
    try:
        created = _decode_time(fragments[CREATED_AT]) if CREATED_AT in fragments else 0.0
        accessed = _decode_time(fragments[LAST_ACCESSED]) if LAST_ACCESSED in fragments else 0.0
    except ValueError as error:
        raise SessionDecodingError(f"a stored time is unusable: {error}") from error
    if not (-1e12 < created < 1e12 and -1e12 < accessed < 1e12):
        raise SessionDecodingError("a stored time is unusable: it is not within 31,000 years")
    return CREATED_AT in fragments


def read_metadata(fragments: Mapping[str, Raw], codec: SessionCodec, *names: str) -> dict[str, Any]:
    """Decode the metadata among a stored session's fragments.

    Args:
        fragments: Those of the session.
        codec: Decodes them.
        names: Which metadata; all of it unless given.

    Raises:
        SessionDecodingError: Some of it is not what it can be.
    """
    metadata: dict[str, Any] = {}
    for name in names or _IS_VALID:
        if name in fragments:
            value = codec.decode(fragments[name])
            if not _IS_VALID[name](value):
                raise SessionDecodingError(f"the stored metadata {name} is unusable: {value!r:.40}")
            metadata[name] = value
    return metadata


def read_one(fragments: Mapping[str, Raw], name: str, codec: SessionCodec) -> Any:
    """Return one of a stored session's metadata, None where it is absent or unusable."""
    if name not in fragments:
        return None
    try:
        return read_metadata(fragments, codec, name)[name]
    except SessionDecodingError:
        # Another program has written it since the session was loaded.
        return None


Owner = tuple[str | None, str | None]
"""Whose a session is: its principal, and the user whom `SECURITY_CONTEXT` names."""


def owner_of(fragments: Mapping[str, Raw], codec: SessionCodec) -> Owner | None:
    """Return whose a stored session is, None for nobody's."""
    principal: str | None = read_one(fragments, PRINCIPAL, codec)
    context = fragments.get(SECURITY_CONTEXT)
    user = None if context is None else user_in(context)
    if principal is not None:
        # What an application keeps there beside it says nothing of who that is.
        user = user or None
    return None if principal is None and user is None else (principal, user)


def user_in(context: bytes) -> str | None:
    """Return the user in an encoded `SECURITY_CONTEXT`: None for nobody, "" for one without id."""
    try:
        plain = msgspec.json.decode(context)
    except msgspec.DecodeError:
        return ""
    if not isinstance(plain, dict) or "user_id" not in plain:
        return None if plain is None else ""
    return str(plain["user_id"]) if plain["user_id"] else None


def principal_names(metadata: Callable[[str], Any]) -> tuple[str, ...]:
    """Return by which names a session of this metadata can be found: its principal's, and more."""
    principal = metadata(PRINCIPAL)
    if not isinstance(principal, str):
        return ()
    return (principal, *(metadata(PRINCIPAL_ALIASES) or ()))


def is_beginning(metadata: Mapping[str, Any]) -> bool:
    """Return whether this is no more than each new session has, be it of the application."""
    return CREATED_AT in metadata and (
        len(metadata) == 1 or (len(metadata) == 3 and metadata.get(ANONYMOUS) == 1)
    )


def is_interval(value: object) -> bool:
    """Tell whether a value is a whole number of seconds, at least 1."""
    return type(value) is int and 1 <= value < 2**31


def _is_timestamp(value: object) -> bool:
    return type(value) in (int, float) and -1e12 < value < 1e12  # type: ignore[operator]


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


encode_time = msgspec.json.encode
"""Encodes a Unix time in seconds."""

# A decoder of one type only is the fastest there is.
_decode_time = msgspec.json.Decoder(float).decode
_IS_VALID: dict[str, Callable[[Any], bool]] = {
    CREATED_AT: _is_timestamp,
    LAST_ACCESSED: _is_timestamp,
    AUTHENTICATED_AT: _is_timestamp,
    MAX_INACTIVE_INTERVAL: is_interval,
    ENDS_AT: _is_timestamp,
    COOKIE_PERSISTENT: lambda value: isinstance(value, bool),
    ANONYMOUS: lambda value: type(value) is int,
    PRINCIPAL: lambda value: isinstance(value, str),
    LOGGED_IN_FROM: lambda value: isinstance(value, str),
    PRINCIPAL_ALIASES: _are_names,
}
_versions: Iterator[int]


def _begin_versions() -> None:
    """Count from where no other process does."""
    global _versions
    _versions = itertools.count(secrets.randbits(63))


def new_version() -> str:
    """Return a version that no write has had before."""
    return f"{next(_versions):x}"


_begin_versions()
os.register_at_fork(after_in_child=_begin_versions)

RARE_NAMES = frozenset(_IS_VALID) - {CREATED_AT, LAST_ACCESSED}
"""Metadata that few sessions have."""
# The idle time of its own among the first bytes, where a script looks for it.
_FIRST_NAMES = (CREATED_AT, LAST_ACCESSED, VERSION, MAX_INACTIVE_INTERVAL)
METADATA_NAMES = (*_FIRST_NAMES, *sorted(RARE_NAMES - {MAX_INACTIVE_INTERVAL}))
"""All metadata, in the order in which it begins the stored form."""


def equal(one: Raw | None, other: Raw | None) -> bool:
    """Return whether two stored values, or their absence, are the same."""
    if one is None or other is None:
        return one is other
    return one is other or bytes(one) == bytes(other)
