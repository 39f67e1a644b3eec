"""The session cookie: what the browser sent, and the header that sets or removes it.

Source: RFC 6265bis, sections 4.1 (syntax, name prefixes), 5.5 (what requests carry a cookie with
SameSite) and 5.7 (what a deletion must match); W3C Fetch Metadata.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import unquote

from pyfly_session import ids
from pyfly_session.errors import ConfigurationError

Header = tuple[bytes, bytes]

# A browser sends one cookie of a name for each path and domain that set it, so few are
# honest; each costs a look into the store.
MAX_CANDIDATES = 4
_AGES = 16

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PATH = re.compile(r"/[^;\x00-\x1f\x7f]*")
_DOMAIN = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_SAFE_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """How the session cookie is named and bounded. HttpOnly always.

    Attributes:
        name: Name of the cookie; the prefixes ``__Host-`` and ``__Secure-`` are checked.
        secure: Sent over HTTPS only. A cookie that is set over HTTPS is so in any case.
        path: Path below which it is sent.
        domain: Domain it is sent to, with subdomains; None for this host alone.
        same_site: What requests from other sites carry it.
        partitioned: Kept apart for each top-level site.
        persistent: Kept for the session's idle time; else the browser drops it when it ends.
        over_https: The same cookie as it is set over HTTPS.

    Raises:
        ConfigurationError: An attribute is not allowed, or some contradict each other.
    """

    name: str = "PYFLY_SESSION"
    secure: bool = False
    path: str = "/"
    domain: str | None = None
    same_site: Literal["lax", "strict", "none"] = "lax"
    partitioned: bool = False
    persistent: bool = True
    # Made once, for they go through every request.
    _bare_name: bytes = field(init=False, repr=False, compare=False)
    _start: bytes = field(init=False, repr=False, compare=False)
    _after: dict[int, bytes] = field(init=False, repr=False, compare=False)
    _find: Callable[[bytes], list[bytes]] = field(init=False, repr=False, compare=False)
    _tail: str = field(init=False, repr=False, compare=False)
    over_https: SessionCookie = field(init=False, repr=False, compare=False)
    _otherwise: SessionCookie | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "_bare_name", self.name.encode())
        object.__setattr__(self, "_start", self._bare_name + b"=")
        object.__setattr__(self, "_after", {})
        token = re.escape(self._bare_name)
        wanted = rb'(?:^|;)\s*%s\s*=[\s"]*(%s)[\s"]*(?=;|$)' % (token, ids.ACCEPTABLE.encode())
        object.__setattr__(self, "_find", re.compile(wanted).findall)
        object.__setattr__(self, "_tail", self._format_attributes())
        object.__setattr__(self, "over_https", self if self.secure else replace(self, secure=True))

    def _check(self) -> None:
        for name in ("secure", "partitioned", "persistent"):
            _require(isinstance(getattr(self, name), bool), name, "must be a bool", self)
        for name, pattern, allowed in (
            ("name", _NAME, "must be letters, digits and any of !#$%&'*+-.^_`|~"),
            ("path", _PATH, "must start with / and hold no semicolon"),
            ("domain", _DOMAIN, "must be a domain name without scheme, port and path"),
        ):
            value = getattr(self, name)
            fits = isinstance(value, str) and pattern.fullmatch(value) is not None
            _require(fits or (name == "domain" and value is None), name, allowed, self)
        allowed = "must be 'lax', 'strict' or 'none'"
        _require(self.same_site in ("lax", "strict", "none"), "same_site", allowed, self)
        if self.same_site == "none":
            _require(self.secure, "secure", "must be True with same_site='none'", self)
        if self.partitioned:
            _require(self.secure, "secure", "must be True for a partitioned cookie", self)
        # Browsers compare the prefixes without regard to case.
        if self.name.lower().startswith(("__host-", "__secure-")):
            _require(self.secure, "secure", f"must be True for the name {self.name}", self)
        if self.name.lower().startswith("__host-"):
            _require(self.path == "/", "path", f"must be '/' for the name {self.name}", self)
            _require(self.domain is None, "domain", f"must be None for the name {self.name}", self)

    def candidates(self, headers: Iterable[Header]) -> list[str]:
        """Return the acceptable ids among the request's cookies of this name, in their order.

        What could not be an id never gets to a store.
        """
        found: list[str] = []
        for header, value in headers:
            if header == b"cookie" and (at := value.find(self._bare_name)) >= 0:
                if at:
                    # Other cookies can be long, and the pattern would be tried at each byte.
                    value = value[max(0, value.rfind(b";", 0, at)) :]
                # The pattern lets through acceptable ids only.
                for content in self._find(value):
                    candidate = content.decode("ascii")
                    if candidate not in found and len(found) < MAX_CANDIDATES:
                        found.append(candidate)
        return found

    def kept(self, persistent: bool) -> SessionCookie:
        """Return the same cookie, kept for the session's idle time or until the browser ends."""
        if persistent == self.persistent:
            return self
        if self._otherwise is None:
            object.__setattr__(self, "_otherwise", replace(self, persistent=persistent))
        return self._otherwise or self

    def may_be_withheld(self, headers: Iterable[Header], method: str) -> bool:
        """Return whether the browser may have a cookie that this request came without.

        A cookie that such a response sets would replace the one that the browser has, so that
        any site could log a visitor out.
        """
        found = dict(headers)
        site = found.get(b"sec-fetch-site")
        if self.same_site == "none" or (site is not None and site != b"cross-site"):
            return False
        is_strict, is_safe = self.same_site == "strict", method in _SAFE_METHODS
        if site is None:
            # Over plain HTTP browsers send the origin alone.
            if is_safe and not is_strict:
                return False
            return is_foreign(found.get(b"origin"), found.get(b"host"))
        # Links to this site carry a lax cookie, whoever's page they are on.
        is_link = (
            is_safe
            and found.get(b"sec-fetch-mode") == b"navigate"
            and found.get(b"sec-fetch-dest") == b"document"
        )
        return is_strict or not is_link

    def covers(self, path: str) -> bool:
        """Return whether browsers send the cookie with requests for a path.

        Source: RFC 6265bis, section 5.1.4.
        """
        if self.path == "/":
            return True
        own = unquote(self.path)
        return path == own or path.startswith(own if own.endswith("/") else f"{own}/")

    def issue(self, session_id: str, max_age: int, *, known: bool) -> Header:
        """Return the ``Set-Cookie`` that gives the browser this id, known or not: it slides."""
        after = self._after.get(max_age)
        if after is None:
            after = self._remember_after(max_age)
        return b"set-cookie", self._start + session_id.encode() + after

    def _remember_after(self, max_age: int) -> bytes:
        """Return what comes behind the id; for few ages, since most sessions live equally long."""
        age = f"; Max-Age={max_age}" if self.persistent else ""
        after = f"; HttpOnly{age}{self._tail}".encode()
        if len(self._after) < _AGES:
            self._after[max_age] = after
        return after

    def expire(self) -> Header:
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


