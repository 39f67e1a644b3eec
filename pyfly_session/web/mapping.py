"""The session as a mapping: what ``request.session`` is, for code written for Starlette."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from pyfly_session.session import HttpSession


class SessionMapping(MutableMapping[str, Any]):
    """A mutable mapping over the attributes of one `HttpSession`; keeps no state of its own.

    Unlike `HttpSession.get_attribute_names` it shows the names with a leading underscore,
    which other libraries use for theirs. The session's own metadata is not in it.
    """

    __slots__ = ("_session",)

    def __init__(self, session: HttpSession) -> None:
        self._session = session

    def __getitem__(self, name: str) -> Any:
        """Return an attribute, or raise KeyError."""
        if name not in self:
            raise KeyError(name)
        return self._session.get_attribute(name)

    def __setitem__(self, name: str, value: Any) -> None:
        """Set an attribute."""
        self._session.set_attribute(name, value)

    def __delitem__(self, name: str) -> None:
        """Remove an attribute, or raise KeyError."""
        if name not in self:
            raise KeyError(name)
        self._session.remove_attribute(name)

    def __contains__(self, name: object) -> bool:
        """Tell whether the attribute is there."""
        return self._session.has_attribute(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of all attributes."""
        return iter(self._session.attribute_names())

    def __len__(self) -> int:
        """Count the attributes."""
        return len(self._session.attribute_names())

    def clear(self) -> None:
        """Remove every attribute."""
        self._session.clear()

    def mark_accessed(self) -> None:
        """Take note that the response depends on the cookie; Starlette calls it."""
        self._session.mark_accessed()

    def __repr__(self) -> str:
        return f"<SessionMapping of {self._session!r}>"
