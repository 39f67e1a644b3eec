"""Sessions as an operator looks for them: by id, or by a part of a handle and a user."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyfly_session import ids
from pyfly_session.config.masking import mask_url, masked
from pyfly_session.core.hashed_ids import HashedIdStore
from pyfly_session.core.metadata import (
    AUTHENTICATED_AT,
    CREATED_AT,
    LAST_ACCESSED,
    PRINCIPAL,
    RESERVED_NAMES,
)
from pyfly_session.core.overview import SessionOverview, SessionPage
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.errors import SessionStoreError
from pyfly_session.management.secret_names import names_secret
from pyfly_session.security.login import CLIENT, PROVIDER_LOGIN

_audit = logging.getLogger("pyfly_session.audit")
SHORTEST_HANDLE = 4
_HANDLE = re.compile(rf"#?[0-9a-f]{{{SHORTEST_HANDLE},10}}")


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
        last_used: Unix time of the last request with it; None where that was not looked at, as
            are the next two.
        ends_at: Of its end, if nobody uses it.
        size: Of its encoded form, in bytes.
    """

    session_id: str
    principal: str | None
    created_at: float | None
    logged_in_at: float | None
    last_accessed: float | None
    attributes: Mapping[str, Any]
    last_used: float | None = None
    ends_at: float | None = None
    size: int | None = None

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
            "login": self._login(),
            "last_used": _moment(self.last_used),
            "last_accessed": _moment(self.last_accessed),
            "ends_at": _moment(self.ends_at),
            "size": "" if self.size is None else str(self.size),
            "created_at": _moment(self.created_at),
            "address": self._client("address"),
            "browser": self._client("browser"),
        }
        return {**texts, "id": str(self.session_id)} if full_id else texts

    def _login(self) -> str:
        """Return who vouched for the user: a provider, or the application itself."""
        told = self.attributes.get(PROVIDER_LOGIN)
        provider = told.get("registration_id") if isinstance(told, Mapping) else None
        return str(provider or "form") if self.principal else ""

    def _client(self, name: str) -> str:
        told = self.attributes.get(CLIENT)
        return str(told.get(name, "")) if isinstance(told, Mapping) else ""

    def contents(self, *, values: bool) -> dict[str, Any]:
        """Return the attributes with their types, or with their values; secrets are masked."""
        if values:
            return {name: shown_value(name, value) for name, value in self.attributes.items()}
        return {name: type(value).__name__ for name, value in self.attributes.items()}


class Lookup:
    """Finds and ends sessions in the store of a container."""

    def __init__(self, container: Any) -> None:
        hashing = container.properties().hash_ids
        self._principals = container.principal_sessions()
        self._store = (HashedIdStore if hashing else CapableStore)(container.session_store())
        properties = container.properties()
        self._overview = SessionOverview(
            self._store,
            idle=properties.ttl,
            max_lifetime=properties.max_lifetime,
            clock=container.clock(),
        )

    async def page(self, prefix: str, **options: Any) -> tuple[SessionPage, list[Found]] | None:
        """Return a page of all sessions, by `SessionOverview.page`; None if nobody can tell."""
        page = await self._overview.page(prefix, **options)
        if page is None:
            return None
        try:
            found = await asyncio.gather(*(self._found(each.session_id) for each in page.sessions))
        except SessionStoreError as error:
            page.problem, found = str(error), []
        return page, [
            dataclasses.replace(one, last_used=each.last_used, ends_at=each.ends_at, size=each.size)
            for each, one in zip(page.sessions, found, strict=False)
            if one is not None
        ]

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
            or (len(handle) >= SHORTEST_HANDLE and each.handle.startswith(handle))
        ]

    async def by_id(self, given: str) -> Found | None:
        """Return the session of an acceptable id, whoever it belongs to, None if there is none."""
        # Under hashing, what an operator has may be the id or what the store knows it as.
        for session_id in (self._store.key_of(given), self._store.recall(given)):
            found = await self._found(session_id)
            if found is not None:
                return found
        return None

    async def _found(self, session_id: str) -> Found | None:
        data = await self._store.get(session_id)
        if data is None:
            return None
        principal = data.get(PRINCIPAL)
        return Found(
            session_id,
            principal if isinstance(principal, str) else None,
            data.get(CREATED_AT),
            data.get(AUTHENTICATED_AT),
            data.get(LAST_ACCESSED),
            {name: each for name, each in data.items() if name not in RESERVED_NAMES},
        )

    def handle_of(self, session_id: str) -> str:
        """Return the handle of the session of an id."""
        return ids.mask(self._store.key_of(session_id)).removeprefix("#")

    async def end(self, found: Found, *, by: object) -> bool:
        """End one session on behalf of an operator; False if it ended meanwhile."""
        ended = bool(await self._principals.end(found.session_id))
        if ended:
            _audit.info("session #%s of %r was ended by %r", found.handle, found.principal, by)
        return ended

    async def end_all(
        self,
        principal: str,
        *,
        by: object,
        keep: Any = None,
        told: Callable[[], object] | None = None,
    ) -> int:
        """End all sessions of a user but ``keep``, telling of each; return how many there were."""
        ended = int(await self._principals.end_all(principal, keep=keep, told=told))
        _audit.info("%d sessions of %r were ended by %r", ended, principal, by)
        return ended


def is_handle(given: str) -> bool:
    """Return whether a text looks like a handle, or like enough of one."""
    return _HANDLE.fullmatch(given) is not None


def shortened(given: str) -> str:
    """Return what was given as far as it is no secret: a full id opens a session."""
    return given if is_handle(given) else ids.mask(given)


def _moment(seconds: float | None) -> str:
    """Return a Unix time as ISO 8601 in UTC, empty if there is none."""
    try:
        moment = datetime.fromtimestamp(seconds or 0, UTC)
        return moment.isoformat(timespec="seconds") if seconds else ""
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def shown_value(name: str, value: Any) -> Any:
    """Return a value for JSON, without what is named like a secret."""
    if names_secret(name):
        return masked(value, secret=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    elif hasattr(type(value), "model_fields"):  # of pydantic
        value = {each: getattr(value, each, None) for each in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): shown_value(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset | deque):
        return [shown_value("", each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return mask_url(value, names_secret)
    return value if isinstance(value, int | float) or value is None else str(value)
