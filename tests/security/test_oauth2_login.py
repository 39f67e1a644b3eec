"""The login with a provider, as it goes when everybody behaves, and when a provider is down."""

import json
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from starlette.applications import Starlette

from pyfly_session import ConfigurationError, SecurityContext, SessionStoreUnavailableError
from pyfly_session.security.login import last_authentication
from pyfly_session.security.oauth2 import ClientRegistration
from pyfly_session.security.oauth2.claims import claims_to_context
from pyfly_session.web import HIGHEST_PRECEDENCE
from tests.security.shop import Shop, path_of
from tests.support.cases import for_each
from tests.support.sessions import loaded
from tests.web.driver import Browser, ask


async def context_in(shop: Shop) -> SecurityContext:
    stored = await shop.site.stored(shop.browser.cookie)
    assert stored is not None
    context = stored["SECURITY_CONTEXT"]
    assert isinstance(context, SecurityContext)
    return context


async def test_the_browser_is_sent_to_the_provider_with_all_that_protects(shop: Shop) -> None:
    shop.registrations.add(shop.green.registration("green", scopes=["openid", "email"]))
    asked = parse_qs(urlsplit(await shop.start()).query)
    assert (asked["client_id"], asked["scope"]) == (["shop"], ["openid email"])
    assert asked["redirect_uri"] == ["http://example.test/login/oauth2/code/green"]
    assert asked["code_challenge_method"] == ["S256"]
    assert min(len(asked[name][0]) for name in ("state", "nonce", "code_challenge")) >= 43


async def test_login_and_logout(shop: Shop) -> None:
    await shop.browser.get("/put?cart=lamp")
    answer = await shop.log_in(query="?target=/orders")
    assert (answer.status, answer.get("location")) == (303, "/orders")
    assert (answer.get("cache-control"), await shop.who()) == ("no-store", "alice lamp")
    assert (await context_in(shop)).attributes == {
        "email": "alice@example.org",
        "registration_id": "green",
    }
    answer = await shop.browser.get("/logout", method="POST")
    assert (answer.status, answer.get("location"), shop.browser.cookie) == (303, "/", None)
    assert await shop.who() == "None None"


class TestHowLongAgoTheUserProvedWhoTheyAre:
    async def age(self, shop: Shop) -> float:
        """Return what a requirement of a recent login would see."""
        session = await loaded(shop.site.filter.repository, shop.browser.cookie or "")
        since = last_authentication(session)
        assert since is not None
        return shop.site.clock() - since

    async def test_is_what_the_provider_tells(self, shop: Shop) -> None:
        shop.green.token_claims["auth_time"] = int(shop.site.clock()) - 5_000
        await shop.log_in()
        assert 4_999 <= await self.age(shop) <= 5_001

    @for_each("told", [None, True, -1, 1e13])
    async def test_is_not_known_if_it_does_not(self, shop: Shop, told: Any) -> None:
        shop.green.token_claims["auth_time"] = told
        await shop.log_in()
        assert await self.age(shop) == shop.site.clock()

    async def test_is_the_time_of_the_login_where_it_cannot_be_asked(self, shop: Shop) -> None:
        shop.registrations.add(
            shop.green.registration(
                "green", issuer_uri="", authorization_uri="https://green.test/auth",
                token_uri="https://green.test/token", user_info_uri="https://green.test/userinfo",
            )
        )  # fmt: skip
        shop.green.user_info = {"sub": "alice"}
        await shop.log_in()
        assert await self.age(shop) == 0

    async def test_clock_that_is_little_late_makes_nobody_log_in_for_ever(self, shop: Shop) -> None:
        shop.green.token_claims["auth_time"] = int(shop.site.clock()) - 60
        await shop.log_in()
        assert await self.age(shop) == 0

    async def test_the_next_login_counts_alone(self, shop: Shop) -> None:
        shop.green.token_claims["auth_time"] = int(shop.site.clock()) - 5_000
        await shop.log_in()
        shop.green.token_claims["auth_time"] = int(shop.site.clock())
        await shop.log_in()
        assert await self.age(shop) == 0

    async def test_user_info_does_not_tell_it(self, shop: Shop) -> None:
        shop.registrations.add(shop.green.registration("green", load_user_info=True))
        shop.green.user_info = {"sub": "alice", "auth_time": int(shop.site.clock())}
        await shop.log_in()
        assert await self.age(shop) == shop.site.clock()

    async def test_the_provider_is_asked_for_a_recent_one(self, shop: Shop) -> None:
        location = await shop.start(query="?max_age=300&target=/pay")
        assert parse_qs(urlsplit(location).query)["max_age"] == ["300"]
        shop.green.token_claims["auth_time"] = int(shop.site.clock()) - 200
        assert (await shop.come_back(shop.green.log_in(location))).get("location") == "/pay"
        assert 199 <= await self.age(shop) <= 201

    @for_each("ago", [None, 361, 5_000])
    async def test_whoever_strips_the_demand_from_the_way_is_not_let_in(
        self, shop: Shop, ago: int | None
    ) -> None:
        location = await shop.start(query="?max_age=300")
        if ago is not None:
            shop.green.token_claims["auth_time"] = int(shop.site.clock()) - ago
        answer = await shop.come_back(shop.green.log_in(location.replace("&max_age=300", "")))
        await shop.require_failure(answer, "invalid_id_token", 401)

    @for_each("asked", ["", "-1", "1.5", "x", "²", "1234567890"])
    async def test_what_is_no_number_of_seconds_is_refused(self, shop: Shop, asked: str) -> None:
        answer = await shop.browser.get(f"/oauth2/authorization/green?max_age={quote(asked)}")
        assert answer.status == 400
        assert '"error":"invalid_request"' in answer.text


