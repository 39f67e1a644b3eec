"""The session as a mapping: what ``request.session`` is, for code written for Starlette."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from typing import TYPE_CHECKING, Any

from pyfly_session.core.metadata import SECURITY_CONTEXT
from pyfly_session.core.session import HttpSession

_logger = logging.getLogger(__name__)


class _Elsewhere:
    """What is in the dictionary as long as the attributes are not."""

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

    It is a ``dict``, as Starlette's own is, because libraries ask for one. From the first
    ``request.session`` on it holds all attributes, for what looks into a dictionary without calling
    its methods, as compiled serializers do. What takes it out of the scope by itself finds one key
    there that is no text, and complains: give it ``dict(scope["session"])``.
    """

    __slots__ = ("__weakref__", "_session", "_shown")

    def __init__(self, session: HttpSession) -> None:
        self._session = session
        self._shown = False
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
        """True if something was done to the session since its last commit.

        Setting it, as Django and Flask want it, is allowed and not needed: what was changed in
        place is found at the commit.
        """
        return self._session.pending

    @modified.setter
    def modified(self, value: bool) -> None:
        self._session.accessed = True

    def __getitem__(self, name: str) -> Any:
        """Return an attribute, or raise KeyError."""
        if self._shown and dict.__contains__(self, name):
            return dict.__getitem__(self, name)
        if name not in self:
            raise KeyError(name)
        return self._session.get_attribute(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or the default."""
        if self._shown and dict.__contains__(self, name):
            return dict.__getitem__(self, name)
        return self._session.get_attribute(name) if name in self else default

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
        session = self._session
        session.accessed = True
        if not self._shown and not session.invalidated:
            self._shown = True
            if session.attributes.show_in(self):
                session.touched = True

    def mark_modified(self) -> None:
        """Take note that the response depends on the cookie.

        Nobody has to tell of a value that was changed in place: it is noticed at the commit.
        """
        self._session.accessed = True

    def __repr__(self) -> str:
        return f"<SessionMapping of {self._session!r}>"


def take_over(session: HttpSession, put: Any, scope: Mapping[str, Any]) -> None:
    """Have a session hold what an application has put in the place of ``request.session``.

    An empty mapping, None and Litestar's ``Empty`` clear it, and log the user out with that, as
    a mapping does that lacks who is logged in.

    Args:
        session: The session.
        put: What the scope holds instead of its mapping.
        scope: That of the request.
    """
    if isinstance(put, SessionMapping) or session.invalidated:
        return  # That of another filter of ours, with sessions of its own; or nothing is left.
    if _is_of_another_middleware(put, scope):
        _warn_of_shadow(type(put).__module__)
        return
    # Litestar's is a class, or the member of an enum.
    if put is None or getattr(put, "__name__", getattr(put, "name", "")) in ("Empty", "EMPTY"):
        put = {}
    if not isinstance(put, Mapping):
        _logger.error("what was put in the place of request.session is no mapping: %r", type(put))
        return
    names = session.attribute_names()
    if session.has_login and put.get(SECURITY_CONTEXT) is None:
        session.clear()
    for name in names:
        if name not in put:
            session.remove_attribute(name)
    for name, value in put.items():
        session.set_attribute(name, value)


def _is_of_another_middleware(put: Any, scope: Mapping[str, Any]) -> bool:
    """Return whether a session is one that other middleware keeps and stores itself."""
    theirs = sys.modules.get("starlette.middleware.sessions")
    if theirs is not None and isinstance(put, getattr(theirs, "Session", dict)):
        return True
    return "session_handler" in scope  # starsessions


@cache
def _warn_of_shadow(module: str) -> None:
    """Log it once: from here on request.session is not ours."""
    _logger.warning(
        "request.session is not that of pyfly_session, because the middleware of %s inside of it"
        " has put its own in its place: what is kept there is in a cookie or store of its own, and"
        " login, logout and limits do not see it; remove that middleware, or keep to"
        " request.state.session",
        module,
    )
