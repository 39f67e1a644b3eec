"""Logins under ordinary life: many tabs, long waits, reloads, forms, mounts, other processes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from pyfly_session import SecurityContext, login
from pyfly_session.security.oauth2 import InMemoryClientRegistrationRepository
from pyfly_session.security.oauth2.claims import qualified_context
from pyfly_session.web.cookies import SessionCookie
from tests.security.shop import Shop
from tests.security.test_backchannel import Place
from tests.support.cases import for_each
from tests.web.conftest import EACH_NATIVE_STORE, Site
from tests.web.driver import Answer, Browser, SetCookie

NAVIGATION = [
    ("accept", "text/html,*/*;q=0.8"), ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"), ("sec-fetch-site", "cross-site"),
]  # fmt: skip
BACK = "/login/oauth2/code/green"


async def follow(shop: Shop, answer: Answer, user: str = "alice") -> str | None:
    """Follow an answer as a browser does, over the provider too, and return where that ends."""
    location = answer.get("location")
    for _ in range(8):
        if answer.status not in (302, 303):
            break
        location = answer.get("location") or ""
        if location.startswith("https://green.test/"):
            # The provider knows the user, and asks nothing.
            location = f"{BACK}?{shop.green.log_in(location, user)}"
        elif not location.startswith("/login/"):
            return location
        answer = await shop.browser.get(location, headers=NAVIGATION)
    return f"{answer.status} {answer.text[:80]}"


async def begin_tabs(shop: Shop, count: int) -> list[str]:
    """Begin a login in each of some tabs at once."""
    opened = [shop.browser.open(f"/oauth2/authorization/green?target=/{n}") for n in range(count)]
    answers = [await each.end() for each in opened]
    for each in answers:
        shop.browser.take(each)
    return [each.get("location") or "" for each in answers]


async def return_at_once(shop: Shop, locations: list[str]) -> list[Answer]:
    """Come back in all tabs at once; the answers arrive in the opposite order."""
    opened = [
        shop.browser.open(f"{BACK}?{shop.green.log_in(each)}", headers=NAVIGATION)
        for each in locations
    ]
    answers = await asyncio.gather(*(each.end() for each in opened))
    for each in reversed(answers):
        shop.browser.take(each)
    return answers


class TestTabs:
    @for_each("known", [False, True])
    @for_each("creation", ["always", "if-required"])
    @for_each(
        "meanwhile", ["nothing", "expired", "replaced", "ended", "forgotten", "eleven minutes"]
    )
    async def test_five_tabs_that_come_back_at_once_are_all_logged_in(
        self, site: Site, known: bool, creation: Any, meanwhile: str
    ) -> None:
        site.configure(creation=creation)
        shop = Shop(site)
        if known:
            await shop.browser.get("/put?cart=lamp")
        locations = await begin_tabs(shop, 5)
        former = shop.browser.cookie
        if meanwhile == "expired":
            site.clock.advance(1801)
        elif meanwhile == "eleven minutes":
            site.clock.advance(660)
        elif meanwhile == "replaced":
            await shop.browser.get("/rotate")
        elif meanwhile == "ended":
            await site.probe.inner.delete(former or "")
        elif meanwhile == "forgotten":
            shop.browser.cookie = None
        answers = await return_at_once(shop, locations)
        assert [await follow(shop, each) for each in answers] == [f"/{n}" for n in range(5)]
        assert (await shop.who()).startswith("alice ")

    async def test_five_tabs_of_two_providers(self, shop: Shop) -> None:
        first = shop.green.log_in(await shop.start(query="?target=/green"))
        second = shop.harsh.log_in(await shop.start("harsh", "?target=/harsh"))
        opened = [
            shop.browser.open(f"/login/oauth2/code/{name}?{query}", headers=NAVIGATION)
            for name, query in (("green", first), ("harsh", second))
        ]
        for each in await asyncio.gather(*(each.end() for each in opened)):
            shop.browser.take(each)
        assert (await shop.who()).startswith("alice ")

    async def test_tabs_that_come_back_one_after_other_change_id_once(self, shop: Shop) -> None:
        """Otherwise the second would put out what the first tab is just loading."""
        locations = await begin_tabs(shop, 2)
        shop.site.clock.advance(1)
        cookies = []
        for each in locations:
            await shop.come_back(shop.green.log_in(each))
            cookies.append(shop.browser.cookie)
        assert cookies[0] == cookies[1]

    async def test_another_user_in_the_second_tab_is_another_login(self, shop: Shop) -> None:
        locations = await begin_tabs(shop, 2)
        shop.site.clock.advance(1)
        await shop.come_back(shop.green.log_in(locations[0], "alice"))
        await shop.browser.get("/put?cart=lamp")
        await shop.come_back(shop.green.log_in(locations[1], "bob"))
        assert await shop.who() == "bob None"


class TestOnce:
    @EACH_NATIVE_STORE
    async def test_an_attempt_counts_once_in_whatever_process(self, site: Site) -> None:
        shop, elsewhere = Shop(site), Shop(site.another_node())
        elsewhere.green = shop.green
        elsewhere.handler._transport = shop.handler._transport
        query = shop.green.log_in(await shop.start(query="?target=/orders"))
        apps = [shop.app, elsewhere.app] * 3
        opened = []
        for app in apps:
            browser = Browser(app, shop.browser.cookie)
            browser.others = shop.browser.others
            opened.append(browser.open(f"{BACK}?{query}", headers=NAVIGATION))
        answers = await asyncio.gather(*(each.end() for each in opened))
        assert {each.status for each in answers} == {303}
        assert shop.green.requests.count("/token") == 1
        for each in answers:
            shop.browser.take(each)
        assert {await follow(shop, each) for each in answers} == {"/orders"}
        assert (await shop.who()).startswith("alice ")

    async def test_a_reload_while_the_first_answer_is_lost_logs_in_again(self, shop: Shop) -> None:
        """A browser drops an answer, its cookie included, when its user reloads."""
        query = shop.green.log_in(await shop.start(query="?target=/orders"))
        lost = await shop.browser.open(f"{BACK}?{query}", headers=NAVIGATION).end()
        assert lost.get("location") == "/orders"
        answer = await shop.come_back(query, headers=NAVIGATION)
        assert (await follow(shop, answer), await shop.who()) == ("/orders", "alice None")

    async def test_a_reload_after_the_provider_failed_logs_in_again(self, shop: Shop) -> None:
        query = shop.green.log_in(await shop.start(query="?target=/orders"))
        shop.green.answers["/token"] = PlainTextResponse("x", 500)
        assert (await shop.come_back(query, headers=NAVIGATION)).status == 502
        shop.green.answers.clear()
        answer = await shop.come_back(query, headers=NAVIGATION)
        assert (await follow(shop, answer), await shop.who()) == ("/orders", "alice None")

    async def test_who_cancelled_may_go_back_and_log_in(self, shop: Shop) -> None:
        location = await shop.start(query="?target=/orders")
        cancelled = shop.green.log_in(location, code=None, error="access_denied")
        answer = await shop.come_back(cancelled, headers=NAVIGATION)
        assert answer.status == 400
        assert 'href="/oauth2/authorization/green?target=/orders"' in answer.text
        answer = await shop.come_back(shop.green.log_in(location), headers=NAVIGATION)
        assert (answer.get("location"), await shop.who()) == ("/orders", "alice None")

    async def test_a_demand_for_a_recent_login_is_not_lost_on_the_way(self, shop: Shop) -> None:
        """Not by an answer without a code, nor by one that was used."""
        await shop.log_in()
        location = await shop.start(query="?max_age=300&target=/pay")
        shop.green.token_claims = {"auth_time": int(shop.site.clock())}
        for query in (shop.green.log_in(location, code=None), shop.green.log_in(location)) * 2:
            answer = await shop.come_back(query, headers=NAVIGATION)
            if answer.get("location") == "/pay":
                continue
            if answer.status == 303:
                answer = await shop.browser.get(answer.get("location") or "", headers=NAVIGATION)
            assert parse_qs(urlsplit(answer.get("location") or "").query)["max_age"] == ["300"]

    async def test_the_back_button_after_a_logout_leads_to_the_provider(self, shop: Shop) -> None:
        shop.green.published = {"authorization_response_iss_parameter_supported": True}
        location = await shop.start(query="?target=/orders")
        query = shop.green.log_in(location, iss=shop.green.issuer)
        await shop.come_back(query)
        await shop.browser.get("/logout", method="POST")
        answer = await shop.come_back(query, headers=NAVIGATION)
        assert (answer.get("location") or "").startswith(BACK)
        answer = await shop.browser.get(answer.get("location") or "", headers=NAVIGATION)
        assert (answer.get("location") or "").startswith("https://green.test/auth")
        assert await shop.who() == "None None"


class TestMercy:
    async def test_a_login_that_took_too_long_begins_anew(self, shop: Shop) -> None:
        query = shop.green.log_in(await shop.start())
        shop.site.clock.advance(3600)
        answer = await shop.come_back(query, headers=NAVIGATION)
        assert (answer.status, await follow(shop, answer)) == (302, "/")
        assert await shop.who() == "alice None"

    async def test_without_cookies_it_ends_in_a_page_and_in_no_circle(self, shop: Shop) -> None:
        query = shop.green.log_in(await shop.start())
        statuses: list[int] = []
        while not statuses or statuses[-1] == 302:
            shop.browser.others.clear()
            answer = await shop.come_back(query, headers=NAVIGATION)
            statuses.append(answer.status)
            if answer.status == 302:
                query = shop.green.log_in(answer.get("location") or "")
        assert statuses == [302, 302, 302, 400]
        assert "invalid_state" in answer.text

    @for_each("state", ["", "guess", "x" * 42, "x" * 44, "....", "." * 46, "é" * 43])
    async def test_what_is_no_state_of_ours_begins_nothing(self, shop: Shop, state: str) -> None:
        query = urlencode({"code": "x", "state": state})
        answer = await shop.come_back(query, headers=NAVIGATION)
        assert (answer.status, "invalid_state" in answer.text) == (400, True)

    @for_each(
        "headers",
        [
            [("accept", "application/json")],
            [*NAVIGATION[:1], ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
            [*NAVIGATION[:2], ("sec-fetch-dest", "iframe")],
            [*NAVIGATION, ("sec-purpose", "prefetch")],
        ],
    )
    async def test_only_a_page_is_sent_again(self, shop: Shop, headers: Any) -> None:
        assert (await shop.come_back(f"code=x&state={'x' * 43}", headers=headers)).status == 400

    async def test_page_that_attacker_links_to_logs_in_its_visitor(self, shop: Shop) -> None:
        """The attacker's code is not exchanged; the visitor logs in as they are."""
        attacker = Shop(shop.site)
        attacker.green = shop.green
        location = parse_qs(urlsplit(await shop.start()).query)
        query = f"code=of-the-attacker&state={location['state'][0]}"
        shop.browser = Browser(shop.app)
        answer = await shop.come_back(query, headers=NAVIGATION)
        assert (await follow(shop, answer, "victim"), await shop.who()) == ("/", "victim None")


