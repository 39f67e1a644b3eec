"""A tea shop: a cart for everybody, an account for those who have logged in."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from pyfly_session import HttpSession, SecurityContext
from pyfly_session.auto_configuration import enable_sessions
from pyfly_session.config import Config, load_config
from pyfly_session.security import end_other_sessions, why_ended

HERE = Path(__file__).parent
TEAS = {"sencha": "Sencha", "oolong": "Oolong", "rooibos": "Rooibos"}


def settings(*, issuer: str, shop: str) -> Config:
    """Read ``config/pyfly.yaml``, with the addresses of the provider and of the shop."""
    return load_config(HERE / "config", environ={**os.environ, "ISSUER": issuer, "SHOP": shop})


def create_app(config: Config) -> Starlette:
    """Return the shop."""
    app = Starlette(
        routes=[
            Route("/", shelf),
            Route("/cart", add_to_cart, methods=["POST"]),
            Route("/account", account),
            Route("/account/end-others", end_others, methods=["POST"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ]
    )
    # Sessions, the routes of the login, and request.state.security_context.
    return enable_sessions(app, config=config)


async def shelf(request: Request) -> Response:
    """Show the teas to everybody."""
    return _templates.TemplateResponse(request, "shelf.html", {"teas": TEAS})


async def add_to_cart(request: Request) -> Response:
    """Put a tea into the cart of whoever it is."""
    async with request.form() as form:
        tea = form.get("tea")
    if tea not in TEAS:
        raise HTTPException(400, "There is no such tea.")
    session: HttpSession = request.state.session

    def with_tea(cart: dict[str, int] | None) -> dict[str, int]:
        return {**(cart or {}), str(tea): (cart or {}).get(str(tea), 0) + 1}

    # By a function: of two requests that meet, both teas are in the cart.
    session.update_attribute("cart", with_tea)
    return RedirectResponse("/", status_code=303)


async def account(request: Request) -> Response:
    """Show the account to its owner, and send everybody else to the login."""
    context: SecurityContext = request.state.security_context
    if context.user_id is None:
        # Who was put out is told so. Sent on, they would be in again at once, and the other out.
        if (reason := await why_ended(request)) is not None:
            return _templates.TemplateResponse(request, "ended.html", {"reason": reason})
        return RedirectResponse("/oauth2/authorization/accounts?target=/account")
    everybody = request.app.state.session_container.principal_sessions()
    places = await everybody.find_by_principal(context.user_id)
    return _templates.TemplateResponse(request, "account.html", {"teas": TEAS, "places": places})


async def end_others(request: Request) -> Response:
    """Log the user out everywhere else."""
    await end_other_sessions(request)
    return RedirectResponse("/account", status_code=303)


def _of_every_page(request: Request) -> dict[str, object]:
    session: HttpSession = request.state.session
    return {
        "user": request.state.security_context,
        "cart": session.get_attribute("cart") or {},
        # The beginning only: whoever has the whole id is logged in.
        "session": session.id[:4] if session.stored else None,
    }


_templates = Jinja2Templates(HERE / "templates", context_processors=[_of_every_page])
_templates.env.filters["clock"] = lambda seconds: f"{datetime.fromtimestamp(seconds):%H:%M:%S}"
