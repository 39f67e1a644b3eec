"""The application: one page that shows the session, and a form for each thing to do to it.

Every form is a POST that answers with a redirect to the page, so that reloading never
repeats an action. There is no token against forged requests: the cookie is SameSite=lax,
and a browser leaves such a cookie out of a POST that another site started. That is enough
for counting lanterns; forms that move money should check a token or the Origin header, too.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pyfly_session import HttpSession, allow_session_type
from pyfly_session.auto_configuration import enable_sessions
from pyfly_session.cli.demo_app.page import SHORT_IDLE_SECONDS, render_page, short
from pyfly_session.cli.demo_app.scenes import devices_of, scenes
from pyfly_session.config import Config

USERS = ("Alice", "Bob")
ITEMS = ("Lantern", "Jar", "Moss")
_REMEMBERED_EVENTS = 6


def create_app(config: Config) -> Starlette:
    """Return the demo over the store that the configuration chooses."""
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/login", login, methods=["POST"]),
            Route("/logout", logout, methods=["POST"]),
            Route("/cart", add_to_cart, methods=["POST"]),
            Route("/new-id", new_id, methods=["POST"]),
            Route("/idle-time", idle_time, methods=["POST"]),
            *scenes(),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ]
    )
    app.state.elsewhere, app.state.slow = {}, {}
    app.state.profile = ", ".join(config.profiles)
    # All that an application has to do; handlers find the session at request.state.session.
    return enable_sessions(app, config=config)


@allow_session_type  # Without this the store would refuse to keep objects of the class.
@dataclass(frozen=True)
class Event:
    """Something that happened to the session, as the session itself remembers it."""

    at: datetime
    text: str


async def page(request: Request) -> Response:
    """Show the session. Only reads it, and a session that is only read is not written."""
    devices = await devices_of(request)
    return render_page(request, users=USERS, items=ITEMS, devices=devices)


async def login(request: Request) -> Response:
    """Log in; a real application would ask for a password first."""
    user = await _choice(request, "user", USERS)
    session: HttpSession = request.state.session
    if session.get_attribute("user") not in (None, user):
        # Bob must not find what Alice left behind; a cart without an owner he may keep.
        session.clear()
    # Whoever planted an id in this browser before the login holds a dead one after it.
    session.rotate_id()
    # From here on nothing that others did to the session before may get into it.
    session.authenticate(user)
    session.set_attribute("user", user)
    _note(session, f"{user} logged in. {_change_of_id(session)}")
    return _back()


async def logout(request: Request) -> Response:
    """Log out: the store's entry and the cookie are gone, a stolen copy of it is useless."""
    session: HttpSession = request.state.session
    # The page cannot learn this from a session that is no more.
    ended = short(session.id)
    session.invalidate()
    return _back(f"/?ended={ended}")


async def add_to_cart(request: Request) -> Response:
    """Count one more of an item."""
    item = await _choice(request, "item", ITEMS)
    session: HttpSession = request.state.session

    def one_more(cart: dict[str, int] | None) -> dict[str, int]:
        cart = cart or {}
        return {**cart, item: cart.get(item, 0) + 1}

    # Two requests that meet lose nothing: the function runs again on what the other stored.
    session.update_attribute("cart", one_more)
    _note(session, f"{item} went into the cart.")
    return _back()


async def new_id(request: Request) -> Response:
    """Change the id and keep everything else."""
    session: HttpSession = request.state.session
    session.rotate_id()
    _note(session, _change_of_id(session))
    return _back()


async def idle_time(request: Request) -> Response:
    """Let this one session end soon when it is not used, or as late as all others again."""
    session: HttpSession = request.state.session
    if session.max_inactive_interval is None:
        session.set_max_inactive_interval(SHORT_IDLE_SECONDS)
        _note(session, f"The session now ends after {SHORT_IDLE_SECONDS} seconds without a click.")
    else:
        session.set_max_inactive_interval(None)
        _note(session, "The session has its usual idle time again.")
    return _back()


def _note(session: HttpSession, text: str) -> None:
    """Remember an event in the session, and forget those of long ago."""
    events = session.get_attribute("events")
    if events is None:
        events = []
        session.set_attribute("events", events)
    events.append(Event(datetime.now(UTC), text))
    del events[:-_REMEMBERED_EVENTS]


def _change_of_id(session: HttpSession) -> str:
    return f"The id changed from {short(session.previous_id or '')}… to {short(session.id)}…"


async def _choice(request: Request, field: str, allowed: tuple[str, ...]) -> str:
    async with request.form() as form:
        value = form.get(field)
    if not isinstance(value, str) or value not in allowed:
        raise HTTPException(400, f"{field} must be one of {', '.join(allowed)}\n")
    return value


def _back(to: str = "/") -> Response:
    # 303 turns the POST into a GET.
    return RedirectResponse(to, status_code=303)
