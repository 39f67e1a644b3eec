"""Starlette-WTF keeps its token against forged forms in ``request.session``."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette_wtf import CSRFProtectMiddleware, StarletteForm, csrf_protect
from wtforms import StringField

from pyfly_session.web import WebFilterChainMiddleware
from tests.frameworks.browser import browser_of, field_of
from tests.web.conftest import Site


class NameForm(StarletteForm):  # type: ignore[misc]
    name = StringField()


@csrf_protect  # type: ignore[untyped-decorator]
async def name(request: Request) -> Response:
    form = await NameForm.from_formdata(request)
    if await form.validate_on_submit():
        return PlainTextResponse(f"hello {form.name.data}")
    return HTMLResponse(str(form.csrf_token))


def app_of(site: Site) -> Starlette:
    return Starlette(
        routes=[Route("/", name, methods=["GET", "POST"])],
        middleware=[
            Middleware(WebFilterChainMiddleware, filters=[site.filter]),
            Middleware(CSRFProtectMiddleware, csrf_secret="s3cret"),
        ],
    )


async def test_a_form_is_accepted_from_the_session_that_it_was_made_for(site: Site) -> None:
    app = app_of(site)
    headers = {"referer": "https://shop.example/"}
    async with browser_of(app, headers=headers) as alice, browser_of(app, headers=headers) as bob:
        token = field_of((await alice.get("/")).text, "csrf_token")
        await bob.get("/")
        form = {"name": "alice", "csrf_token": token}
        assert (await bob.post("/", data=form)).status_code == 403
        assert (await alice.post("/", data={"name": "alice"})).status_code == 403
        assert (await alice.post("/", data=form)).text == "hello alice"
