"""How a request tells its session id, and how the response tells it back.

Source: Spring Session's ``HttpSessionIdResolver``, with the cookie as one way of several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from pyfly_session.errors import ConfigurationError
from pyfly_session.web.cookies import Header, consider, is_token

_TAKEN = frozenset({
    "accept", "authorization", "cache-control", "connection", "content-length", "content-type",
    "cookie", "date", "host", "location", "origin", "set-cookie", "te", "trailer",
    "transfer-encoding", "upgrade", "vary",
})  # fmt: skip


class SessionIdResolver(Protocol):
    """One way in which ids travel. Shared by all requests; keeps nothing of them.

    `SessionCookie` and `SessionHeader` are two; one of your own is any object with these. If it
    has an attribute ``ways`` besides, pairs such as ``("header", "X-Auth-Token")``, the OpenAPI
    document tells them, and OpenTelemetry counts what comes there and cannot be an id. If it does
    something else over HTTPS, an attribute ``over_https`` is the resolver that is used there. If a
    client can hold an id back, as browsers do with cookies on requests from other sites, a method
    ``may_be_withheld(headers, method)`` returns whether it may have done so; such a request gets a
    session that is not saved. So does a request for a path that a method ``covers(path)`` says that
    clients never send their id with. If clients can keep an id for so long or only until they are
    closed, a method ``kept(persistent)`` returns the resolver that has them do so.
    """

    @property
    def vary(self) -> bytes:
        """The request headers that it reads, as the response header ``Vary`` names them."""
        ...

    def candidates(self, headers: Iterable[Header]) -> list[str]:
        """Return what the request offers as its id, the first that is known to the store wins.

        Only what `pyfly_session.ids.is_acceptable` allows, and few: each costs a look.

        Args:
            headers: As in an ASGI scope, names in lower case.
        """
        ...

    def issue(self, session_id: str, max_age: int, *, known: bool) -> Header | None:
        """Return the response header that gives the client this id, or None for none.

        Args:
            session_id: The id of a session that is stored.
            max_age: Seconds that it lives from now if nobody uses it.
            known: The request came with this id.
        """
        ...

    def expire(self) -> Header:
        """Return the response header that tells the client that its session has ended."""
        ...


class SessionHeader:
    """The id in a header, for clients that are no browsers; never sets a cookie.

    The response carries the id when the client does not have it yet: a new session, or one
    with another id. It carries the header empty when the session ended.

    Args:
        name: Of the header, in requests and responses.

    Raises:
        ConfigurationError: The name is none, or that of a header with a meaning in HTTP.
    """

    def __init__(self, name: str = "X-Auth-Token") -> None:
        if not is_token(name) or name.lower() in _TAKEN:
            raise ConfigurationError(
                "SessionHeader: name must be letters, digits and any of !#$%&'*+-.^_`|~, and no"
                f" header with a meaning in HTTP, got {name!r}",
                key="name",
                value=name,
            )
        self.name = name
        self.ways = (("header", self.name),)
        self.vary = self.name.encode()
        # Servers and HTTP/2 want the names of headers in lower case.
        self._wanted = self.name.lower().encode()
        self._ended = (self._wanted, b"")

    def candidates(self, headers: Iterable[Header]) -> list[str]:
        """Return the acceptable ids of the request's headers of this name."""
        found: list[str] = []
        for name, value in headers:
            if name == self._wanted:
                consider(value.decode("latin-1").strip(), found)
        return found

    def issue(self, session_id: str, max_age: int, *, known: bool) -> Header | None:
        """Return the header with the id, unless the client sent this id itself."""
        return None if known else (self._wanted, session_id.encode())

    def expire(self) -> Header:
        """Return the header with nothing in it."""
        return self._ended


class SessionIdResolvers:
    """Several ways at once: the first with an acceptable id counts, and is answered on.

    A client that brings no id gets one the first way.

    Args:
        ways: The resolvers in the order in which they are asked.
    """

    def __init__(self, *ways: SessionIdResolver) -> None:
        self._ways = tuple(require_resolver(way) for way in ways)
        if not ways:
            raise ConfigurationError("there must be at least one way, got none", key=_KEY)
        self.ways = tuple(each for way in ways for each in getattr(way, "ways", ()))
        self.vary = b", ".join(dict.fromkeys(way.vary for way in ways))

    def of_request(self, headers: Iterable[Header]) -> SessionIdResolver:
        """Return the way that a request with these headers came."""
        headers = list(headers)
        return next((way for way in self._ways if way.candidates(headers)), self._ways[0])

    def candidates(self, headers: Iterable[Header]) -> list[str]:
        """Return the candidates of the first way that has any."""
        headers = list(headers)
        return self.of_request(headers).candidates(headers)

    def issue(self, session_id: str, max_age: int, *, known: bool) -> Header | None:
        """Give a client the id that did not tell which way it prefers."""
        return self._ways[0].issue(session_id, max_age, known=known)

    def expire(self) -> Header:
        """Take the id back from such a client."""
        return self._ways[0].expire()


_KEY = "pyfly.session.resolver"


def require_resolver(candidate: Any) -> SessionIdResolver:
    """Return the candidate if it has all of a `SessionIdResolver`.

    Raises:
        ConfigurationError: It is a class, or something is missing.
    """
    name = candidate.__name__ if isinstance(candidate, type) else type(candidate).__name__
    if isinstance(candidate, type):
        problem = f"must be an instance, got the class {name}; call it: {name}(...)"
        raise ConfigurationError(f"a session id resolver {problem}", key=_KEY)
    for member in ("candidates", "issue", "expire", "vary"):
        if not hasattr(candidate, member):
            problem = f"needs candidates, issue, expire and vary, and {name} has no {member!r}"
            raise ConfigurationError(f"a session id resolver {problem}", key=_KEY)
    resolver: SessionIdResolver = candidate
    return resolver


def headers_of(request: Any) -> Iterable[Header]:
    """Return the raw headers of a request, be it none of Starlette's.

    A request of another kind may offer ``headers`` and ``cookies``, as mappings.
    """
    scope = getattr(request, "scope", None)
    if isinstance(scope, dict):
        headers: Iterable[Header] = scope.get("headers", ())
        return headers
    given: Mapping[str, Any] = getattr(request, "headers", {})
    cookies: Mapping[str, Any] = getattr(request, "cookies", {})
    found = [(name.lower(), value) for name, value in given.items() if name.lower() != "cookie"]
    found += [
        ("cookie", f"{name}={value}") for name, value in cookies.items() if isinstance(value, str)
    ]
    return [(name.encode(), value.encode("utf-8", "replace")) for name, value in found]


def scope_of(request: Any) -> dict[str, Any]:
    """Return what a scope would say of a request that is none of Starlette's and has no scope."""
    url: Any = getattr(request, "url", None)
    known = {"path": url.path} if isinstance(getattr(url, "path", None), str) else {}
    scheme = getattr(url, "scheme", "http")
    return {"method": getattr(request, "method", "GET"), "scheme": scheme, **known}
