"""Logout tokens that are not what they must be: refused, and nobody is logged out."""

import base64
import hmac
import json
from typing import Any

from joserfc import jwt

from tests.security.provider import KEYS, LOGOUT
from tests.security.test_backchannel import Place
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Answer, Browser


async def require_refusal(place: Place, answer: Answer, browser: Browser) -> None:
    """Require that the provider is told, in the words of the specification, and no more."""
    assert (answer.status, answer.get("cache-control")) == (400, "no-store")
    told = json.loads(answer.text)
    assert told == {
        "error": "invalid_request",
        "error_description": "The logout token is not valid.",
    }
    assert await place.is_in(browser) == [True]


@for_each(
    "claims",
    [
        {"iss": "https://harsh.test"}, {"iss": "https://green.test/"}, {"iss": None},
        {"iss": ["https://green.test"]}, {"aud": "another"}, {"aud": ["another", "more"]},
        {"aud": None}, {"aud": {"shop": 1}}, {"exp": None}, {"exp": 1_800_000_000 - 60},
        {"exp": "never"}, {"exp": float("nan")}, {"iat": None}, {"iat": 1_800_000_000 + 61},
        {"iat": 1_800_000_000 - 660, "exp": 1_900_000_000}, {"iat": True}, {"jti": None},
        {"jti": ""}, {"jti": 7}, {"nonce": "n"}, {"nonce": ""}, {"events": None}, {"events": {}},
        {"events": {LOGOUT: None}}, {"events": {LOGOUT: []}}, {"events": {"another": {}}},
        {"events": [LOGOUT]}, {"events": LOGOUT}, {"sub": None}, {"sub": ""}, {"sub": 7},
        {"sub": ["alice"]}, {"sid": ""}, {"sid": 7}, {"sid": ["s-1"]}, {"nbf": 1_800_000_000 + 61},
    ],
)  # fmt: skip
async def test_claims_that_do_not_hold_are_refused(place: Place, claims: dict[str, Any]) -> None:
    browser = await place.enter(sid="s-1")
    token = place.green.logout_token(**{"sub": "alice", **claims})
    await require_refusal(place, await place.post(token), browser)


@for_each(
    "claims",
    [
        {}, {"aud": ["another", "shop"]}, {"exp": 1_800_000_000 - 59}, {"iat": 1_800_000_000 + 60},
        {"iat": 1_800_000_000 - 659, "exp": 1_900_000_000},
        {"events": {LOGOUT: {"more": 1}, "another": 2}}, {"another": "claim"},
    ],
)  # fmt: skip
async def test_claims_that_hold_just_so_are_accepted(place: Place, claims: dict[str, Any]) -> None:
    browser = await place.enter()
    assert (await place.post(place.green.logout_token(sub="alice", **claims))).status == 200
    assert await place.is_in(browser) == [False]


@for_each("kind", ["JWT", "at+jwt", "id+jwt", "logout", ""])
async def test_another_kind_of_token_is_refused(place: Place, kind: Any) -> None:
    browser = await place.enter()
    token = place.green.logout_token({"typ": kind}, sub="alice")
    await require_refusal(place, await place.post(token), browser)


@for_each("kind", [None, "logout+jwt", "application/logout+jwt", "LOGOUT+JWT"])
async def test_the_kind_may_be_left_out_or_written_in_full(place: Place, kind: Any) -> None:
    await place.enter()
    assert (await place.post(place.green.logout_token({"typ": kind}, sub="alice"))).status == 200


async def test_an_id_token_is_no_logout_token(place: Place) -> None:
    browser = await place.enter(sid="s-1")
    token = place.green.id_token({"client_id": "shop", "user": "alice"})
    await require_refusal(place, await place.post(token), browser)


async def test_a_logout_token_is_no_id_token(place: Place) -> None:
    place.green.sign = lambda claims: place.green.logout_token(sub="alice")
    answer = await place.log_in()
    await place.require_failure(answer, "invalid_id_token", 401)


