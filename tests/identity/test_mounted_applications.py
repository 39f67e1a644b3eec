"""Sessions on an application and on one that is mounted inside of it are the same sessions."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from pyfly_session import SecurityContext, enable_sessions
from pyfly_session.security import context_of, login, logout
from tests.web.driver import App, Browser


async def put(request: Request) -> Response:
    request.state.session.set_attribute("cart", request.query_params["cart"])
    return PlainTextResponse("ok")


async def show(request: Request) -> Response:
    session = request.state.session
    return PlainTextResponse(f"{context_of(session).user_id} {session.get_attribute('cart')}")


async def enter(request: Request) -> Response:
    await login(request, SecurityContext(user_id="alice"))
    return PlainTextResponse("ok")


async def leave(request: Request) -> Response:
    await logout(request)
    return PlainTextResponse("ok")


def with_sessions(*routes: Any) -> Starlette:
    pages: list[Any] = [put, show, enter, leave]
    own = [Route(f"/{page.__name__}", page) for page in pages]
    config = {"pyfly": {"session": {"enabled": True}}}
    return enable_sessions(Starlette(routes=[*routes, *own]), config=config)


@pytest.fixture
def whole() -> App:
    return with_sessions(Mount("/part", with_sessions()))


@pytest.mark.parametrize("first", ["", "/part"])
@pytest.mark.parametrize("second", ["", "/part"])
async def test_both_applications_share_one_session(whole: App, first: str, second: str) -> None:
    """What one of them writes both read, and a browser gets one cookie of that name."""
    browser = Browser(whole)
    answer = await browser.get(f"{first}/put?cart=tea")
    assert len(answer.all("set-cookie")) == 1
    answer = await browser.get(f"{second}/show")
    assert (answer.text, len(answer.all("set-cookie"))) == ("None tea", 1)


@pytest.mark.parametrize("inside", ["", "/part"])
@pytest.mark.parametrize("outside", ["", "/part"])
async def test_login_and_logout_hold_in_both(whole: App, inside: str, outside: str) -> None:
    """Who logs in at one of them is logged in at the other, and logs out at either."""
    browser = Browser(whole)
    await browser.get("/put?cart=tea")
    await browser.get(f"{inside}/enter")
    used = browser.cookie
    assert (await browser.get(f"{outside}/show")).text == "alice tea"
    await browser.get(f"{outside}/leave")
    assert browser.cookie is None
    assert (await Browser(whole, used).get(f"{inside}/show")).text == "None None"
