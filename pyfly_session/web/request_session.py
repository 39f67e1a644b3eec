"""The session as a mapping: what ``request.session`` is, for code written for Starlette."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from pyfly_session.core.session import HttpSession


class _Elsewhere:
    """The only thing that is in the dictionary itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<the attributes of request.session; dict(request.session) has them>"


_ELSEWHERE: Any = _Elsewhere()

if TYPE_CHECKING:
    _Base = dict[str, Any]
else:

    class _Base(MutableMapping, dict):
        """A dict whose every method goes through the five of a mapping, found before its own."""

        __slots__ = ()


class SessionMapping(_Base):
    """A mutable mapping over the attributes of one `HttpSession`; keeps no state of its own.

    Unlike `HttpSession.get_attribute_names` it shows the names with a leading underscore,
    which other libraries use for theirs. The session's own metadata is not in it.

    It is a ``dict``, as Starlette's own is, because libraries ask for one. What looks into a
    dictionary without calling its methods, as compiled serializers do, finds no attributes
    but one key that is no text, and complains: give it ``dict(request.session)``.
    """

    __slots__ = ("_session",)

    def __init__(self, session: HttpSession) -> None:
        self._session = session
        # Without it the json module, too, would take the dictionary for an empty one.
        dict.__setitem__(self, _ELSEWHERE, None)

    @property
    def http_session(self) -> HttpSession:
        """The session that this is a view of."""
        return self._session

    @property
    def accessed(self) -> bool:
        """True if anybody looked at the session, so that the response depends on it."""
        return self._session.accessed

    @property
    def modified(self) -> bool:
        """True if something was done to the session since its last commit."""
        return self._session.pending

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

    def __reversed__(self) -> Iterator[str]:
        """Iterate over the names, the last one first."""
        return reversed(self._session.attribute_names())

    def __ne__(self, other: object) -> bool:
        """Tell whether it differs from another mapping."""
        return not self == other

    def __len__(self) -> int:
        """Count the attributes."""
        return len(self._session.attribute_names())

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the last attribute, or raise KeyError."""
        for name in reversed(self):
            return name, self.pop(name)
        raise KeyError("popitem(): the session has no attributes")

    def clear(self) -> None:
        """Remove every attribute."""
        self._session.clear()

    def copy(self) -> dict[str, Any]:
        """Return the attributes as a dictionary of the caller's own."""
        return dict(self)

    def __reduce__(self) -> Any:
        """Be copied and pickled as a plain dictionary: a session has one request."""
        return dict, (self.copy(),)

    def __or__(self, other: Any) -> Any:
        """Return a new dictionary of both."""
        return self.copy() | other

    def __ror__(self, other: Any) -> Any:
        """Return a new dictionary of both."""
        return other | self.copy()

    def __ior__(self, other: Any) -> Any:
        """Set attributes from another mapping, or from pairs."""
        self.update(other)
        return self

    def mark_accessed(self) -> None:
        """Take note that the response depends on the cookie; Starlette calls it."""
        self._session.mark_accessed()

    def mark_modified(self) -> None:
        """Take note that the response depends on the cookie.

        Nobody has to tell of a value that was changed in place: it is noticed at the commit.
        """
        self._session.mark_accessed()

    def __repr__(self) -> str:
        return f"<SessionMapping of {self._session!r}>"
