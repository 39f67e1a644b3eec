"""A request from which the browser withheld the cookie sets none, and logs nobody in or out.

A form on another site reaches us without the cookie that the browser has (``SameSite``). A new
cookie in the answer would take that one's place, and with it the login.
"""

from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pyfly_session import SecurityContext, SessionError, enable_sessions
from pyfly_session.security import context_of, login, logout
from tests.support.cases import for_each
from tests.web.driver import Answer, ask

HOST = "example.test"


def fetched(site: str, mode: str = "navigate", dest: str = "document") -> dict[str, str]:
    return {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}


def origin(value: str) -> dict[str, str]:
    return {"origin": value}


FORM = fetched("cross-site")
LINK = fetched("cross-site")
IMAGE = fetched("cross-site", "no-cors", "image")
FRAME = fetched("cross-site", "navigate", "iframe")
SCRIPT = fetched("cross-site", "cors", "empty")
SIBLING = fetched("same-site", "cors", "empty")
BARE = {"sec-fetch-site": "cross-site"}
FOREIGN = origin("https://evil.test")
OPAQUE = origin("null")
OWN = origin(f"http://{HOST}")
OWN_BEHIND_PROXY = origin(f"https://{HOST}")

Headers = Mapping[str, str]


def picture(request: Request) -> Response:
    session = request.state.session
    user = None if session.invalidated else context_of(session).user_id
    return JSONResponse({"user": user, "transient": session.transient})


async def page(request: Request) -> Response:
    return picture(request)


async def write(request: Request) -> Response:
    request.state.session.set_attribute("cart", "tea")
    return picture(request)


async def enter(request: Request) -> Response:
    await login(request, SecurityContext(user_id="alice"))
    return picture(request)


async def leave(request: Request) -> Response:
    await logout(request)
    return picture(request)


async def try_to_leave(request: Request) -> Response:
    """Log out; say which error that is, if it is one of the package."""
    try:
        await logout(request)
    except SessionError as error:
        return JSONResponse(f"{type(error).__module__}.{type(error).__name__}")
    return picture(request)


class Shop:
    """An application that other sites send requests to."""

    def __init__(self, same_site: str = "lax", **settings: Any) -> None:
        methods = ["GET", "HEAD", "POST", "PUT", "OPTIONS"]
        pages: list[Any] = [page, write, enter, leave, try_to_leave]
        routes = [Route(f"/{each.__name__}", each, methods=methods) for each in pages]
        cookie = {"same-site": same_site, "secure": same_site == "none"}
        session = {"enabled": True, "cookie": cookie, **settings}
        self.app = enable_sessions(Starlette(routes=routes), config={"pyfly": {"session": session}})

    async def ask(
        self, method: str, path: str, headers: Headers, cookie: str | None = None
    ) -> Answer:
        return await ask(
            self.app, path, method=method, headers=list(headers.items()), cookie=cookie
        )

    async def log_in(self) -> str:
        return (await self.ask("POST", "/enter", {})).session_id

    async def user_of(self, cookie: str) -> str:
        return (await self.ask("GET", "/page", {}, cookie)).text

    @property
    def sessions(self) -> int:
        return len(self.app.state.session_container.session_store())


WITHHELD = [
    ("lax", "POST", FORM), ("lax", "POST", BARE), ("lax", "PUT", SCRIPT), ("lax", "GET", IMAGE),
    ("lax", "GET", FRAME), ("lax", "GET", SCRIPT), ("lax", "GET", BARE), ("lax", "POST", FOREIGN),
    ("lax", "POST", OPAQUE), ("strict", "GET", LINK), ("strict", "HEAD", LINK),
    ("strict", "POST", FORM), ("strict", "GET", IMAGE), ("strict", "GET", FOREIGN),
    ("strict", "POST", FOREIGN), ("strict", "POST", OPAQUE),
]  # fmt: skip
SENT = [
    ("lax", "GET", LINK),
    ("lax", "HEAD", LINK),
    ("lax", "GET", FOREIGN),
    ("lax", "GET", OPAQUE),
    *((same_site, "POST", fetched("same-origin")) for same_site in ("lax", "strict")),
    *((same_site, "POST", SIBLING) for same_site in ("lax", "strict")),
    *((same_site, "GET", fetched("none")) for same_site in ("lax", "strict")),
    *((same_site, "POST", OWN) for same_site in ("lax", "strict")),
    *((same_site, "POST", OWN_BEHIND_PROXY) for same_site in ("lax", "strict")),
    *((same_site, "POST", {}) for same_site in ("lax", "strict")),
    # What the browser says of the site counts more than the origin, which it may hide.
    *((same_site, "POST", fetched("same-origin") | OPAQUE) for same_site in ("lax", "strict")),
    ("none", "POST", FORM),
    ("none", "GET", IMAGE),
    ("none", "POST", FOREIGN),
]  # fmt: skip


