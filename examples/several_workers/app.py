"""A list of wishes whose sessions are in Redis, so that any worker can serve any request."""

from __future__ import annotations

import asyncio
import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pyfly_session import HttpSession, SecurityContext
from pyfly_session.auto_configuration import enable_sessions
from pyfly_session.security import SECURITY_CONTEXT, login, logout


class Pause:
    """Lets `show.py` hold one request for as long as it takes to log out elsewhere."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.over = asyncio.Event()


async def show(request: Request) -> JSONResponse:
    session: HttpSession = request.state.session
    user = session.get_attribute(SECURITY_CONTEXT)
    wishes = [name for name in session.get_attribute_names() if name.startswith("wish:")]
    return JSONResponse(
        {"user": user and user.user_id, "wishes": len(wishes), "worker": os.getpid()}
    )


async def wish(request: Request) -> JSONResponse:
    # An attribute of its own: what several requests do to different attributes is all kept.
    request.state.session.set_attribute(f"wish:{request.path_params['name']}", True)
    return await show(request)


async def wish_slowly(request: Request) -> JSONResponse:
    pause: Pause = request.app.state.pause
    pause.began.set()
    await pause.over.wait()
    return await wish(request)


async def wait_for_the_slow_one(request: Request) -> JSONResponse:
    await request.app.state.pause.began.wait()
    return JSONResponse({})


async def end_the_pause(request: Request) -> JSONResponse:
    request.app.state.pause.over.set()
    return JSONResponse({})


async def log_in(request: Request) -> JSONResponse:
    # A real application asks for a password first.
    await login(request, SecurityContext(user_id=request.path_params["user"]))
    return await show(request)


async def log_out(request: Request) -> JSONResponse:
    await logout(request)
    return JSONResponse({"worker": os.getpid()})


def create_app(redis_url: str) -> Starlette:
    """Return the application; nothing of a session stays in its process."""
    app = Starlette(
        routes=[
            Route("/", show),
            Route("/wishes/{name}", wish, methods=["POST"]),
            Route("/slow-wishes/{name}", wish_slowly, methods=["POST"]),
            Route("/login/{user}", log_in, methods=["POST"]),
            Route("/logout", log_out, methods=["POST"]),
            Route("/pause/began", wait_for_the_slow_one),
            Route("/pause/over", end_the_pause, methods=["POST"]),
        ]
    )
    app.state.pause = Pause()
    session = {
        "enabled": True,
        "store": "redis",
        "fail-fast": True,
        "redis": {"url": redis_url},
        "exclude-patterns": ["/pause/*"],
    }
    return enable_sessions(app, config={"pyfly": {"session": session}})
