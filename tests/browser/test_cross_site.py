"""A page of another site: the browser withholds the cookie, and the login stays as it is."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from pyfly_session import SecurityContext, enable_sessions
from pyfly_session.security import context_of, login, logout
from tests.browser.conftest import Visit
from tests.browser.shop import Shop, serving
from tests.browser.visitor import Visitor

EVIL = "http://evil.test/"
# Without it browsers ask for a picture that is not there.
ICON = '<link rel="icon" href="data:,">'
PATHS = ("/who", "/write", "/leave", "/missing")


async def enter(request: Request) -> HTMLResponse:
    await login(request, SecurityContext(user_id="ann"))
    return HTMLResponse(f"{ICON}welcome")


async def who(request: Request) -> HTMLResponse:
    return HTMLResponse(f"{ICON}{context_of(request.state.session).user_id}")


async def write(request: Request) -> HTMLResponse:
    request.session["written"] = True
    return HTMLResponse(f"{ICON}ok")


async def leave(request: Request) -> HTMLResponse:
    await logout(request)
    return HTMLResponse(f"{ICON}bye")


@pytest.fixture(scope="module")
def open_site() -> Iterator[Any]:
    """Return a function that serves an application with such cookies; each is opened once."""
    handlers = {"enter": enter, "who": who, "write": write, "leave": leave}
    routes = [Route(f"/{n}", each, methods=["GET", "POST"]) for n, each in handlers.items()]
    with ExitStack() as stack:

        @cache
        def open_site(same_site: str, host: str = "127.0.0.1") -> Shop:
            session = {"enabled": True, "cookie": {"same-site": same_site}}
            app = enable_sessions(Starlette(routes=routes), config={"pyfly": {"session": session}})
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.enter_context(serving(app, listener))
            return Shop(f"http://{host}:{listener.getsockname()[1]}", "", app)

        yield open_site


@pytest.fixture
def log_in(visit: Visit) -> Any:
    """Return a function that sends somebody to a site and logs them in."""

    def log_in(site: Shop) -> Visitor:
        visitor = visit(site)
        visitor.go("/enter")
        assert visitor.cookie is not None
        return visitor

    return log_in


def lands_on(visitor: Visitor, path: str, way: Any) -> str | None:
    """Click on something that leads to the application; return its ``Set-Cookie``."""
    page = visitor.page
    with page.expect_response(visitor.shop.url + path) as caught, page.expect_navigation():
        way.click()
    found: str | None = caught.value.all_headers().get("set-cookie")
    return found


def open_evil(visitor: Visitor, body: str) -> None:
    """Open a page of another site."""
    page = f"{ICON}{body}"
    visitor.page.route(EVIL, lambda route: route.fulfill(content_type="text/html", body=page))
    visitor.page.goto(EVIL)


def posts_from_evil(visitor: Visitor, path: str) -> str | None:
    """Send a form of another site to the application; return its ``Set-Cookie``."""
    target = visitor.shop.url + path
    open_evil(visitor, f'<form method="post" action="{target}"><button>Win</button></form>')
    return lands_on(visitor, path, visitor.page.get_by_role("button", name="Win"))


def follows_from_evil(visitor: Visitor, path: str) -> str | None:
    """Follow a link of another site to the application; return its ``Set-Cookie``."""
    open_evil(visitor, f'<a href="{visitor.shop.url}{path}">Win</a>')
    return lands_on(visitor, path, visitor.page.get_by_role("link", name="Win"))


def expect_login(visitor: Visitor, cookie: str | None) -> None:
    """Assert that the login is what it was."""
    assert visitor.cookie == cookie
    visitor.go("/who")
    assert visitor.sees("ann")


# Over plain HTTP, but for this computer itself, browsers send no Sec-Fetch-Site.
hosts = pytest.mark.parametrize("host", ["127.0.0.1", "shop.test"])


@hosts
@pytest.mark.parametrize("same_site", ["lax", "strict"])
def test_a_form_of_another_site_leaves_the_login_as_it_is(
    open_site: Any, log_in: Any, same_site: str, host: str
) -> None:
    visitor: Visitor = log_in(open_site(same_site, host))
    before = visitor.cookie
    set_cookies = {path: posts_from_evil(visitor, path) for path in PATHS}
    assert visitor.console
    # A page that is not there, and maybe a refusal.
    visitor.console.clear()
    assert set_cookies == dict.fromkeys(PATHS)
    expect_login(visitor, before)


def test_a_link_of_another_site_leaves_a_strict_login_as_it_is(open_site: Any, log_in: Any) -> None:
    visitor: Visitor = log_in(open_site("strict"))
    before = visitor.cookie
    set_cookies = {path: follows_from_evil(visitor, path) for path in PATHS}
    visitor.console.clear()
    assert set_cookies == dict.fromkeys(PATHS)
    expect_login(visitor, before)


def test_page_behind_link_knows_nobody_if_cookie_is_strict(open_site: Any, log_in: Any) -> None:
    visitor: Visitor = log_in(open_site("strict"))
    follows_from_evil(visitor, "/who")
    assert visitor.sees("None")
    # A step from there is one within the application.
    with visitor.page.expect_navigation():
        visitor.page.evaluate("location.href = '/who'")
    assert visitor.sees("ann")


@hosts
def test_a_link_of_another_site_finds_a_lax_login(open_site: Any, log_in: Any, host: str) -> None:
    visitor: Visitor = log_in(open_site("lax", host))
    before = visitor.cookie
    follows_from_evil(visitor, "/who")
    assert visitor.sees("ann")
    assert visitor.cookie == before


def test_a_link_of_another_site_logs_nobody_out(open_site: Any, log_in: Any) -> None:
    """With a lax cookie the browser sends it along: `logout` itself has to refuse."""
    visitor: Visitor = log_in(open_site("lax"))
    before = visitor.cookie
    follows_from_evil(visitor, "/leave")
    visitor.console.clear()
    expect_login(visitor, before)


@hosts
def test_new_visitor_who_comes_by_link_gets_session(open_site: Any, log_in: Any, host: str) -> None:
    visitor: Visitor = log_in(open_site("lax", host))
    visitor.forget_cookie()
    assert follows_from_evil(visitor, "/write") is not None
    assert visitor.cookie is not None


@hosts
@pytest.mark.parametrize("same_site", ["lax", "strict"])
def test_form_of_its_own_works(open_site: Any, log_in: Any, same_site: str, host: str) -> None:
    visitor: Visitor = log_in(open_site(same_site, host))

    def posts_from_within(path: str) -> str | None:
        form = f"<form method=post action={path}><button>Go</button></form>"
        visitor.page.evaluate("form => { document.body.innerHTML = form }", form)
        return lands_on(visitor, path, visitor.page.get_by_role("button", name="Go"))

    assert posts_from_within("/leave") is not None
    assert visitor.cookie is None
    # Nor does a visitor need a session before.
    assert posts_from_within("/write") is not None
    assert visitor.cookie is not None
