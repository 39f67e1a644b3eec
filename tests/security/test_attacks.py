"""Attacks on the login, each with a provider or a visitor that misbehaves in one point."""

import base64
import hmac
import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from joserfc import jwt

from pyfly_session.security.navigation import local_target
from pyfly_session.security.oauth2 import authorization_request
from tests.security.provider import KEYS
from tests.security.shop import Shop
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Browser


async def test_the_login_that_the_attacks_disturb_works(shop: Shop) -> None:
    assert ((await shop.log_in()).status, await shop.who()) == (303, "alice None")


async def test_a_replayed_callback_logs_nobody_in_and_the_login_stays(shop: Shop) -> None:
    query = shop.green.log_in(await shop.start(query="?target=/orders"))
    assert (await shop.come_back(query)).status == 303
    cookie = shop.browser.cookie
    answer = await shop.come_back(query)
    assert (answer.status, answer.get("location")) == (303, "/orders")
    assert (shop.browser.cookie, shop.green.requests.count("/token")) == (cookie, 1)
    assert await shop.who() == "alice None"


async def test_a_code_of_another_login_is_refused(shop: Shop) -> None:
    stolen = shop.green.log_in(await shop.start(), "alice")
    code = parse_qs(stolen)["code"][0]
    attacker = Browser(shop.app)
    begun = await attacker.get("/oauth2/authorization/green")
    state = parse_qs(urlsplit(begun.get("location") or "").query)["state"][0]
    shop.browser = attacker
    answer = await shop.come_back(f"code={code}&state={state}")
    await shop.require_failure(answer, "token_exchange_failed", 502)


async def test_a_callback_in_another_browser_is_refused(shop: Shop) -> None:
    query = shop.green.log_in(await shop.start(), "mallory")
    shop.browser = Browser(shop.app)
    await shop.browser.get("/")
    await shop.require_failure(await shop.come_back(query), "invalid_state")


@for_each("query", ["code=x", "code=x&state=", "code=x&state=guess", "state=%ff"])
async def test_a_made_up_state_is_refused(shop: Shop, query: str) -> None:
    await shop.start()
    await shop.require_failure(await shop.come_back(query), "invalid_state")
    assert "/token" not in shop.green.requests


async def test_a_state_of_one_registration_is_refused_at_another(shop: Shop) -> None:
    query = shop.green.log_in(await shop.start("green"))
    await shop.start("harsh")
    await shop.require_failure(await shop.come_back(query, "harsh"), "invalid_state")
    assert "/token" not in shop.harsh.requests


@for_each("lifetime", [60, 7200])
async def test_an_attempt_lives_for_as_long_as_it_is_told_to(site: Site, lifetime: int) -> None:
    shop = Shop(site, attempt_lifetime=lifetime)
    query = shop.green.log_in(await shop.start())
    [cookie] = shop.browser.others.values()
    assert cookie.max_age == lifetime
    shop.site.clock.advance(lifetime - 1)
    assert (await shop.come_back(query)).status == 303
    query = shop.green.log_in(await shop.start())
    shop.site.clock.advance(lifetime)
    assert "invalid_state" in (await shop.come_back(query)).text


@for_each("twice", ["state", "code", "iss", "error"])
async def test_a_parameter_that_is_there_twice_is_refused(shop: Shop, twice: str) -> None:
    query = shop.green.log_in(await shop.start(), iss=shop.green.issuer)
    answer = await shop.come_back(f"{query}&{twice}=x&{twice}=y")
    await shop.require_failure(answer, "invalid_request")