def _part(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _unsigned(algorithm: str) -> Any:
    return lambda token: f"{_part({'alg': algorithm, 'kid': 'key-0'})}.{token.split('.')[1]}."


def _hs256(secret: bytes) -> Any:
    def forge(token: str) -> str:
        signed = f"{_part({'alg': 'HS256', 'kid': 'key-0'})}.{token.split('.')[1]}"
        signature = hmac.digest(secret, signed.encode(), "sha256")
        return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    return forge


def _own_key(token: str) -> str:
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    header = {"alg": "RS256", "kid": "key-0", "jwk": KEYS[1].as_dict(private=False)}
    return jwt.encode(header, claims, KEYS[1])


def _tampered(token: str) -> str:
    """Write the same claims in other words."""
    head, claims, signature = token.split(".")
    return f"{head}.{_part({**json.loads(base64.urlsafe_b64decode(claims + '=='))})}.{signature}"


def _header(header: object) -> Any:
    return lambda token: f"{_part(header)}.{token.split('.', 1)[1]}"


HEADER = {"alg": "RS256", "kid": "key-0"}


@for_each(
    "forge",
    [
        _unsigned("none"), _unsigned("None"), _unsigned("RS256"), _unsigned(""),
        _hs256(KEYS[0].as_pem(private=False)), _hs256(b"s3cret/+"), _own_key, _tampered,
        _header([]), _header("text"), _header('"alg"'), _header(["alg"]),
        _header("[" * 9_000), _header('{"a":' * 1_500),
        _header({"alg": {}}), _header({"alg": ["RS256"]}), _header({**HEADER, "kid": []}),
        _header({**HEADER, "kid": 7}), _header({**HEADER, "crit": ["exp"], "exp": 1}),
        _header({**HEADER, "b64": False, "crit": ["b64"]}), _header({"kid": "key-0"}),
        _header({**HEADER, "typ": 7}), _header({**HEADER, "typ": ["logout+jwt"]}),
        lambda token: "x", lambda token: "..", lambda token: "é.é.é", lambda token: "a.b.c.d.e",
        lambda token: token + ".", lambda token: token + "A" * 100, lambda token: "\0\ud7ff",
        lambda token: "A" * 15_000,
    ],
)  # fmt: skip
async def test_a_token_that_the_provider_did_not_sign_is_refused(site: Site, forge: Any) -> None:
    place = Place(site)
    browser = await place.enter()
    forged = forge(place.green.logout_token(sub="alice"))
    await require_refusal(place, await place.post(forged), browser)


async def test_a_token_is_used_once_in_whatever_process(site: Site) -> None:
    place = Place(site)
    elsewhere = Place(site.another_node())
    await place.enter()
    token = place.green.logout_token(sub="alice")
    assert (await place.post(token)).status == 200
    browser = await place.enter()
    for each in (place, elsewhere):
        await require_refusal(place, await each.post(token), browser)


async def test_a_token_is_remembered_for_as_long_as_it_would_be_accepted(place: Place) -> None:
    token = place.green.logout_token(sub="alice", exp=1_900_000_000)
    assert (await place.post(token)).status == 200
    for _ in range(8):
        browser = await place.enter()
        await require_refusal(place, await place.post(token), browser)
        place.site.clock.advance(94.2)
    await require_refusal(place, await place.post(token), await place.enter())


async def test_what_is_remembered_of_a_token_is_forgotten_in_the_end(place: Place) -> None:
    await place.post(place.green.logout_token(sub="alice"))
    [key] = {each for _, each in place.site.probe.calls if each.startswith("logout-token:")}
    assert await place.site.probe.inner.exists(key)
    place.site.clock.advance(180)
    assert not await place.site.probe.inner.exists(key)


async def test_refused_tokens_leave_nothing_behind(place: Place) -> None:
    await place.enter()
    place.site.probe.calls.clear()
    for number in range(20):
        await place.post(place.green.logout_token(jti=str(number), sub="alice", aud="another"))
    assert place.site.probe.calls == []


async def test_a_token_for_one_registration_is_refused_at_another(place: Place) -> None:
    green, harsh = await place.enter(), await place.enter(registration="harsh")
    token = place.green.logout_token(sub="alice")
    await require_refusal(place, await place.post(token, "harsh"), harsh)
    assert await place.is_in(green) == [True]


async def test_a_token_is_used_once_by_all_registrations_of_a_client(place: Place) -> None:
    place.registrations.add(place.green.registration("twin"))
    token = place.green.logout_token(sub="alice")
    assert (await place.post(token)).status == 200
    assert (await place.post(token, "twin")).status == 400
