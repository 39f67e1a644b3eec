"""Pages out of small functions, and what many of them do."""

import inspect
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pyfly_session import HttpSession, SecurityContext
from pyfly_session.security import end_other_sessions, login, logout


class Page(Route):
    """Answers with what a function returns: a response, a text, or "ok" for nothing.

    Args:
        path: Where it is.
        act: A function of the request, or of its session, if it calls it ``session``.
        **options: As for a route of Starlette.
    """

    def __init__(self, path: str, act: Callable[..., Any], **options: Any) -> None:
        of_session = next(iter(inspect.signature(act).parameters)) == "session"

        async def endpoint(request: Request) -> Response:
            done = act(request.state.session if of_session else request)
            if inspect.isawaitable(done):
                done = await done
            return done if isinstance(done, Response) else PlainTextResponse(done or "ok")

        super().__init__(path, endpoint, **options)


async def enter(request: Request) -> None:
    """Log somebody in: alice, or whom the query names."""
    await login(request, SecurityContext(user_id=request.query_params.get("user", "alice")))


async def leave(request: Request) -> None:
    """Log out."""
    await logout(request)


async def others(request: Request) -> str:
    """End the other sessions of the user, and tell how many."""
    return str(await end_other_sessions(request))


async def rotate(session: HttpSession) -> None:
    session.rotate_id()


async def invalidate(session: HttpSession) -> None:
    session.invalidate()


class PlainResponse:
    """All that the filter may ask of a response that is none of Starlette's."""

    def __init__(self, headers: dict[str, str] | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        if headers is not None:
            self.headers = headers

    def set_cookie(self, **arguments: Any) -> None:
        self.calls.append(("set", arguments))

    def delete_cookie(self, **arguments: Any) -> None:
        self.calls.append(("delete", arguments))


class PlainState:
    session: Any = None


class PlainRequest:
    """All that the filter may ask of a request that is none of Starlette's."""

    def __init__(self, headers: dict[str, str] | None = None, /, **cookies: Any) -> None:
        self.cookies = cookies
        self.state = PlainState()
        if headers is not None:
            self.headers = headers
