"""What an operator does to sessions: looks for them and ends them; every end is logged."""

from __future__ import annotations

import logging
from typing import Any

from starlette.requests import Request

from pyfly_session import ids
from pyfly_session.core.metadata import PRINCIPAL
from pyfly_session.core.session import HttpSession
from pyfly_session.management.session_lookup import Found, Lookup, is_handle, shortened

_logger = logging.getLogger(__name__)


class Refusal(Exception):  # noqa: N818 - an answer to the operator, no fault of the program
    """Something that is not done; the message tells the operator why.

    Attributes:
        status: The status of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


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
        self.operator = self._own.get_attribute(PRINCIPAL) if self._own is not None else None

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
        if not await self._lookup.end(found):
            raise Refusal(404, f"the session {found.handle} has ended by itself")
        _logger.info(
            "session #%s of %r was ended by %r", found.handle, found.principal, self.operator
        )

    async def end_all(self, principal: str, *, keep_own: bool) -> int:
        """End all sessions of a user, but the operator's own if it shall go on.

        Raises:
            Refusal: There is no session of the operator's to keep.
        """
        if keep_own and self._own is None:
            raise Refusal(409, "there is no session of yours to keep: this request has none")
        keep = self._own if keep_own else None
        ended = await self._lookup.end_all(_named(principal), keep=keep)
        _logger.info("%d sessions of %r were ended by %r", ended, principal, self.operator)
        return ended

    def _own_handle(self) -> str | None:
        return None if self._own is None else self._lookup.handle_of(self._own.id)


def _named(principal: str) -> str:
    if not principal:
        raise Refusal(400, "say whose sessions: principal is missing")
    return principal
