"""The page: what it tells about the session, as the template needs it."""

import re
from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from pyfly_session import HttpSession
from pyfly_session.auto_configuration.store import choose_store
from pyfly_session.config import SessionProperties

SHORT_IDLE_SECONDS = 15
_SHOWN_CHARACTERS = 4
_HEADERS = {
    # Own files only, no script or style within the page, and no page around it.
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; script-src 'self';"
    " connect-src 'self'; style-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_templates = Jinja2Templates(directory=Path(__file__).parent / "templates")


def short(session_id: str) -> str:
    """Return the first characters of an id. The rest is a secret: whoever has it is logged in."""
    return session_id[:_SHOWN_CHARACTERS]


def clock(seconds: float) -> str:
    """Write a duration as ``0:07``, ``29:58`` or ``11:59:58``."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


_templates.env.filters["clock"] = clock


def render_page(
    request: Request, *, users: Sequence[str], items: Sequence[str], devices: Sequence[object]
) -> Response:
    """Return the page about the request's session."""
    session: HttpSession = request.state.session
    properties: SessionProperties = request.app.state.session_container.properties()
    idle_limit = session.max_inactive_interval or properties.ttl
    age = session.last_accessed - session.created_at
    latest_end = None if properties.max_lifetime is None else properties.max_lifetime - age
    cart = session.get_attribute("cart") or {}
    context = {
        "properties": properties,
        "store": choose_store(properties)[0],
        "profile": request.app.state.profile,
        # With "if-required" a visitor has no session until something is stored in it.
        "has_session": session.stored or properties.creation == "always",
        "is_new": session.is_new,
        "id": short(session.id),
        "id_length": len(session.id),
        "age": age,
        "idle_limit": idle_limit,
        "left": idle_limit if latest_end is None else min(idle_limit, latest_end),
        "latest_end": latest_end,
        "short_idle": SHORT_IDLE_SECONDS,
        "user": session.get_attribute("user"),
        "users": users,
        "devices": devices,
        "cart": {item: cart.get(item, 0) for item in items},
        "events": list(reversed(session.get_attribute("events") or [])),
        "ended": _ended(request) if session.is_new else None,
    }
    return _templates.TemplateResponse(request, "page.html", context, headers=_HEADERS)


def _ended(request: Request) -> str | None:
    """Return the beginning of the id that a logout ended, if the page follows one."""
    ended = request.query_params.get("ended", "")
    # Anybody can write anything into a link, so it must look like the beginning of an id.
    return ended if re.fullmatch(f"[0-9a-f]{{{_SHOWN_CHARACTERS}}}", ended) else None
