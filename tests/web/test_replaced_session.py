"""What an application puts in the place of ``request.session`` is followed, or told apart."""

import enum
import logging
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount

from pyfly_session import SecurityContext, enable_sessions
from pyfly_session.security import context_of, login
from pyfly_session.web import request_session
from tests.support.cases import for_each
from tests.support.types import Log
from tests.web.conftest import Site
from tests.web.driver import Browser, ask
from tests.web.pages import Page

KNOWN = "a" * 32


class Empty:
    """What the ``clear_session`` of a Litestar of before 2.25 puts there."""


class _EmptyEnum(enum.Enum):
    """What that of later ones does."""

    EMPTY = 0


async def show(request: Request) -> Response:
    return JSONResponse([request.session.get(name) for name in ("cart", "more")])


async def enter(request: Request) -> Response:
    request.session["cart"] = "tea"
    await login(request, SecurityContext(user_id="alice"))
    return PlainTextResponse("in")


async def who(session: Any) -> Response:
    return PlainTextResponse(str(context_of(session).user_id))


def putting(make: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def put(request: Request) -> None:
        request.scope["session"] = make(request)

    return put


def application(site: Site, make: Callable[[Request], Any], *, foreign: bool = False) -> Starlette:
    return site.app(foreign=foreign, show=show, enter=enter, who=who, put=putting(make))


@for_each("foreign", [False, True])
@for_each(
    ("put", "left"),
    [
        ({}, {}), (None, {}), (Empty, {}), (_EmptyEnum.EMPTY, {}), ({"b": 3}, {"b": 3}),
        ({"a": [2], "c": None}, {"a": [2], "c": None}),
    ],
)  # fmt: skip
async def test_a_mapping_is_taken_over_and_an_empty_one_clears(
    site: Site, put: Any, left: Any, foreign: bool
) -> None:
    await site.seed(KNOWN, a=[1], b=2)
    app = application(site, lambda request: put, foreign=foreign)
    answer = await ask(app, "/put", cookie=KNOWN)
    assert (answer.session_id, await site.stored(KNOWN)) == (KNOWN, left)


async def test_a_copy_with_more_in_it_keeps_the_login(site: Site) -> None:
    browser = Browser(application(site, lambda request: {**request.session, "more": 1}))
    await browser.get("/enter")
    await browser.get("/put")
    assert (await browser.get("/who")).text == "alice"
    assert (await browser.get("/show")).text == '["tea",1]'


@for_each("put", [{}, None, {"cart": "tea"}])
async def test_what_lacks_the_login_ends_it(site: Site, put: Any) -> None:
    """Programs that know no other logout write it so."""
    browser = Browser(application(site, lambda request: put))
    await browser.get("/enter")
    assert (await browser.get("/who")).text == "alice"
    await browser.get("/put")
    assert (await browser.get("/who")).text == "None"
    assert await site.filter.repository.principals.find_by_principal("alice") == []


async def test_what_is_no_mapping_changes_nothing_and_is_told(site: Site, caplog: Log) -> None:
    await site.seed(KNOWN, a=1)
    await ask(application(site, lambda request: 5), "/put", cookie=KNOWN)
    assert await site.stored(KNOWN) == {"a": 1}
    assert "no mapping" in caplog.text


class TestOtherMiddleware:
    def application(self, *, mounted: bool) -> Starlette:
        theirs = Middleware(SessionMiddleware, secret_key="k" * 32)

        async def both(request: Request) -> Response:
            request.session["theirs"] = 1
            session = request.state.session
            session.set_attribute("ours", (session.get_attribute("ours") or 0) + 1)
            return PlainTextResponse(str(session.get_attribute("ours")))

        inner = Starlette(routes=[Page("/both", both)], middleware=[theirs])
        outer = Starlette(routes=[Mount("/", inner)]) if mounted else inner
        return enable_sessions(outer, config={"pyfly": {"session": {"enabled": True}}})

    @for_each("mounted", [False, True])
    async def test_it_is_warned_of_once_and_both_go_on(self, mounted: bool, caplog: Log) -> None:
        request_session._warn_of_shadow.cache_clear()
        browser = Browser(self.application(mounted=mounted))
        with caplog.at_level(logging.WARNING):
            for number in ("1", "2"):
                assert (await browser.get("/both")).text == number
        (line,) = [each for each in caplog.messages if "in its place" in each]
        assert "starlette.middleware.sessions" in line
        assert "remove that middleware" in line