class TestCookies:
    def cookies(self, answer: Answer) -> list[SetCookie]:
        found = [SetCookie.parse(each) for each in answer.all("set-cookie")]
        return [each for each in found if each.name.startswith("PYFLY_LOGIN_")]

    async def test_only_the_way_back_gets_it(self, shop: Shop) -> None:
        [cookie] = self.cookies(await shop.browser.get("/oauth2/authorization/green"))
        assert dict(cookie.attributes) == {
            "httponly": "", "max-age": "3600", "path": "/login/oauth2/code/", "samesite": "lax",
        }  # fmt: skip

    async def test_it_is_as_secure_and_as_wide_as_the_sessions(self, site: Site) -> None:
        site.configure(cookie=SessionCookie(secure=True, domain="example.test"))
        shop = Shop(site)
        [cookie] = self.cookies(await shop.browser.get("/oauth2/authorization/green"))
        assert "secure" in cookie.attributes
        assert cookie.attributes["domain"] == "example.test"

    async def test_it_follows_an_address_that_a_proxy_maps(self, shop: Shop) -> None:
        uri = "https://example.test/shop/signed-in/green"
        shop.registrations.add(shop.green.registration("green", redirect_uri=uri))
        [cookie] = self.cookies(await shop.browser.get("/oauth2/authorization/green"))
        assert cookie.attributes["path"] == "/shop/signed-in/"

    async def test_the_longest_target_fits(self, shop: Shop) -> None:
        for target in ("/" + "a" * 2047, "/" + "\u00fc" * 600):
            query = shop.green.log_in(await shop.start(query=f"?{urlencode({'target': target})}"))
            assert max(len(each.value) for each in shop.browser.others.values()) <= 4000
            assert (await shop.come_back(query)).status == 303

    async def test_a_target_that_does_not_fit_gives_way(self, shop: Shop) -> None:
        target = urlencode({"target": "/" + "\u20ac" * 2000})
        answer = await shop.come_back(shop.green.log_in(await shop.start(query=f"?{target}")))
        assert answer.get("location") == "/"

    async def test_a_public_client_in_one_process(self, shop: Shop) -> None:
        shop.registrations.add(replace(shop.green.registration("green"), client_secret=""))
        assert (await shop.log_in()).status == 303

    async def test_a_secret_of_ones_own_is_for_all_processes(self, site: Site) -> None:
        shop = Shop(site, secret="s" * 32)
        other = Shop(site.another_node(), secret="s" * 32)
        public = replace(shop.green.registration("green"), client_secret="")
        for each in (shop, other):
            each.registrations.add(public)
        query = shop.green.log_in(await shop.start())
        other.handler._transport = shop.handler._transport
        shop.browser.app = other.app
        assert (await shop.come_back(query)).status == 303

    async def test_a_restart_between_start_and_return_is_not_noticed(self, site: Site) -> None:
        shop, anew = Shop(site), Shop(site.another_node())
        query = shop.green.log_in(await shop.start(query="?target=/orders"))
        anew.handler._transport = shop.handler._transport
        shop.browser.app = anew.app
        assert (await shop.come_back(query)).get("location") == "/orders"


