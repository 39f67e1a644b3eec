"""What sets these sessions apart, each by the press of a button; `static/scenes.js` presses on."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from dependency_injector import providers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from pyfly_session import HttpSession, SessionStoreUnavailableError
from pyfly_session.core.repository import SessionRepository
from pyfly_session.security import end_other_sessions

_WORK_SECONDS, _SLOW_SECONDS, _OUTAGE_SECONDS = 0.05, 1.5, 3.0
_REMEMBERED = 1000


def scenes() -> list[Route]:
    """Return the routes of the scenes."""
    return [
        Route("/forty", count_forty),
        Route("/forty", one_of_forty, methods=["POST"]),
        Route("/slow", slow, methods=["POST"]),
        Route("/fate", fate),
        Route("/device", add_device, methods=["POST"]),
        Route("/sign-out-others", sign_out_others, methods=["POST"]),
        Route("/outage", outage, methods=["POST"]),
    ]


async def one_of_forty(request: Request) -> Response:
    """Add a lantern, and count beside it as if the session was read and written as a whole."""
    session: HttpSession = request.state.session
    elsewhere: dict[str, int] = request.app.state.elsewhere
    if "start" in request.query_params:
        if len(elsewhere) > _REMEMBERED:
            elsewhere.clear()
        session.set_attribute("cart", {})
        elsewhere[session.id] = 0
        return Response(status_code=204)
    seen = elsewhere.get(session.id, 0)
    await asyncio.sleep(_WORK_SECONDS)
    elsewhere[session.id] = seen + 1
    session.update_attribute("cart", one_lantern)
    return Response(status_code=204)


def one_lantern(cart: dict[str, int] | None) -> dict[str, int]:
    """Return a cart with one lantern more."""
    return {**(cart or {}), "Lantern": (cart or {}).get("Lantern", 0) + 1}


async def count_forty(request: Request) -> Response:
    """Answer how many lanterns there are, here and where sessions are written as a whole."""
    session: HttpSession = request.state.session
    here = (session.get_attribute("cart") or {}).get("Lantern", 0)
    return JSONResponse({"here": here, "elsewhere": request.app.state.elsewhere.get(session.id, 0)})


async def slow(request: Request) -> Response:
    """Write to the session after a while, whatever happened to it meanwhile."""
    request.app.state.slow[request.state.session.id[:4]] = request.state.session.id
    await asyncio.sleep(_SLOW_SECONDS)
    request.state.session.set_attribute("slow", "was here")
    return Response(status_code=204)


async def fate(request: Request) -> Response:
    """Answer whether the session of the slow request is in the store."""
    session_id = request.app.state.slow.get(request.query_params.get("id", ""))
    if session_id is None:
        raise HTTPException(404)
    return JSONResponse({"alive": await _repository(request).capable_store.exists(session_id)})


async def add_device(request: Request) -> Response:
    """Log the user in on a second device, as a request of that device would."""
    user = _user(request)
    repository = _repository(request)
    second = repository.create()
    second.authenticate(user)
    second.set_attribute("user", user)
    await repository.commit(second)
    return RedirectResponse("/", 303)


async def sign_out_others(request: Request) -> Response:
    """End all sessions of the user but this one."""
    _user(request)
    await end_other_sessions(request)
    return RedirectResponse("/", 303)


async def outage(request: Request) -> Response:
    """Have the store away for a while: a running application follows what overrides a bean."""
    store = request.app.state.session_container.session_store
    if not store.overridden:
        store.override(providers.Object(_AwayStore()))
        asyncio.get_running_loop().call_later(_OUTAGE_SECONDS, store.reset_override)
    return Response(status_code=204)


class _AwayStore:
    """A store that nobody reaches."""

    async def get(self, *_: object) -> Any:
        raise SessionStoreUnavailableError("the store was sent away", operation="load")

    save = delete = exists = get


async def devices_of(request: Request) -> list[dict[str, Any]]:
    """Return where the user of a request is logged in."""
    user = request.state.session.get_attribute("user")
    if user is None:
        return []
    repository = _repository(request)
    own = repository.capable_store.key_of(request.state.session.id)
    found = await repository.principals.find_by_principal(user)
    return [{"id": each.session_id[:4], "own": str(each.session_id) == str(own)} for each in found]


def _repository(request: Request) -> SessionRepository:
    repository: SessionRepository = request.app.state.session_container.session_repository()
    return repository


def _user(request: Request) -> str:
    user = request.state.session.get_attribute("user")
    if not isinstance(user, str) or not re.fullmatch(r"\w+", user):
        raise HTTPException(409, "log in first\n")
    return user