def is_token(name: object) -> bool:
    """Return whether a name may be that of a cookie or header."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def consider(value: str, found: list[str]) -> None:
    """Add a value that a client sent to the candidates, if it can be an id at all."""
    if len(found) < MAX_CANDIDATES and value not in found and ids.is_acceptable(value):
        found.append(value)


def is_foreign(origin: bytes | None, host: bytes | None) -> bool:
    """Return whether an ``Origin`` header is that of a page of another host.

    The scheme is not compared: behind a proxy that ends TLS, that of the request is not the
    page's. Clients that are no browsers send no ``Origin``.
    """
    if origin is None:
        return False
    scheme, _, authority = origin.lower().partition(b"://")
    own = (host or b"").lower()
    return scheme not in (b"http", b"https") or not own or _bare(authority) != _bare(own)


def is_cross_origin(headers: Iterable[Header]) -> bool:
    """Return whether a browser says that a request comes from a page of another origin.

    Source: W3C Fetch Metadata; ``Origin`` for browsers that send none of it, and plain HTTP.
    """
    found = dict(headers)
    site = found.get(b"sec-fetch-site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    return is_foreign(found.get(b"origin"), found.get(b"host"))


def _bare(host: bytes) -> bytes:
    return host.removesuffix(b":443").removesuffix(b":80")


def _require(fits: object, name: str, allowed: str, cookie: SessionCookie) -> None:
    if not fits:
        value = getattr(cookie, name, None)
        raise ConfigurationError(
            f"SessionCookie: {name} {allowed}, got {value!r}", key=name, value=value
        )