FORM = [
    ("content-type", "application/x-www-form-urlencoded"),
    ("origin", "https://green.test"),
    *NAVIGATION,
]


class TestForms:
    @pytest.fixture
    def shop(self, site: Site) -> Shop:
        shop = Shop(site)
        shop.registrations.add(shop.green.registration("green", response_mode="form_post"))
        return shop

    async def post(self, shop: Shop, query: str) -> Answer:
        """Send the provider's form as a browser does, with the cookies that may go along."""
        session, shop.browser.cookie = shop.browser.cookie, None
        lax = {
            name: each
            for name, each in shop.browser.others.items()
            if each.attributes["samesite"] == "lax"
        }
        for name in lax:
            del shop.browser.others[name]
        answer = await shop.browser.get(BACK, method="POST", headers=FORM, body=query.encode())
        assert answer.cookie() is None, "it would replace the session's"
        shop.browser.cookie = session
        shop.browser.others |= lax
        return answer

    async def test_the_form_becomes_a_get_that_carries_the_session(self, shop: Shop) -> None:
        await shop.browser.get("/put?cart=lamp")
        location = await shop.start(query="?target=/orders")
        assert parse_qs(urlsplit(location).query)["response_mode"] == ["form_post"]
        [cookie] = shop.browser.others.values()
        assert cookie.attributes["samesite"] == "none"
        assert "secure" in cookie.attributes
        query = shop.green.log_in(location, iss=shop.green.issuer)
        answer = await self.post(shop, query)
        assert answer.status == 303
        way = answer.get("location") or ""
        assert "code" not in parse_qs(urlsplit(way).query)
        assert parse_qs(query)["code"][0] not in f"{way}{answer.all('set-cookie')}"
        answer = await shop.browser.get(way, headers=NAVIGATION)
        assert (answer.status, answer.get("location")) == (303, "/orders")
        assert await shop.who() == "alice lamp"

    async def test_an_answer_of_another_issuer_is_refused(self, shop: Shop) -> None:
        query = shop.green.log_in(await shop.start(), iss="https://evil.test")
        answer = await shop.browser.get((await self.post(shop, query)).get("location") or "")
        await shop.require_failure(answer, "invalid_iss")

    async def test_a_form_is_worth_nothing_in_another_browser(self, shop: Shop) -> None:
        query = shop.green.log_in(await shop.start(), "mallory")
        shop.browser = Browser(shop.app)
        await shop.who()
        answer = await shop.browser.get((await self.post(shop, query)).get("location") or "")
        await shop.require_failure(answer, "invalid_state")
        assert "/token" not in shop.green.requests

    async def test_it_is_used_once(self, shop: Shop) -> None:
        query = shop.green.log_in(await shop.start(query="?target=/orders"))
        for _ in range(2):
            way = (await self.post(shop, query)).get("location") or ""
            assert (await shop.browser.get(way, headers=NAVIGATION)).get("location") == "/orders"
        assert shop.green.requests.count("/token") == 1

    @for_each(
        ("body", "status"),
        [("state=a&state=b", 400), ("x" * 20_000, 413), ("", 303), ("state=%00", 303)],
    )
    async def test_a_form_that_makes_no_sense(self, shop: Shop, body: str, status: int) -> None:
        assert (await self.post(shop, body)).status == status

    async def test_a_code_that_fits_into_no_cookie(self, shop: Shop) -> None:
        query = shop.green.log_in(await shop.start(), code="c" * 4000)
        assert (await self.post(shop, query)).status == 502