@for_each(
    "claims",
    [
        {"nonce": "another"}, {"nonce": None}, {"nonce": 7}, {"aud": "another-client"},
        {"aud": ["another-client"]}, {"aud": []}, {"aud": None},
        {"aud": ["shop", "another"], "azp": "another"}, {"aud": ["shop", "another"]},
        {"azp": "another"}, {"iss": "https://harsh.test"}, {"iss": None}, {"sub": None},
        {"sub": ""}, {"sub": 7}, {"exp": 1}, {"exp": None}, {"exp": "later"}, {"iat": None},
        {"iat": 2**40}, {"nbf": 2**40}, {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    ],
)  # fmt: skip
async def test_a_wrong_claim_is_refused(shop: Shop, claims: dict[str, Any]) -> None:
    shop.green.token_claims = claims
    await shop.require_failure(await shop.log_in(), "invalid_id_token", 401)


async def test_a_token_is_expired_exactly_after_the_leeway(shop: Shop) -> None:
    now = int(shop.site.clock())
    shop.green.token_claims = {"exp": now - 60}
    await shop.require_failure(await shop.log_in(), "invalid_id_token", 401)
    shop.green.token_claims = {"exp": now - 59}
    assert (await shop.log_in()).status == 303


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _unsigned(algorithm: str) -> Any:
    return lambda claims: f"{_part({'alg': algorithm, 'kid': 'key-0'})}.{_part(claims)}."


def _hs256(secret: bytes) -> Any:
    """Sign by hand: no library would take a public key for a secret."""

    def sign(claims: dict[str, Any]) -> str:
        signed = f"{_part({'alg': 'HS256', 'kid': 'key-0'})}.{_part(claims)}"
        signature = hmac.digest(secret, signed.encode(), "sha256")
        return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    return sign


def _with_own_key(claims: dict[str, Any]) -> str:
    """Sign with another key, which the token itself brings along."""
    header = {"alg": "RS256", "kid": "key-0", "jwk": KEYS[1].as_dict(private=False)}
    return jwt.encode(header, claims, KEYS[1])


def _tampered(claims: dict[str, Any]) -> str:
    head, _, signature = jwt.encode({"alg": "RS256", "kid": "key-0"}, claims, KEYS[0]).split(".")
    return f"{head}.{_part({**claims, 'sub': 'admin'})}.{signature}"


@for_each(
    "sign",
    [
        _unsigned("none"),
        _unsigned("None"),
        _unsigned("RS256"),
        _unsigned(""),
        _hs256(KEYS[0].as_pem(private=False)),
        _hs256(KEYS[0].as_der(private=False)),
        _hs256(b"s3cret/+"),
        _with_own_key,
        _tampered,
        lambda claims: "no.token",
        lambda claims: "",
        lambda claims: "é.é.é",
        lambda claims: ["list"],
    ])  # fmt: skip
async def test_a_signature_that_is_not_the_providers_is_refused(shop: Shop, sign: Any) -> None:
    shop.green.sign = sign
    await shop.require_failure(await shop.log_in(), "invalid_id_token", 401)


async def test_a_missing_id_token_is_refused_and_userinfo_does_not_replace_it(shop: Shop) -> None:
    shop.green.send_id_token = False
    await shop.require_failure(await shop.log_in(), "invalid_id_token", 401)
    assert "/userinfo" not in shop.green.requests


async def test_the_providers_new_key_is_fetched(shop: Shop) -> None:
    await shop.log_in()
    shop.green.key = KEYS[1]
    assert (await shop.log_in("bob")).status == 303
    assert (await shop.who(), shop.green.requests.count("/jwks")) == ("bob None", 2)


@for_each("issuer", ["https://harsh.test", "https://green.test/", ""])
async def test_an_answer_of_another_issuer_is_refused(shop: Shop, issuer: str) -> None:
    query = shop.green.log_in(await shop.start(), iss=issuer)
    await shop.require_failure(await shop.come_back(query), "invalid_iss")
    assert "/token" not in shop.green.requests


async def test_an_error_of_another_issuer_is_refused_as_such(shop: Shop) -> None:
    query = shop.green.log_in(await shop.start(), iss="https://harsh.test", error="access_denied")
    await shop.require_failure(await shop.come_back(query), "invalid_iss")


async def test_an_issuer_that_was_promised_must_be_there(shop: Shop) -> None:
    shop.green.published = {"authorization_response_iss_parameter_supported": True}
    query = shop.green.log_in(await shop.start())
    await shop.require_failure(await shop.come_back(query), "invalid_iss")
    query = shop.green.log_in(await shop.start(), iss=shop.green.issuer)
    assert (await shop.come_back(query)).status == 303


async def test_an_issuer_can_be_required(shop: Shop) -> None:
    shop.registrations.add(shop.green.registration("green", require_iss=True))
    query = shop.green.log_in(await shop.start())
    await shop.require_failure(await shop.come_back(query), "invalid_iss")


@for_each(
    "published",
    [
        {"issuer": "https://harsh.test"},
        {"issuer": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "http://green.test/token"},
        {"token_endpoint": None},
        {"jwks_uri": ["https://green.test/jwks"]},
    ],
)
async def test_untrusted_document_is_refused(shop: Shop, published: dict[str, Any]) -> None:
    shop.green.published = published
    answer = await shop.browser.get("/oauth2/authorization/green")
    await shop.require_failure(answer, "provider_unavailable", 502)


EVIL_TARGETS = [
    "//evil.test", "/\\evil.test", "\\\\evil.test", "/\t/evil.test", "/\n/evil.test",
    "https://evil.test", "http:evil.test", "javascript:alert(1)", "evil.test", "", " /", "/a b",
    "/../x", "/a/./b", "/%2e%2E//evil.test", "/.//evil.test", "/..", "/a/..?b",
    "/\r\nSet-Cookie: a=b", "/\x00", "/\x7f", "/ok\\..\\evil", "/" + "a" * 2048, "///evil.test",
]  # fmt: skip


@for_each("target", EVIL_TARGETS)
async def test_the_login_leads_to_no_other_site(site: Site, target: str) -> None:
    shop = Shop(site, default_target="/home")
    assert (await shop.log_in(query=f"?target={quote(target)}")).get("location") == "/home"


@for_each(
    "target",
    ["/", "/orders?id=1&next=//x/../y", "/a//b", "/ü", "/@evil.test", "/.well-known", "/a..b"],
)
def test_pages_of_the_application_are_targets(target: str) -> None:
    assert local_target(target, "/home") == target


@for_each("target", [None, 7, ["/"]])
def test_what_is_no_text_is_no_target(target: object) -> None:
    assert local_target(target, "/home") == "/home"


async def test_id_that_was_planted_before_login_is_worth_nothing_after_it(shop: Shop) -> None:
    attacker = Browser(shop.app)
    await attacker.get("/put?cart=bait")
    shop.browser.cookie = planted = attacker.cookie
    await shop.log_in()
    assert await shop.who() == "alice bait"
    assert shop.browser.cookie != planted
    assert ((await attacker.get("/")).text, await shop.site.stored(planted)) == ("None None", None)


async def test_attempts_are_bounded_and_the_oldest_gives_way(shop: Shop) -> None:
    first = shop.green.log_in(await shop.start())
    for _ in range(authorization_request.MOST):
        shop.site.clock.advance(1)
        last = shop.green.log_in(await shop.start())
    assert len(shop.browser.others) == authorization_request.MOST
    assert "invalid_state" in (await shop.come_back(first)).text
    assert (await shop.come_back(last)).status == 303


async def test_the_session_keeps_no_secret_of_an_attempt(shop: Shop) -> None:
    asked = parse_qs(urlsplit(await shop.start()).query)
    stored = json.dumps(await shop.site.probe.inner.get(shop.browser.cookie))
    [cookie] = shop.browser.others.values()
    for secret in (asked["state"][0], asked["nonce"][0]):
        assert secret not in stored
        assert secret not in f"{cookie}"


@pytest.mark.parametrize(
    "garbage", ["", "text", "a.b.c.d.e", "é", "." * 4, "A" * 20_000], ids=lambda text: text[:9]
)
async def test_an_attempt_that_makes_no_sense_is_none(shop: Shop, garbage: str) -> None:
    query = shop.green.log_in(await shop.start())
    [(name, cookie)] = shop.browser.others.items()
    shop.browser.others[name] = replace(cookie, value=garbage)
    await shop.require_failure(await shop.come_back(query), "invalid_state")


async def test_an_attempt_that_another_browser_began_is_none(shop: Shop) -> None:
    """Not under its name either, which says nothing of what is in it."""
    query = shop.green.log_in(await shop.start())
    [(name, cookie)] = shop.browser.others.items()
    shop.browser = Browser(shop.app)
    await shop.start()
    [other] = shop.browser.others.values()
    shop.browser.others = {name: replace(cookie, value=other.value)}
    await shop.require_failure(await shop.come_back(query), "invalid_state")


async def test_an_attempt_of_another_application_is_none(shop: Shop) -> None:
    query = shop.green.log_in(await shop.start())
    shop.registrations.add(replace(shop.green.registration("green"), client_secret="another"))
    await shop.require_failure(await shop.come_back(query), "invalid_state")


def test_an_attempt_shows_no_secret() -> None:
    attempt = authorization_request.Attempt("green", "/", "/", 0, None, state="a-state")
    for secret in (attempt.state, attempt.nonce, attempt.verifier):
        assert secret not in repr(attempt)


async def test_a_failed_login_leaves_the_former_one_alone(shop: Shop) -> None:
    await shop.log_in("alice")
    shop.green.token_claims = {"nonce": "another"}
    assert ((await shop.log_in("bob")).status, await shop.who()) == (401, "alice None")


async def test_nothing_of_the_answer_is_shown(shop: Shop) -> None:
    query = shop.green.log_in(await shop.start(), code=None, error="<script>x</script>")
    answer = await shop.come_back(
        query + "&error_description=%3Cscript%3E", headers=[("accept", "text/html")]
    )
    assert answer.status == 400
    assert "script" not in answer.text


async def test_another_site_cannot_log_anybody_out(shop: Shop) -> None:
    await shop.log_in()
    answer = await shop.browser.get(
        "/logout", method="POST", headers=[("sec-fetch-site", "cross-site")]
    )
    assert (answer.status, (await shop.browser.get("/logout")).status) == (403, 404)
    assert await shop.who() == "alice None"
