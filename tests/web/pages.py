"""Pages out of small functions."""

import inspect
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


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