class TestBelowAPrefix:
    async def go(self, shop: Shop, app: Any, root: str, target: str = "") -> list[str | None]:
        """Log in and out below a path; return where the browser was sent on the way."""
        browser = shop.browser = Browser(app)
        answer = await browser.get(f"{root}/oauth2/authorization/green{target}")
        location = answer.get("location") or ""
        sent = [parse_qs(urlsplit(location).query)["redirect_uri"][0]]
        assert all(each.attributes["path"].startswith(root) for each in browser.others.values())
        answer = await browser.get(f"{root}{BACK}?{shop.green.log_in(location)}")
        out = await browser.get(f"{root}/logout", method="POST")
        return [*sent, answer.get("location"), out.get("location")]

    @for_each(
        ("target", "lands"),
        [
            ("", "/shop/home"),
            ("?target=/orders", "/shop/orders"),
            ("?target=/shop/orders?a=1", "/shop/orders?a=1"),
            ("?target=/shopping", "/shop/shopping"),
            ("?target=/shop/../admin", "/shop/home"),
            ("?target=//evil.test", "/shop/home"),
        ],
    )
    async def test_mounted_one_stays_where_it_is(self, site: Site, target: str, lands: str) -> None:
        shop = Shop(site, default_target="/home", logout_target="/bye")
        app = Starlette(routes=[Mount("/shop", shop.app)])
        expected = [f"http://example.test/shop{BACK}", lands, "/shop/bye"]
        assert await self.go(shop, app, "/shop", target) == expected

    async def test_a_second_look_stays_where_the_browser_is(self, site: Site) -> None:
        """Below a proxy that strips the prefix, and at an address of its own."""
        shop = Shop(site)
        uri = "{baseUrl}/signed-in/{registrationId}"
        shop.registrations.add(shop.green.registration("green", redirect_uri=uri))

        async def proxied(scope: Any, receive: Any, send: Any) -> None:
            path = scope["path"].removeprefix("/eu").replace("/signed-in/", "/login/oauth2/code/")
            await shop.app({**scope, "root_path": "/eu", "path": path}, receive, send)

        browser = Browser(proxied)
        answer = await browser.get("/eu/oauth2/authorization/green")
        query = shop.green.log_in(answer.get("location") or "")
        await browser.get(f"/eu/signed-in/green?{query}")
        await browser.get("/eu/logout", method="POST")
        answer = await browser.get(f"/eu/signed-in/green?{query}")
        assert (answer.get("location") or "").startswith("/eu/signed-in/green?state=")

    @for_each("strips", [False, True])
    async def test_a_proxy_with_a_prefix(self, shop: Shop, strips: bool) -> None:
        """As uvicorn tells of ``--root-path``, or of a proxy that strips the prefix."""

        async def proxied(scope: Any, receive: Any, send: Any) -> None:
            path = scope["path"].removeprefix("/eu") if strips else scope["path"]
            await shop.app({**scope, "root_path": "/eu", "path": path}, receive, send)

        expected = [f"http://example.test/eu{BACK}", "/eu/", "/eu/"]
        assert await self.go(shop, proxied, "/eu") == expected

    async def test_a_failure_leads_back_into_the_application(self, shop: Shop) -> None:
        app = Starlette(routes=[Mount("/shop", shop.app)])
        shop.browser = Browser(app)
        answer = await shop.browser.get("/shop/oauth2/authorization/green?target=/orders")
        query = shop.green.log_in(answer.get("location") or "", code=None, error="access_denied")
        answer = await shop.browser.get(f"/shop{BACK}?{query}", headers=NAVIGATION)
        assert 'href="/shop/oauth2/authorization/green?target=/shop/orders"' in answer.text

    async def test_addresses_with_the_base_of_the_request(self, shop: Shop) -> None:
        shop.green.published = {"end_session_endpoint": "https://green.test/end"}
        shop.registrations.add(
            shop.green.registration(
                "green",
                redirect_uri="{baseUrl}/login/oauth2/code/{registrationId}",
                post_logout_redirect_uri="{baseUrl}/bye",
            )
        )
        app = Starlette(routes=[Mount("/shop", shop.app)])
        back, _, out = await self.go(shop, app, "/shop")
        assert back == f"http://example.test/shop{BACK}"
        asked = parse_qs(urlsplit(out or "").query)
        assert asked["post_logout_redirect_uri"] == ["http://example.test/shop/bye"]