async def test_discovery_and_keys_are_asked_for_once(shop: Shop) -> None:
    await shop.log_in()
    await shop.log_in()
    assert shop.green.requests.count("/.well-known/openid-configuration") == 1
    assert shop.green.requests.count("/jwks") == 1
    shop.site.clock.advance(3600)
    shop.browser = Browser(shop.app)
    await shop.log_in()
    assert shop.green.requests.count("/.well-known/openid-configuration") == 2


async def test_explicit_endpoints_need_no_discovery(shop: Shop) -> None:
    base = shop.green.issuer
    shop.registrations.add(
        shop.green.registration(
            "green", authorization_uri=f"{base}/auth", token_uri=f"{base}/token",
            jwks_uri=f"{base}/jwks", redirect_uri="https://shop.test/login/oauth2/code/green",
        )
    )  # fmt: skip
    assert ((await shop.log_in()).status, shop.green.requests) == (303, ["/token", "/jwks"])


async def test_without_openid_userinfo_says_who_it_is(shop: Shop) -> None:
    base = shop.green.issuer
    shop.registrations.add(
        shop.green.registration(
            "green", issuer_uri="", authorization_uri=f"{base}/auth", token_uri=f"{base}/token",
            user_info_uri=f"{base}/userinfo",
        )
    )  # fmt: skip
    shop.green.send_id_token = False
    shop.green.user_info = {"sub": None, "id": 4711, "login": "octo", "name": "Octo"}
    assert "nonce" not in await shop.start()
    assert (await shop.log_in()).status == 303
    context = await context_in(shop)
    assert context.user_id == "4711"
    assert context.attributes == {"login": "octo", "name": "Octo", "registration_id": "green"}
    assert (await shop.browser.get("/logout", method="POST")).get("location") == "/"


async def test_userinfo_completes_an_id_token_where_the_name_is_not_in_it(shop: Shop) -> None:
    shop.registrations.add(shop.green.registration("green", user_name_attribute="nick"))
    shop.green.user_info = {"nick": "al"}
    await shop.log_in()
    assert (await context_in(shop)).user_id == "al"


async def test_a_user_without_a_name_is_not_logged_in(shop: Shop) -> None:
    shop.registrations.add(shop.green.registration("green", user_name_attribute="nick"))
    await shop.require_failure(await shop.log_in(), "login_failed", 401)


async def test_without_any_source_of_identity_nobody_is_logged_in(shop: Shop) -> None:
    base = shop.green.issuer
    shop.registrations.add(
        shop.green.registration(
            "green", issuer_uri="", authorization_uri=f"{base}/auth", token_uri=f"{base}/token"
        )
    )
    await shop.require_failure(await shop.log_in(), "login_failed", 401)


