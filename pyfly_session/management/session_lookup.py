"""Sessions as an operator looks for them: by id, or by a part of a handle and a user."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyfly_session import ids
from pyfly_session.config.masking import masked, names_secret
from pyfly_session.core.hashed_ids import HashedIdStore
from pyfly_session.core.metadata import (
    AUTHENTICATED_AT,
    CREATED_AT,
    LAST_ACCESSED,
    PRINCIPAL,
    RESERVED_NAMES,
)
from pyfly_session.core.store_capabilities import CapableStore

_SHORTEST_HANDLE = 4
_HANDLE = re.compile(rf"#?[0-9a-f]{{{_SHORTEST_HANDLE},10}}")


@dataclass(frozen=True, slots=True)
class Found:
    """One session that was found.

    Attributes:
        session_id: Its id, as the store takes it.
        principal: Whose it is, or None.
        created_at: Unix time of its creation, in seconds, or None.
        logged_in_at: Of the login.
        last_accessed: Of the last write.
        attributes: What is stored in it.
    """

    session_id: str
    principal: str | None
    created_at: float | None
    logged_in_at: float | None
    last_accessed: float | None
    attributes: Mapping[str, Any]

    @property
    def handle(self) -> str:
        """What stands for the id where it is shown: the hash of log lines, without its #."""
        return ids.mask(self.session_id).removeprefix("#")

    def summary(self, *, full_id: bool = False) -> dict[str, str]:
        """Return what a session is without its attributes, as texts."""
        texts = {
            "handle": self.handle,
            "principal": self.principal or "",
            "logged_in_at": _moment(self.logged_in_at),
            "last_accessed": _moment(self.last_accessed),
            "created_at": _moment(self.created_at),
        }
        return {**texts, "id": str(self.session_id)} if full_id else texts

    def contents(self, *, values: bool) -> dict[str, Any]:
        """Return the attributes with their types, or with their values; secrets are masked."""
        if values:
            return {name: _shown(name, value) for name, value in self.attributes.items()}
        return {name: type(value).__name__ for name, value in self.attributes.items()}


class Lookup:
    """Finds and ends sessions in the store of a container."""

    def __init__(self, container: Any) -> None:
        hashing = container.properties().hash_ids
        self._principals = container.principal_sessions()
        self._store = (HashedIdStore if hashing else CapableStore)(container.session_store())

    async def of_principal(self, principal: str) -> list[Found]:
        """Return the sessions of a user, the oldest login first."""
        return [
            Found(
                each.session_id,
                each.principal,
                each.created_at,
                each.logged_in_at,
                each.last_accessed,
                each.attributes,
            )
            for each in await self._principals.find_by_principal(principal)
        ]

    async def matching(self, given: str, principal: str) -> list[Found]:
        """Return those sessions of a user whose id is given, or whose handle begins so."""
        handle = given.removeprefix("#")
        return [
            each
            for each in await self.of_principal(principal)
            if given == each.session_id
            or (len(handle) >= _SHORTEST_HANDLE and each.handle.startswith(handle))
        ]

    async def by_id(self, given: str) -> Found | None:
        """Return the session of an acceptable id, whoever it belongs to, None if there is none."""
        # Under hashing, what an operator has may be the id or what the store knows it as.
        for session_id in (self._store.key_of(given), self._store.recall(given)):
            data = await self._store.get(session_id)
            if data is not None:
                principal = data.get(PRINCIPAL)
                return Found(
                    session_id,
                    principal if isinstance(principal, str) else None,
                    data.get(CREATED_AT),
                    data.get(AUTHENTICATED_AT),
                    data.get(LAST_ACCESSED),
                    {name: each for name, each in data.items() if name not in RESERVED_NAMES},
                )
        return None

    def handle_of(self, session_id: str) -> str:
        """Return the handle of the session of an id."""
        return ids.mask(self._store.key_of(session_id)).removeprefix("#")

    async def end(self, found: Found) -> bool:
        """End one session; False if it ended meanwhile."""
        return bool(await self._principals.end(found.session_id))

    async def end_all(self, principal: str, *, keep: Any = None) -> int:
        """End all sessions of a user but ``keep``, and return how many there were."""
        return int(await self._principals.end_all(principal, keep=keep))


def is_handle(given: str) -> bool:
    """Tell whether a text looks like a handle, or like enough of one."""
    return _HANDLE.fullmatch(given) is not None


def shortened(given: str) -> str:
    """Return what was given as far as it is no secret: a full id opens a session."""
    return given if is_handle(given) else ids.mask(given)


def _moment(seconds: float | None) -> str:
    """Return a Unix time as ISO 8601 in UTC, empty if there is none."""
    try:
        return (
            datetime.fromtimestamp(seconds or 0, UTC).isoformat(timespec="seconds")
            if seconds
            else ""
        )
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def _shown(name: str, value: Any) -> Any:
    """Return a value for JSON, without what is named like a secret."""
    if names_secret(name):
        return masked(value, secret=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _shown(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown("", each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str | int | float | bool) or value is None:
        return masked(value)
    return str(value)
