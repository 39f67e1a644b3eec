"""What an operator does to sessions: looks for them and ends them; every end is logged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request

from pyfly_session import ids
from pyfly_session.core.metadata import PRINCIPAL
from pyfly_session.core.session import HttpSession
from pyfly_session.management.session_lookup import Found, Lookup, is_handle, shortened

PAGE_SIZE = 50
# What a page may take, and what it may take if an operator wants all to be looked at.
_PATIENCE, _LONG_PATIENCE = 0.7, 60.0


class Refusal(Exception):  # noqa: N818 - an answer to the operator, no fault of the program
    """Something that is not done; the message tells the operator why.

    Attributes:
        status: The status of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def status_of(error: Exception) -> int:
    """Return the status of the answer where something was not done: 503 if the store failed."""
    return error.status if isinstance(error, Refusal) else 503


class Operations:
    """The sessions of a container, for one request of an operator.

    Args:
        container: The container.
        request: The request, with the operator's own session if there is one.
    """

    def __init__(self, container: Any, request: Request) -> None:
        self._lookup = Lookup(container)
        own = getattr(request.state, "session", None)
        live = isinstance(own, HttpSession) and not own.invalidated
        self._own: HttpSession | None = own if live else None
        # A guard that knows its operators by something else says who it is.
        self.operator = getattr(request.state, "operator", None) or (
            self._own.get_attribute(PRINCIPAL) if self._own is not None else None
        )

    async def overview(
        self, prefix: str = "", *, visitors: bool = False, number: int = 1, whole: bool = False
    ) -> dict[str, Any] | None:
        """Return a page of all sessions and their totals, or None if the store cannot tell.

        Args:
            prefix: How the names of the users begin.
            visitors: Those of nobody, too.
            number: Which page, from 1.
            whole: Look at all sessions, however long that takes.
        """
        patience = _LONG_PATIENCE if whole else _PATIENCE
        told = await self._lookup.page(
            prefix, visitors=visitors, number=number, size=PAGE_SIZE, patience=patience
        )
        if told is None:
            return None
        page, found = told
        return {
            "sessions": [self.summary(each) for each in found],
            "page": number,
            "pages": max(1, -(-page.matching // PAGE_SIZE)),
            "matching": page.matching,
            "total": page.total,
            "logged_in": page.logged_in,
            "complete": page.complete,
            "problem": page.problem,
        }

    async def of_principal(self, principal: str) -> list[dict[str, Any]]:
        """Return the sessions of a user, the oldest login first; their ids are not told."""
        found = await self._lookup.of_principal(_named(principal))
        return [self.summary(each) for each in found]

    def summary(self, found: Found) -> dict[str, Any]:
        """Return what a session is; ``own`` if it is the operator's."""
        return {**found.summary(), "own": found.handle == self._own_handle()}

    async def one(self, principal: str, handle: str) -> Found:
        """Return the session of a user that a handle, or its first digits, stand for.

        Raises:
            Refusal: There is none, or more than one.
        """
        if not is_handle(handle):
            raise Refusal(
                400,
                f"a handle has 4 to 10 hex digits, and {shortened(handle)} is none;"
                " an id belongs into a body, never into an address",
            )
        found = await self._lookup.matching(handle, _named(principal))
        if not found:
            raise Refusal(404, f"{principal} has no session {handle}")
        if len(found) > 1:
            handles = ", ".join(each.handle for each in found)
            raise Refusal(409, f"{handle} could be any of {handles}; give more of it")
        return found[0]

    async def by_id(self, session_id: str) -> Found:
        """Return the session of an id, whoever it belongs to.

        Raises:
            Refusal: There is none.
        """
        session_id = session_id.strip()
        if not ids.is_acceptable(session_id):
            raise Refusal(400, "an id consists of letters, digits and ._~-")
        found = await self._lookup.by_id(session_id)
        if found is None:
            hint = "; a handle needs the name of the user" if is_handle(session_id) else ""
            raise Refusal(404, f"there is no session {shortened(session_id)}{hint}")
        return found

    async def end(self, found: Found) -> None:
        """End one session.

        Raises:
            Refusal: It ended meanwhile.
        """
        if not await self._lookup.end(found, by=self.operator):
            raise Refusal(404, f"the session {found.handle} has ended by itself")

    async def end_several(self, picked: Iterable[tuple[str, str]]) -> list[str]:
        """End sessions by user and handle; return the handles of those that were there."""
        ended = []
        for principal, handle in picked:
            try:
                found = await self.one(principal, handle)
            except Refusal as refusal:
                if refusal.status != 404:
                    raise
                continue
            if await self._lookup.end(found, by=self.operator):
                ended.append(found.handle)
        return ended

    async def end_all(self, principal: str, *, keep_own: bool) -> int:
        """End all sessions of a user, but the operator's own if it shall go on.

        Raises:
            Refusal: There is no session of the operator's to keep.
        """
        if keep_own and self._own is None:
            raise Refusal(409, "there is no session of yours to keep: this request has none")
        keep = self._own if keep_own else None
        return await self._lookup.end_all(_named(principal), by=self.operator, keep=keep)

    def _own_handle(self) -> str | None:
        return None if self._own is None else self._lookup.handle_of(self._own.id)


def _named(principal: str) -> str:
    if not principal:
        raise Refusal(400, "say whose sessions: principal is missing")
    return principal
