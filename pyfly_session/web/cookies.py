"""The session cookie: what the browser sent, and the header that sets or removes it.

Source: RFC 6265bis, sections 4.1 (syntax, name prefixes) and 5.7 (what a deletion must match).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pyfly_session import ids
from pyfly_session.config import bind_properties

# A browser sends one cookie of a name for each path and domain that set it, so few are
# honest; each costs a look into the store.
MAX_CANDIDATES = 4


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """How the session cookie is named and bounded. HttpOnly always.

    Attributes:
        name: Name of the cookie; the prefixes ``__Host-`` and ``__Secure-`` are checked.
        secure: Sent over HTTPS only.
        path: Path below which it is sent.
        domain: Domain it is sent to, with subdomains; None for this host alone.
        same_site: What requests from other sites carry it.
        partitioned: Kept apart for each top-level site.
        persistent: Kept for the session's idle time; else the browser drops it when it ends.

    Raises:
        ConfigurationError: The attributes contradict each other.
    """

    name: str = "PYFLY_SESSION"
    secure: bool = False
    path: str = "/"
    domain: str | None = None
    same_site: Literal["lax", "strict", "none"] = "lax"
    partitioned: bool = False
    persistent: bool = True
    # Made once, for they go through every request.
    _start: str = field(init=False, repr=False, compare=False)
    _token: bytes = field(init=False, repr=False, compare=False)
    _wanted: re.Pattern[bytes] = field(init=False, repr=False, compare=False)
    _tail: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The same rules as for the properties, told in their names.
        cookie = {
            "secure": self.secure,
            "path": self.path,
            "domain": self.domain,
            "same-site": self.same_site,
            "partitioned": self.partitioned,
            "persistent": self.persistent,
        }
        tree = {"pyfly": {"session": {"cookie-name": self.name, "cookie": cookie}}}
        bound = bind_properties(tree).cookie
        # A text such as "false" has become what it says.
        for name in ("secure", "path", "domain", "same_site", "partitioned", "persistent"):
            object.__setattr__(self, name, getattr(bound, name))
        object.__setattr__(self, "_start", f"{self.name}=")
        object.__setattr__(self, "_token", self.name.encode("latin-1"))
        token = re.escape(self._token)
        wanted = rb'(?:^|;)\s*%s\s*=[\s"]*(%s)[\s"]*(?=;|$)' % (token, ids.ACCEPTABLE.encode())
        object.__setattr__(self, "_wanted", re.compile(wanted))
        object.__setattr__(self, "_tail", self._format_attributes())

    def candidates(self, headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
        """Return the acceptable ids among the request's cookies of this name, in their order.

        What could not be an id never gets to a store.
        """
        found: list[str] = []
        for header, value in headers:
            if header == b"cookie" and self._token in value:
                # The pattern lets through acceptable ids only.
                for content in self._wanted.findall(value):
                    candidate = content.decode("ascii")
                    if candidate not in found and len(found) < MAX_CANDIDATES:
                        found.append(candidate)
        return found

    def issue(self, session_id: str, max_age: int, *, known: bool) -> tuple[bytes, bytes]:
        """Return the ``Set-Cookie`` that gives the browser this id, known or not: it slides."""
        age = f"; Max-Age={max_age}" if self.persistent else ""
        return b"set-cookie", f"{self._start}{session_id}; HttpOnly{age}{self._tail}".encode()

    def expire(self) -> tuple[bytes, bytes]:
        """Return the ``Set-Cookie`` that removes the cookie from the browser."""
        gone = "expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Max-Age=0"
        return b"set-cookie", f'{self.name}=""; {gone}{self._tail}'.encode()

    @property
    def ways(self) -> tuple[tuple[str, str], ...]:
        """How ids travel, and the name of that."""
        return (("cookie", self.name),)

    @property
    def vary(self) -> bytes:
        """The request header that responses depend on."""
        return b"Cookie"

    @property
    def attributes(self) -> dict[str, Any]:
        """Keyword arguments for the ``set_cookie`` and ``delete_cookie`` of a response."""
        arguments: dict[str, Any] = {
            "path": self.path,
            "domain": self.domain,
            "secure": self.secure,
            "httponly": True,
            "samesite": self.same_site,
        }
        # Starlette before Python 3.14 refuses the argument even where it is False.
        return arguments | ({"partitioned": True} if self.partitioned else {})

    def _format_attributes(self) -> str:
        parts = [f"; Path={self.path}", f"; SameSite={self.same_site}"]
        if self.domain:
            parts.append(f"; Domain={self.domain}")
        if self.secure:
            parts.append("; Secure")
        if self.partitioned:
            parts.append("; Partitioned")
        return "".join(parts)


def consider(value: str, found: list[str]) -> None:
    """Add a value that a client sent to the candidates, if it can be an id at all."""
    if len(found) < MAX_CANDIDATES and value not in found and ids.is_acceptable(value):
        found.append(value)