@pytest.mark.parametrize(
    ("options", "published", "sent"),
    [
        ({}, {}, "shop:s3cret%2F%2B"),
        ({}, {"token_endpoint_auth_methods_supported": ["client_secret_post"]}, "s3cret/+"),
        ({"client_authentication_method": "client-secret-post"}, {}, "s3cret/+"),
    ],
)
async def test_the_secret_is_sent_as_the_provider_wants_it(
    shop: Shop, options: dict[str, Any], published: dict[str, Any], sent: str
) -> None:
    shop.green.published = published
    shop.registrations.add(shop.green.registration("green", **options))
    await shop.log_in()
    assert shop.green.secrets == [sent]


async def test_logout_goes_on_to_the_provider(shop: Shop) -> None:
    shop.green.published = {"end_session_endpoint": "https://green.test/end"}
    shop.registrations.add(
        shop.green.registration("green", post_logout_redirect_uri="https://shop.test/bye")
    )
    await shop.log_in()
    location = (await shop.browser.get("/logout", method="POST")).get("location")
    assert path_of(location) == "/end"
    asked = parse_qs(urlsplit(location or "").query)
    assert asked["post_logout_redirect_uri"] == ["https://shop.test/bye"]
    assert (asked["client_id"], asked["id_token_hint"][0].count(".")) == (["shop"], 2)
    assert shop.browser.cookie is None


async def test_logout_works_while_the_provider_is_down(shop: Shop) -> None:
    await shop.log_in()
    shop.site.clock.advance(3600 - 1)
    await shop.who()
    shop.green.down = True
    shop.site.clock.advance(1)
    answer = await shop.browser.get("/logout", method="POST")
    assert (answer.status, answer.get("location"), shop.browser.cookie) == (303, "/", None)


async def test_logout_of_somebody_who_is_not_logged_in(shop: Shop) -> None:
    assert (await shop.browser.get("/logout", method="POST")).status == 303


@for_each(
    "stored", ["text", {}, {"registration_id": "gone"}, {"registration_id": "green", "id_token": 7}]
)
async def test_logout_copes_with_what_it_finds(shop: Shop, stored: Any) -> None:
    shop.browser.cookie = "a" * 32
    await shop.site.probe.inner.save("a" * 32, {"_oauth2_logged_in": stored}, 1800)
    assert (await shop.browser.get("/logout", method="POST")).get("location") == "/"


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/jwks"])
async def test_provider_that_goes_down_leaves_nobody_half_logged_in(shop: Shop, path: str) -> None:
    if path.startswith("/."):
        shop.green.down = True
        answer = await shop.browser.get("/oauth2/authorization/green")
        await shop.require_failure(answer, "provider_unavailable", 502)
        return
    query = shop.green.log_in(await shop.start())
    if path == "/jwks":
        shop.green.app.router.routes = shop.green.app.router.routes[2:]
        expected = "provider_unavailable"
    else:
        shop.green.down = True
        expected = "token_exchange_failed"
    await shop.require_failure(await shop.come_back(query), expected, 502)


@for_each("error", ["access_denied", "login_required", "server_error"])
async def test_a_refusal_of_the_provider_is_told(shop: Shop, error: str) -> None:
    query = shop.green.log_in(await shop.start(), code=None, error=error)
    code = "provider_error" if error == "server_error" else error
    await shop.require_failure(await shop.come_back(query), code)


async def test_an_answer_without_a_code_is_refused(shop: Shop) -> None:
    query = shop.green.log_in(await shop.start(), code=None)
    await shop.require_failure(await shop.come_back(query), "missing_code")


async def test_a_person_sees_a_page_and_a_program_json(shop: Shop) -> None:
    path = "/login/oauth2/code/green?state=x"
    page = await shop.browser.get(path, headers=[("accept", "text/html,*/*;q=0.8")])
    assert page.status == 400
    assert (page.get("content-type") or "").startswith("text/html")
    assert 'href="/oauth2/authorization/green"' in page.text
    answer = await shop.browser.get(path, headers=[("accept", "application/json")])
    assert json.loads(answer.text)["error"] == "invalid_state"