def described(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return " ".join(value.values()) or "no header"
    return None


@for_each(("same_site", "method", "headers"), WITHHELD)
@for_each("path", ["/page", "/write", "/nothing-there"])
async def test_request_without_its_cookie_sets_none(
    path: str, same_site: str, method: str, headers: Headers
) -> None:
    """The browser may have withheld the cookie: the session is empty, not saved, and not told."""
    shop = Shop(same_site)
    answer = await shop.ask(method, path, headers)
    assert (answer.all("set-cookie"), shop.sessions) == ([], 0)
    if path == "/nothing-there":
        assert answer.status == 404
    else:
        assert (answer.status, answer.text) == (200, '{"user":null,"transient":true}')


@for_each(("same_site", "method", "headers"), SENT)
async def test_request_that_would_bring_its_cookie_gets_one(
    same_site: str, method: str, headers: Headers
) -> None:
    """The browser would have sent a cookie, so there is none: a visitor's session, as ever."""
    shop = Shop(same_site)
    answer = await shop.ask(method, "/write", headers)
    assert answer.text == '{"user":null,"transient":false}'
    assert answer.session_id
    assert shop.sessions == 1


@for_each(("same_site", "method", "headers"), WITHHELD)
async def test_request_that_brings_its_cookie_has_its_session(
    same_site: str, method: str, headers: Headers
) -> None:
    """The cookie came all the same: the session is there, wherever the request is from."""
    shop = Shop(same_site)
    alice = await shop.log_in()
    answer = await shop.ask(method, "/write", headers, alice)
    assert (answer.text, answer.session_id) == ('{"user":"alice","transient":false}', alice)


async def test_other_cookie_is_not_the_sessions() -> None:
    """A cookie of another name that came along does not tell that ours was not withheld."""
    shop = Shop()
    answer = await shop.ask("POST", "/page", {**FORM, "cookie": "theme=dark"})
    assert answer.all("set-cookie") == []


@for_each("headers", [{}, fetched("same-origin")])
@for_each("creation", ["always", "if-required"])
async def test_logout_without_cookie_removes_none(creation: str, headers: Headers) -> None:
    """A client without the cookie is told no deletion: nothing of it is there to be deleted."""
    answer = await Shop(creation=creation).ask("POST", "/leave", headers)
    assert (answer.status, answer.all("set-cookie")) == (200, [])


@for_each("headers", [
    FORM, fetched("same-site"), IMAGE, FRAME, SCRIPT, FOREIGN, OPAQUE,
])  # fmt: skip
@for_each("method", ["GET", "POST"])
@for_each("same_site", ["lax", "strict", "none"])
async def test_other_site_logs_nobody_out(same_site: str, method: str, headers: Headers) -> None:
    """A logout that comes from elsewhere is refused with 403, with and without the cookie."""
    shop = Shop(same_site)
    alice = await shop.log_in()
    for cookie in (alice, None):
        answer = await shop.ask(method, "/leave", headers, cookie)
        assert (answer.status, answer.all("set-cookie")) == (403, [])
    assert await shop.user_of(alice) == '{"user":"alice","transient":false}'


@for_each("headers", [fetched("same-origin"), fetched("none"), OWN, OWN_BEHIND_PROXY, {}])
async def test_own_site_logs_out(headers: Headers) -> None:
    """A logout from a page of the same origin, or typed by the user, holds."""
    shop = Shop()
    alice = await shop.log_in()
    answer = await shop.ask("POST", "/leave", headers, alice)
    assert answer.status == 200
    assert answer.own_cookie.is_deletion
    assert shop.sessions == 0


async def test_page_of_another_origin_logs_out_with_an_id_that_it_sends_itself() -> None:
    """No browser adds the header by itself, so nobody else's page can have sent it."""
    shop = Shop(resolver="header")
    alice = (await shop.ask("POST", "/enter", SCRIPT)).get("x-auth-token") or ""
    answer = await shop.ask("POST", "/leave", {**SCRIPT, "x-auth-token": alice})
    assert (answer.status, answer.get("x-auth-token"), shop.sessions) == (200, "", 0)


async def test_application_may_handle_a_logout_from_elsewhere() -> None:
    """The refusal is an error with a name, which a page can catch."""
    shop = Shop()
    alice = await shop.log_in()
    answer = await shop.ask("POST", "/try_to_leave", FORM, alice)
    assert answer.text == '"pyfly_session.errors.CrossSiteRequestError"'
    assert await shop.user_of(alice) == '{"user":"alice","transient":false}'


@for_each(("same_site", "method", "headers"), WITHHELD)
async def test_other_site_logs_nobody_in(same_site: str, method: str, headers: Headers) -> None:
    """A login that another site sends, with the attacker's password, is refused with 403."""
    shop = Shop(same_site)
    answer = await shop.ask(method, "/enter", headers)
    assert (answer.status, answer.all("set-cookie")) == (403, [])
    assert await shop.app.state.session_container.principal_sessions().count("alice") == 0


@for_each("path", ["/logout", "/nothing-there"])
async def test_form_of_another_site_does_not_replace_cookie_of_provider_login(path: str) -> None:
    """With a login at a provider, another site's POST to any address sets no cookie."""
    registration = {"client-id": "shop", "issuer-uri": "https://provider.test"}
    oauth2 = {
        "client": {"enabled": True, "registrations": {"accounts": registration}},
        "login": {"enabled": True},
    }
    config = {"pyfly": {"session": {"enabled": True}, "security": {"oauth2": oauth2}}}
    app = enable_sessions(Starlette(routes=[Route("/page", page)]), config=config)
    answer = await ask(app, path, method="POST", headers=list(FORM.items()))
    assert (answer.status, answer.all("set-cookie")) == (403 if path == "/logout" else 404, [])