class TestLogoutsAtTheProvider:
    @pytest.mark.parametrize("names", [{"sid": "s-1"}, {"sub": "alice"}])
    @pytest.mark.parametrize("moment", ["/token", "/userinfo"])
    async def test_one_that_arrives_during_a_login_ends_it(
        self, site: Site, names: dict[str, Any], moment: str
    ) -> None:
        place = Place(site)
        place.registrations.add(place.green.registration("green", load_user_info=True))
        place.green.token_claims = {"sid": "s-1"}
        answers = []

        async def log_out(path: str) -> None:
            if path == moment:
                place.site.clock.advance(1)
                answers.append(await place.post(place.green.logout_token(**names)))

        query = place.green.log_in(await place.start())
        place.green.before = log_out
        answer = await place.come_back(query)
        assert [each.status for each in answers] == [200]
        await place.require_failure(answer, "logged_out", 401)

    async def test_one_that_arrives_while_the_session_is_stored_ends_it(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It cannot find the session yet, and the login does not see its note before."""
        place = Place(site)
        place.green.token_claims = {"sid": "s-1"}
        query = place.green.log_in(await place.start())
        place.site.clock.advance(1)
        ended = place.handler.notes(site.filter)
        answers: list[Answer] = []
        waiting = [place.green.logout_token(sid="s-1")]
        principals = site.filter.repository.principals
        register = principals.register

        async def noted_late(name: str, *args: Any, **options: Any) -> Any:
            while waiting:
                answers.append(await place.post(waiting.pop()))
            return await register(name, *args, **options)

        monkeypatch.setattr(principals, "register", noted_late)
        await place.come_back(query)
        assert [each.status for each in answers] == [200]
        assert await ended.logged_out(["pyfly:oidc:green:sid:s-1"], 0)
        assert (await place.who()).startswith("None ")

    async def test_the_other_sessions_of_the_user_are_not_ended_by_it(self, site: Site) -> None:
        place = Place(site)
        other = await place.enter(sid="s-2")
        place.green.token_claims = {"sid": "s-1"}
        place.browser = Browser(place.app)
        query = place.green.log_in(await place.start())

        async def log_out(path: str) -> None:
            if path == "/token":
                place.site.clock.advance(1)
                await place.post(place.green.logout_token(sid="s-1"))

        place.green.before = log_out
        assert ((await place.come_back(query)).status, await place.is_in(other)) == (401, [True])

    async def test_the_next_login_is_not_ended_by_it(self, site: Site) -> None:
        place = Place(site)
        await place.enter(sid="s-1")
        await place.post(place.green.logout_token(sub="alice"))
        place.site.clock.advance(1)
        browser = await place.enter(sid="s-2")
        assert await place.is_in(browser) == [True]

    async def test_second_factor_keeps_what_provider_calls_session(self, site: Site) -> None:
        place = Place(site)

        async def step_up(request: Request) -> PlainTextResponse:
            await login(request, SecurityContext(user_id="alice", roles=["ADMIN"]))
            return PlainTextResponse()

        place.app.router.routes.append(Route("/step-up", step_up))
        browser = await place.enter(sid="s-1")
        await browser.get("/step-up")
        await place.post(place.green.logout_token(sid="s-1"))
        assert await place.is_in(browser) == [False]


class TestWhoItIs:
    async def test_users_of_two_providers_and_of_a_form_are_never_one(self, site: Site) -> None:
        shop = Shop(site, to_context=qualified_context)

        async def form(request: Request) -> PlainTextResponse:
            await login(request, SecurityContext(user_id="alice"))
            return PlainTextResponse()

        shop.app.router.routes.append(Route("/form", form))
        await shop.log_in("alice")
        assert await shop.who() == "green:alice None"
        await shop.browser.get("/put?cart=lamp")
        await shop.come_back(shop.harsh.log_in(await shop.start("harsh"), "alice"), "harsh")
        assert await shop.who() == "harsh:alice None"
        await shop.browser.get("/put?cart=book")
        await shop.browser.get("/form")
        assert await shop.who() == "alice None"
        principals = site.filter.repository.principals
        for name in ("green:alice", "harsh:alice"):
            assert await principals.find_by_principal(name) == []
        assert len(await principals.find_by_principal("alice")) == 1

    @for_each(("more", "expected"), [((), "alice"), (("harsh",), "green:alice")])
    async def test_a_handler_made_by_hand_tells_them_apart_where_there_are_several(
        self, site: Site, more: tuple[str, ...], expected: str
    ) -> None:
        shop = Shop(site, to_context=None)
        registrations = [shop.green.registration(name) for name in ("green", *more)]
        shop.handler._repository = InMemoryClientRegistrationRepository(*registrations)
        await shop.log_in("alice")
        assert await shop.who() == f"{expected} None"

    async def test_an_issuer_that_is_required_and_not_known_is_refused(self, shop: Shop) -> None:
        base = shop.green.issuer
        endpoints = {"authorization_uri": f"{base}/auth", "token_uri": f"{base}/token"}
        shop.registrations.add(
            shop.green.registration(
                "green", issuer_uri="", require_iss=True, user_info_uri=f"{base}/userinfo",
                **endpoints,
            )
        )  # fmt: skip
        for issuer in (None, "https://evil.test", base):
            query = shop.green.log_in(await shop.start(), iss=issuer)
            answer = await shop.come_back(query)
            assert json.loads(answer.text)["error"] == "invalid_iss"