async def test_a_registration_that_is_not_there(shop: Shop) -> None:
    for path in ("/oauth2/authorization/blue", "/login/oauth2/code/blue"):
        answer = await shop.browser.get(path, headers=[("accept", "text/html")])
        assert answer.status == 400
        assert "unknown_registration" in answer.text
        assert "href" not in answer.text


async def test_a_store_that_is_down_begins_no_login(shop: Shop) -> None:
    shop.site.configure(on_store_error="anonymous")
    shop = Shop(shop.site)
    shop.browser.cookie = "a" * 32
    shop.site.probe.down = SessionStoreUnavailableError("down")
    answer = await shop.browser.get("/oauth2/authorization/green")
    assert (answer.status, json.loads(answer.text)["error"]) == (503, "session_unavailable")


@for_each("path", ["/logout", "/rotate"])
async def test_who_comes_with_an_id_of_a_moment_ago_can_log_in(shop: Shop, path: str) -> None:
    await shop.log_in("bob")
    former = shop.browser.cookie
    await shop.browser.get(path, method="POST" if path == "/logout" else "GET")
    shop.browser.cookie = former
    assert (await shop.who(), (await shop.log_in("alice")).status) == ("None None", 303)
    assert await shop.who() == "alice None"


async def test_another_site_begins_no_login_where_the_cookie_was_withheld(shop: Shop) -> None:
    image = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]
    answer = await ask(shop.app, "/oauth2/authorization/green", headers=image)
    assert (answer.status, json.loads(answer.text)["error"]) == (403, "cross_site")
    assert answer.cookie() is None


async def test_without_sessions_the_error_names_the_property(shop: Shop) -> None:
    app = Starlette(routes=shop.handler.routes())
    with pytest.raises(ConfigurationError, match=r"pyfly\.session\.enabled"):
        await ask(app, "/oauth2/authorization/green")


async def test_the_routes_can_be_mounted_as_they_are(shop: Shop) -> None:
    names = {(route.path, tuple(sorted(route.methods or ()))) for route in shop.handler.routes()}
    assert names == {
        ("/oauth2/authorization/{registration_id}", ("GET", "HEAD")),
        ("/login/oauth2/code/{registration_id}", ("GET", "HEAD")),
        ("/login/oauth2/code/{registration_id}", ("POST",)),
        ("/logout", ("POST",)),
    }


def registration(**options: Any) -> ClientRegistration:
    return ClientRegistration("green", "shop", "s3cret", **options)


@for_each(
    ("options", "roles"),
    [
        ({}, []),
        ({"role_claims": ["groups"]}, ["a", "b"]),
        ({"role_claims": ["realm.roles", "groups"]}, ["c", "a", "b"]),
        ({"role_claims": ["https://shop.test/role"]}, ["d"]),
        ({"role_claims": ["groups"], "role_mapping": ["a=ADMIN", "a=USER"]}, ["ADMIN", "USER"]),
        ({"role_claims": ["groups"], "role_mapping": ["x=ADMIN"]}, []),
        ({"role_claims": ["groups.a", "sub.x", "none", "number"]}, []),
    ],
)
def test_claims_become_roles_by_configuration(options: dict[str, Any], roles: list[str]) -> None:
    claims = {
        "sub": "alice", "groups": ["a", "b", 7], "realm": {"roles": ["c"]},
        "https://shop.test/role": "d", "number": 7,
    }  # fmt: skip
    assert claims_to_context(registration(**options), claims).roles == roles


@for_each("claims", [{}, {"sub": ""}, {"sub": None}, {"sub": True}, {"sub": ["a"]}])
def test_claims_without_a_user_are_anonymous(claims: dict[str, Any]) -> None:
    assert not claims_to_context(registration(), claims).is_authenticated


def test_no_secret_is_shown() -> None:
    assert "s3cret" not in repr(registration())


def test_the_login_comes_after_the_context() -> None:
    from pyfly_session.security.oauth2.login import OAuth2LoginFilter

    assert OAuth2LoginFilter.__pyfly_order__ > HIGHEST_PRECEDENCE + 225
