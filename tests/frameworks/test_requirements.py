"""Who is let through, and what the others are told: 401, 403, or where to log in."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from pyfly_session import SecurityContext, SessionFilter, WebFilterChainMiddleware
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.fastapi import LoginRequired, local_target
from pyfly_session.security import SecurityContextFilter
from tests.frameworks import shop
from tests.security.shop import Shop as OAuth2Shop
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Answer, Browser, ask

PAGE = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")]
API = [("accept", "application/json")]


@pytest.fixture
def app(site: Site) -> FastAPI:
    app = shop.create_app()
    app.add_middleware(WebFilterChainMiddleware, filters=[site.filter])
    return app


async def logged_in(app: FastAPI, query: str = "") -> Browser:
    browser = Browser(app)
    await browser.get(f"/login/alice{query}", method="POST")
    return browser


def challenge(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.get("www-authenticate")


@for_each("prefix", ["", "/inner"])
@for_each("headers", [API, PAGE, []])
async def test_an_anonymous_client_gets_a_401(
    app: FastAPI, prefix: str, headers: list[tuple[str, str]]
) -> None:
    answer = await ask(app, f"{prefix}/api/me", headers=headers)
    assert challenge(answer) == (401, 'Session error="login_required"')
    assert json.loads(answer.text) == {"detail": "You have to log in."}
    assert (answer.get("cache-control"), answer.get("vary")) == ("no-store", "Accept, Cookie")


@for_each(
    "headers",
    [
        {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
        {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        {"sec-fetch-mode": "same-origin", "sec-fetch-dest": "serviceworker"},
        {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-purpose": "prefetch"},
        {"sec-purpose": "prefetch;prerender"},
        {"purpose": "prefetch"},
        {"x-moz": "prefetch"},
        {"x-requested-with": "XMLHttpRequest"},
        {"hx-request": "true"},
    ],
)
async def test_only_opened_page_is_sent_to_login(app: FastAPI, headers: dict[str, str]) -> None:
    """Nothing else could show it, and nothing else is a page to come back to."""
    answer = await ask(app, "/account/orders", headers=[*PAGE, *headers.items()])
    assert challenge(answer) == (401, 'Session error="login_required"')
    assert answer.get("location") is None


@for_each(
    "headers",
    [
        {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-site": "none"},
        {"x-requested-with": "com.example.app"},
        {},
    ],
)
async def test_a_page_is_sent_to_the_login(app: FastAPI, headers: dict[str, str]) -> None:
    assert (await ask(app, "/account/orders", headers=[*PAGE, *headers.items()])).status == 303


@pytest.mark.parametrize("provider", [True, False])
@pytest.mark.parametrize("sessions_in", ["outer", "middle", "inner"])
async def test_below_mount_login_is_where_sessions_are(sessions_in: str, *, provider: bool) -> None:
    """The innermost one, and not of an application around it, whoever proves who the user is."""
    url = "/oauth2/authorization/green" if provider else "/login"
    inner = FastAPI()

    @inner.get("/orders", dependencies=[Depends(LoginRequired(login_url=url))])
    async def orders() -> None: ...

    middle = Starlette(routes=[Mount("/cellar", inner)])
    outer = Starlette(routes=[Mount("/shop", middle)])
    apps: dict[str, Any] = {"outer": outer, "middle": middle, "inner": inner}
    filters: list[Any] = [SessionFilter(InMemorySessionStore())]
    if provider:
        filters.append(SecurityContextFilter())
    apps[sessions_in].add_middleware(WebFilterChainMiddleware, filters=filters)
    answer = await ask(outer, "/shop/cellar/orders", headers=PAGE)
    root = {"outer": "", "middle": "/shop", "inner": "/shop/cellar"}[sessions_in]
    name = "target" if provider else "next"
    assert answer.get("location") == f"{root}{url}?{name}=/shop/cellar/orders"


@for_each("prefix", ["", "/inner"])
async def test_a_user_is_let_through_until_the_logout(app: FastAPI, prefix: str) -> None:
    browser = await logged_in(app)
    assert (await browser.get(f"{prefix}/api/me")).text == '"alice"'
    await browser.get("/logout", method="POST")
    assert (await browser.get(f"{prefix}/api/me")).status == 401


@for_each(
    ("path", "target"),
    [
        ("/account/orders", "/account/orders"),
        ("/account/orders?page=2&sort=a%26b", "/account/orders?page=2&sort=a%26b"),
        ("/inner/account/orders", "/inner/account/orders"),
        ("/account/a b/käse", "/account/a%20b/k%C3%A4se"),
        ("/account/%2e", "/account/%252e"),
    ],
)
async def test_browser_is_sent_to_login_and_told_way(app: FastAPI, path: str, target: str) -> None:
    answer = await ask(app, path, headers=PAGE)
    location = urlsplit(answer.get("location") or "")
    assert (answer.status, location.netloc, location.path) == (303, "", "/login")
    wanted = parse_qs(location.query)["next"][0]
    assert (wanted, local_target(wanted, "/refused")) == (target, target)


async def test_a_form_is_not_sent_again_by_the_way_back(app: FastAPI) -> None:
    answer = await ask(app, "/account/orders", headers=PAGE, method="POST")
    assert (answer.status, answer.get("location")) == (303, "/login")
    head = await ask(app, "/account/orders", headers=PAGE, method="HEAD")
    assert head.get("location") == "/login?next=/account/orders"


NO_PAGE = [("accept", "text/html;q=0, application/xhtml+xml; q=0.0, application/json")]


@for_each("headers", [API, [], [("accept", "*/*")], NO_PAGE])
async def test_program_is_not_sent_to_page(app: FastAPI, headers: list[tuple[str, str]]) -> None:
    answer = await ask(app, "/account/orders", headers=headers)
    assert challenge(answer) == (401, 'Session error="login_required"')
    assert answer.get("location") is None


@for_each("path", ["//evil.example", "//evil.example/%2f..", "/\\evil.example", "/\t/evil.example"])
async def test_no_path_leads_to_another_site(site: Site, path: str) -> None:
    """Whatever the server takes for a path, a browser would follow after the login."""
    app = FastAPI()
    app.add_middleware(WebFilterChainMiddleware, filters=[site.filter])
    app.add_api_route("/{rest:path}", lambda: "ok", dependencies=[Depends(shop.page_login)])
    answer = await ask(app, path, headers=PAGE)
    assert answer.status == 303
    target = parse_qs(urlsplit(answer.get("location") or "").query).get("next", ["/"])[0]
    assert target == "/" or local_target(target, "/refused") == target
    assert not target.startswith(("//", "/\\"))


async def test_a_prefix_of_a_proxy_is_kept(app: FastAPI) -> None:
    async def behind_proxy(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "root_path": "/prefix"}, receive, send)

    for path in ("/account/orders", "/prefix/account/orders"):
        answer = await ask(behind_proxy, path, headers=PAGE)
        assert answer.get("location") == "/prefix/login?next=/prefix/account/orders"
    answer = await ask(behind_proxy, "/prefix/inner/account/orders", headers=PAGE)
    assert answer.get("location") == "/prefix/login?next=/prefix/inner/account/orders"


async def test_a_login_of_long_ago_has_to_be_renewed(app: FastAPI, site: Site) -> None:
    browser = await logged_in(app)
    site.clock.advance(299)
    assert (await browser.get("/checkout")).text == '"alice"'
    site.clock.advance(1)
    answer = await browser.get("/checkout", headers=API)
    assert challenge(answer) == (401, 'Session error="recent_login_required"')
    page = await browser.get("/checkout", headers=PAGE)
    assert (page.status, page.get("location")) == (303, "/login?next=/checkout")
    # For everything else the login holds.
    assert (await browser.get("/api/me")).text == '"alice"'
    await browser.get("/login/alice", method="POST")
    assert (await browser.get("/checkout")).text == '"alice"'


async def test_user_whom_provider_did_not_ask_has_to_prove_it(app: FastAPI, site: Site) -> None:
    known = await site.seed(
        SECURITY_CONTEXT=SecurityContext("alice"),
        _authenticated_at=site.clock(),
        _auth_time=site.clock() - 300,
    )
    assert (await ask(app, "/api/me", cookie=known)).text == '"alice"'
    assert (await ask(app, "/checkout", cookie=known)).status == 401


def shop_that_wants_a_recent_login(site: Site, login_url: str) -> OAuth2Shop:
    """Return one whose page ``/pay`` needs a login of the last five minutes."""
    shop = OAuth2Shop(site)
    recent = LoginRequired(login_url=login_url, max_age=300)
    app = FastAPI()
    app.add_api_route("/pay", lambda: "paid", dependencies=[Depends(recent)])
    app.router.routes.extend(shop.handler.routes())
    app.add_middleware(WebFilterChainMiddleware, filters=[site.filter])
    shop.browser.app = app
    return shop


async def test_a_login_page_of_ones_own_leads_to_a_recent_login_at_the_provider(site: Site) -> None:
    """The page knows nothing of it; the session carries the demand to the provider, once."""
    shop = shop_that_wants_a_recent_login(site, "/login")
    shop.green.token_claims["auth_time"] = int(site.clock()) - 5_000
    await shop.log_in()
    answer = await shop.browser.get("/pay", headers=PAGE)
    assert (answer.status, answer.get("location")) == (303, "/login?next=/pay")
    location = await shop.start(query="?target=/pay")
    assert parse_qs(urlsplit(location).query)["max_age"] == ["300"]
    shop.green.token_claims["auth_time"] = int(site.clock())
    await shop.come_back(shop.green.log_in(location))
    assert (await shop.browser.get("/pay", headers=PAGE)).text == '"paid"'
    assert "max_age" not in await shop.start()


async def test_a_provider_that_does_not_tell_since_when_has_to(site: Site) -> None:
    """Who sits at an open browser cannot pass by a login that nobody was asked for."""
    shop = shop_that_wants_a_recent_login(site, "/oauth2/authorization/green")
    await shop.log_in()
    answer = await shop.browser.get("/pay", headers=PAGE)
    assert answer.get("location") == "/oauth2/authorization/green?target=/pay"
    answer = await shop.log_in()
    assert '"error":"invalid_id_token"' in answer.text
    assert (await shop.browser.get("/pay", headers=PAGE)).status == 303


async def test_a_login_of_unknown_age_is_not_recent(app: FastAPI, site: Site) -> None:
    """Sessions of the original have a context, and do not say since when."""
    known = await site.seed(SECURITY_CONTEXT=SecurityContext("alice"))
    assert (await ask(app, "/api/me", cookie=known)).text == '"alice"'
    assert (await ask(app, "/checkout", cookie=known)).status == 401


@for_each(
    ("query", "status"),
    [
        ("?roles=ADMIN&permissions=lamps:write", 200),
        ("?roles=ADMIN+USER&permissions=lamps:read+lamps:write", 200), ("?roles=ADMIN", 403),
        ("?permissions=lamps:write", 403), ("?roles=admin&permissions=lamps:write", 403), ("", 403),
    ],
)  # fmt: skip
async def test_rights_are_checked(app: FastAPI, query: str, status: int) -> None:
    browser = await logged_in(app, query)
    answer = await browser.get("/admin", headers=PAGE)
    assert answer.status == status
    if status == 403:
        assert json.loads(answer.text) == {"detail": "You are not allowed to do this."}


async def test_without_a_login_rights_are_not_looked_at(app: FastAPI) -> None:
    assert (await ask(app, "/admin")).status == 401


async def test_a_session_may_be_demanded_without_a_login(app: FastAPI) -> None:
    browser = Browser(app)
    answer = await browser.get("/known")
    assert challenge(answer) == (401, 'Session error="session_required"')
    assert (await browser.get("/known")).text == '"known"'
    assert (await ask(app, "/known", cookie="f" * 32)).status == 401


async def test_nobody_is_sent_to_log_in_while_the_store_is_down(site: Site) -> None:
    site.configure(on_store_error="anonymous")
    app = shop.create_app()
    app.add_middleware(WebFilterChainMiddleware, filters=[site.filter])
    browser = await logged_in(app)
    site.probe.fail()
    for path in ("/api/me", "/account/orders", "/known"):
        answer = await ask(app, path, cookie=browser.cookie, headers=PAGE)
        assert (answer.status, answer.get("retry-after")) == (503, "5")
    assert (await ask(app, "/who", cookie=browser.cookie)).text == "null"
    site.probe.recover()
    assert (await browser.get("/api/me")).text == '"alice"'


@for_each("path", ["/logout", "/login/alice"])
async def test_who_comes_with_an_id_of_a_moment_ago_has_to_log_in(app: FastAPI, path: str) -> None:
    browser = await logged_in(app)
    former = browser.cookie
    await browser.get(path, method="POST")
    assert challenge(await ask(app, "/api/me", cookie=former))[0] == 401
    assert challenge(await ask(app, "/known", cookie=former))[0] == 401
    answer = await ask(app, "/account/orders", cookie=former, headers=PAGE)
    assert (answer.status, answer.cookie()) == (303, None)


async def test_whose_cookie_was_withheld_has_to_log_in(app: FastAPI) -> None:
    foreign = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]
    answer = await ask(app, "/account/orders", method="POST", headers=[*PAGE, *foreign])
    assert (answer.status, answer.cookie()) == (303, None)
    answer = await ask(app, "/api/me", headers=foreign)
    assert challenge(answer) == (401, 'Session error="login_required"')


async def test_a_socket_without_a_login_is_closed(app: FastAPI) -> None:
    answer = await ask(app, "/socket", kind="websocket", headers=PAGE)
    assert [each["type"] for each in answer.messages] == ["websocket.close"]
    assert answer.messages[0]["code"] == 1008
    browser = await logged_in(app)
    assert (await browser.get("/socket", kind="websocket")).messages[1]["text"] == "alice"
    assert '"bell"' in (await browser.get("/shop/cart")).text


@for_each(
    ("options", "message"),
    [
        ({"max_age": 0}, "max_age must be at least 1 second, got 0"),
        ({"roles": "ADMIN"}, "lists of str, got 'ADMIN'"),
        ({"permissions": "lamps:write"}, "lists of str, got 'lamps:write'"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        LoginRequired(**options)  # type: ignore[arg-type]


async def test_the_same_refusal_twice_writes_the_demand_once(app: FastAPI, site: Site) -> None:
    browser = await logged_in(app)
    site.clock.advance(300)
    await browser.get("/checkout", headers=API)
    site.probe.calls.clear()
    await browser.get("/checkout", headers=API)
    assert site.probe.names == ["load_and_slide"]
