"""Dependencies that let a request through or answer it: 401, 403, or the way to the login."""

# Annotations are not postponed here: FastAPI reads those of dependencies.
from collections.abc import Iterable
from typing import Annotated, cast
from urllib.parse import quote

from fastapi import Depends
from fastapi.openapi.models import APIKey
from fastapi.security.base import SecurityBase
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import HTTPConnection

from pyfly_session.core.session import HttpSession
from pyfly_session.fastapi.session import Session
from pyfly_session.security.context import LoggedIn, SecurityContext
from pyfly_session.security.login import context_of, demand_recent_login, last_authentication
from pyfly_session.security.navigation import is_navigation, local_target
from pyfly_session.web.cookies import SessionCookie
from pyfly_session.web.openapi import SCHEME, security_scheme
from pyfly_session.web.paths import ROOT, browser_path

_HEADERS = {"Cache-Control": "no-store", "Vary": "Accept"}
# Not imported: it needs the extra `oauth2`.
_AT_PROVIDER = "/oauth2/authorization/"
_IN_PATHS = "/-._~!$&'()*+,;=:@"


class _Requirement(SecurityBase):
    """What the requirements have in common: their scheme, and what they answer."""

    def __init__(
        self, *, login_url: str | None = None, target_parameter: str | None = None
    ) -> None:
        cookie_name = SessionCookie().name
        self.model = APIKey.model_validate(security_scheme("cookie", cookie_name))
        self.scheme_name = SCHEME
        self.login_url = login_url
        at_provider = (login_url or "").startswith(_AT_PROVIDER)
        self.target_parameter = target_parameter or ("target" if at_provider else "next")

    def _require_loaded(self, connection: HTTPConnection, session: HttpSession) -> None:
        # Who comes with an id that has ended, or without the cookie, is nobody.
        if session.why_transient == "unavailable":
            headers = {**_HEADERS, "Retry-After": "5"}
            raise _refusal(connection, 503, "The session store is unavailable.", headers)

    def _login(self, connection: HTTPConnection, code: str, message: str) -> Exception:
        """Return what tells a client to log in."""
        is_page = connection.scope["type"] == "http" and is_navigation(connection.headers)
        if self.login_url is not None and is_page:
            headers = {**_HEADERS, "Location": self._location(connection, self.login_url)}
            return HTTPException(303, message, headers)
        headers = {**_HEADERS, "WWW-Authenticate": f'Session error="{code}"'}
        return _refusal(connection, 401, message, headers)

    def _location(self, connection: HTTPConnection, url: str) -> str:
        if url.startswith("/"):
            url = connection.scope.get(ROOT, "") + url
        target = local_target(_target_of(connection), "")
        if not target or connection.scope["method"] not in ("GET", "HEAD"):
            # A form cannot be sent again by a redirect.
            return url
        separator = "&" if "?" in url else "?"
        return f"{url}{separator}{self.target_parameter}={quote(target, safe='/')}"


class SessionRequired(_Requirement):
    """Lets a request through whose session is known to the store, and gives its session.

    Everybody else is told to log in: a browser that opens a page is sent to the login page if
    there is one; its scripts, frames and prefetches, and any other client, get a 401, a WebSocket
    is closed with 1008. While the
    store is down nobody is sent to log in: the answer is 503.

    In OpenAPI it is the security scheme ``Session``.

    Args:
        login_url: Path of the login page in the application with the sessions, or a URL; None
            for a 401 in any case.
        target_parameter: Name of the query parameter that tells the login page where the
            browser wanted to go; ``next`` unless given, and ``target`` for a login with a
            provider. Pass what it holds through `local_target`.
    """

    async def __call__(self, connection: HTTPConnection, session: Session) -> HttpSession:
        """Return the session."""
        self._require_loaded(connection, session)
        if session.invalidated or not session.stored:
            raise self._login(connection, "session_required", "There is no session.")
        return session


class LoginRequired(_Requirement):
    """Lets the requests of a user through who is logged in, and gives the `SecurityContext`.

    Logged in is who passed `pyfly_session.security.login`. Others are answered as
    `SessionRequired` does; a user without the rights gets a 403.

    Args:
        login_url: Path of the login page in the application with the sessions, or a URL.
        target_parameter: Name of the query parameter that carries the way back.
        max_age: Seconds since the user proved who they are, at most; after that they have to do
            it again, at their provider too.
        roles: The user needs at least one of these.
        permissions: The user needs all of these.
    """

    def __init__(
        self,
        *,
        login_url: str | None = None,
        target_parameter: str | None = None,
        max_age: int | None = None,
        roles: Iterable[str] = (),
        permissions: Iterable[str] = (),
    ) -> None:
        super().__init__(login_url=login_url, target_parameter=target_parameter)
        if max_age is not None and max_age < 1:
            raise ValueError(f"max_age must be at least 1 second, got {max_age}")
        for names in (roles, permissions):
            if isinstance(names, str):
                raise TypeError(f"roles and permissions are lists of str, got {names!r}")
        self.max_age = max_age
        self.roles = frozenset(roles)
        self.permissions = frozenset(permissions)

    async def __call__(self, connection: HTTPConnection, session: Session) -> LoggedIn:
        """Return who is logged in."""
        self._require_loaded(connection, session)
        context = context_of(session)
        if not context.is_authenticated:
            raise self._login(connection, "login_required", "You have to log in.")
        if not self._is_recent(session):
            if self.max_age is not None and connection.scope["type"] == "http":
                demand_recent_login(session, self.max_age)
            raise self._login(connection, "recent_login_required", "You have to log in again.")
        if not self._has_rights(context):
            raise _refusal(connection, 403, "You are not allowed to do this.", _HEADERS)
        return cast("LoggedIn", context)

    def _has_rights(self, context: SecurityContext) -> bool:
        if self.roles and not context.has_any_role(self.roles):
            return False
        return self.permissions.issubset(context.permissions)

    def _is_recent(self, session: HttpSession) -> bool:
        if self.max_age is None:
            return True
        since = last_authentication(session)
        return since is not None and session.last_accessed - since < self.max_age


User = Annotated[LoggedIn, Depends(LoginRequired())]
"""Who is logged in; the answer to all others is 401."""


def _refusal(
    connection: HTTPConnection, status: int, message: str, headers: dict[str, str]
) -> Exception:
    if connection.scope["type"] == "websocket":
        return WebSocketException(1013 if status == 503 else 1008, message)
    return HTTPException(status, message, headers)


def _target_of(connection: HTTPConnection) -> str:
    """Return path and query as the browser asked for them."""
    query = connection.scope.get("query_string", b"").decode("latin-1")
    path = quote(browser_path(connection.scope), safe=_IN_PATHS)
    return f"{path}?{query}" if query else path
