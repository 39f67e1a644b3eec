"""A provider with bad habits: none breaks a login for longer than it lasts, none is a 500."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from pyfly_session.security.oauth2 import ClientRegistration
from pyfly_session.security.oauth2.errors import OAuth2LoginError
from pyfly_session.security.oauth2.provider import Provider
from pyfly_session.security.oauth2.provider_client import MOST_BYTES
from pyfly_session.security.oauth2.published import LIFETIME, LONGEST, PAUSE
from tests.security.provider import KEYS
from tests.security.shop import Shop
from tests.security.test_backchannel import Place
from tests.support.cases import for_each
from tests.support.types import Log
from tests.web.conftest import Site
from tests.web.driver import Browser

DISCOVERY = "/.well-known/openid-configuration"
RSA, EC = KEYS[0], ECKey.generate_key("P-256")


def raw(body: bytes, status: int = 200, encoding: str = "identity") -> Response:
    headers = {"content-encoding": encoding}
    return Response(body, status, headers, media_type="application/json")


DEEP = raw(b"[" * 200_000)
# What any endpoint may answer instead of what it should.
NONSENSE = {
    "html": HTMLResponse("<html>"),
    "error": HTMLResponse("x", 500),
    "error-json": JSONResponse({"access_token": "a"}, 503),
    "redirect": RedirectResponse("https://evil.test/x"),
    "redirect-with-method": RedirectResponse("https://evil.test/x", 307),
    "empty": raw(b""),
    "null": raw(b"null"),
    "list": raw(b"[]"),
    "text": raw(b'"error"'),
    "number": raw(b"5"),
    "nan": raw(b"NaN"),
    "deep": DEEP,
    "deep-objects": raw(b'{"a":' * 100_000),
    "not-utf8": raw(b'{"access_token":"\xff"}'),
    "no-gzip": raw(b"xx", encoding="gzip"),
    "brotli": raw(b"xx", encoding="br"),
    "large": raw(b" " * (MOST_BYTES + 1)),
    "bomb": raw(gzip.compress(b" " * 50_000_000), encoding="gzip"),
    "huge-number": raw(b"9" * 10_000),
}
OF_TOKENS = {
    "error-object": raw(b'{"error":{"a":1}}'),
    "error-list": raw(b'{"error":[1],"error_description":{"x":1}}'),
    "error-lines": raw(b'{"error":"x\\nCRITICAL forged","error_description":"\\r\\nforged"}'),
    "no-token": raw(b'{"access_token":null}'),
    "number": raw(b'{"access_token":5}'),
    "expires-infinite": raw(b'{"access_token":"a","expires_in":1e400}'),
    "expires-text": raw(b'{"access_token":"a","expires_in":"soon"}'),
    "form": Response("access_token=a", media_type="application/x-www-form-urlencoded"),
}
# Entries of the discovery document that nobody can use.
ENDPOINTS: list[Any] = [
    "file:///etc/passwd", "http://green.test/x", "gopher://x", "//green.test/x", "https://[::1",
    "https://green.test /x", "https://green.test/\r\nX: y", "https://", "https://green.test:99999/",
    "https://green.test/\u00e9", "javascript:alert(1)//https://", "https://green.test/x#y", 7,
    ["x"],    "https://[x/y",
]  # fmt: skip


class TestNonsense:
    @pytest.mark.parametrize("path", [DISCOVERY, "/jwks", "/token", "/userinfo"])
    @for_each("answer", NONSENSE.values())
    async def test_nonsense_is_a_502_with_one_line_in_the_log(
        self, site: Site, path: str, answer: Response, caplog: Log
    ) -> None:
        shop = Shop(site)
        shop.registrations.add(shop.green.registration("green", load_user_info=True))
        shop.green.answers[path] = answer
        code = "token_exchange_failed" if path == "/token" else "provider_unavailable"
        if path == DISCOVERY:
            failed = await shop.browser.get("/oauth2/authorization/green")
        else:
            failed = await shop.log_in()
        await shop.require_failure(failed, code, 502)
        told = [each for each in caplog.records if each.name.endswith("oauth2.provider")]
        assert len(told) == 1
        assert told[0].getMessage().isprintable()
        # It is over with the habit.
        shop.green.answers.clear()
        shop.site.clock.advance(PAUSE)
        assert (await shop.log_in()).status == 303

    @for_each("answer", OF_TOKENS.values())
    async def test_tokens_that_are_none(self, shop: Shop, answer: Response, caplog: Log) -> None:
        shop.green.answers["/token"] = answer
        await shop.require_failure(await shop.log_in(), "token_exchange_failed", 502)
        assert all(each.getMessage().isprintable() for each in caplog.records)

    @for_each("url", ENDPOINTS)
    @for_each("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
    async def test_an_endpoint_that_cannot_be_used(self, shop: Shop, name: str, url: Any) -> None:
        shop.green.published = {name: url}
        answer = await shop.browser.get("/oauth2/authorization/green")
        await shop.require_failure(answer, "provider_unavailable", 502)

    @for_each("url", ENDPOINTS)
    async def test_logout_is_done_whatever_page_provider_has(self, shop: Shop, url: Any) -> None:
        shop.green.published = {"end_session_endpoint": url}
        await shop.log_in()
        answer = await shop.browser.get("/logout", method="POST")
        assert (answer.status, answer.get("location"), await shop.who()) == (303, "/", "None None")

    @for_each("claims", [{"sub": ["alice"]}, {"sub": None}, {}, {"sub": "bob"}])
    async def test_userinfo_against_the_token(self, shop: Shop, claims: dict[str, Any]) -> None:
        shop.registrations.add(shop.green.registration("green", load_user_info=True))
        shop.green.answers["/userinfo"] = JSONResponse(claims)
        await shop.require_failure(await shop.log_in(), "invalid_user_info", 401)

    @pytest.mark.parametrize("claims", [{"name": "\ud800"}, {"sub": "\ud800"}, {"\udfff": "x"}])
    async def test_text_that_is_none(self, shop: Shop, claims: dict[str, Any]) -> None:
        """Half a character cannot be stored."""
        header = {"alg": "RS256", "kid": "key-0"}
        shop.green.token_claims = claims
        shop.green.sign = lambda said: jws.serialize_compact(header, json.dumps(said), RSA)
        await shop.require_failure(await shop.log_in(), "invalid_id_token", 401)
        shop.green.token_claims = {}
        assert (await shop.log_in()).status == 303
        await shop.browser.get("/logout", method="POST")
        shop.registrations.add(shop.green.registration("green", load_user_info=True))
        shop.green.answers["/userinfo"] = raw(json.dumps({"sub": "alice", **claims}).encode())
        await shop.require_failure(await shop.log_in(), "provider_unavailable", 502)

    async def test_a_long_claim_is_left_out_of_the_session(self, shop: Shop) -> None:
        shop.green.token_claims = {"picture": "x" * 20_000, "name": "Alice"}
        assert (await shop.log_in()).status == 303
        stored = await shop.site.stored(shop.browser.cookie)
        assert stored is not None
        assert stored["SECURITY_CONTEXT"].attributes.keys() & {"picture", "name"} == {"name"}

    async def test_more_claims_than_a_session_can_hold(self, shop: Shop) -> None:
        options: dict[str, Any] = {"role_claims": ["groups"], "load_user_info": True}
        shop.registrations.add(shop.green.registration("green", **options))
        shop.green.user_info = {"groups": [f"group-{n}" for n in range(6_000)]}
        await shop.require_failure(await shop.log_in(), "login_failed", 502)


class TestOverTheNetwork:
    """With bytes on a real socket, for it is the client's buffers that matter."""

    @for_each("habit", ["drips", "floods", "bomb"])
    async def test_an_answer_is_bounded_in_time_and_in_size(self, habit: str) -> None:
        bomb = gzip.compress(b" " * 100_000_000)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            try:
                if habit == "bomb":
                    size = f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
                    writer.write(head + size.encode() + bomb)
                    await writer.drain()
                writer.write(head + b"\r\n{")
                while habit != "bomb":
                    writer.write(b" " * (1 if habit == "drips" else 65_536))
                    await writer.drain()
                    await asyncio.sleep(0.01 if habit == "drips" else 0)
            except ConnectionError:
                pass
            finally:
                writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            registration = ClientRegistration("g", "shop", issuer_uri=f"http://127.0.0.1:{port}")
            provider = Provider(registration, timeout=1 if habit == "drips" else 30)
            tracemalloc.start()
            try:
                # Each byte comes in time; without a bound for the whole it never ends.
                with pytest.raises(OAuth2LoginError) as caught:
                    await provider.metadata()
                assert tracemalloc.get_traced_memory()[1] < 20_000_000
            finally:
                tracemalloc.stop()
            assert caught.value.status == 502

    async def test_a_small_answer_may_be_compressed(self, shop: Shop) -> None:
        document = gzip.compress(
            json.dumps(
                {
                    "issuer": "https://green.test",
                    "authorization_endpoint": "https://green.test/auth",
                    "token_endpoint": "https://green.test/token",
                    "jwks_uri": "https://green.test/jwks",
                }
            ).encode()
        )
        shop.green.answers[DISCOVERY] = raw(document, encoding="gzip")
        assert (await shop.log_in()).status == 303


def public(key: Any, **more: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), **more}


def without_name(key: Any) -> dict[str, Any]:
    return {name: value for name, value in public(key).items() if name != "kid"}


def signed_by(key: Any, algorithm: str, **header: Any) -> Callable[[dict[str, Any]], str]:
    return lambda claims: jwt.encode(
        {"alg": algorithm, **header}, claims, key, algorithms=[algorithm]
    )


OTHER = KEYS[1]
STRANGE = {
    "post-quantum": {"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AA"},
    "unknown-curve": {"kty": "EC", "crv": "brainpoolP256r1", "kid": "x", "x": "AA", "y": "AA"},
    "unknown-okp": {"kty": "OKP", "crv": "Ed999", "kid": "x", "x": "AA"},
    "no-modulus": {"kty": "RSA", "kid": "key-0", "e": "AQAB"},
    "bad-modulus": {"kty": "RSA", "kid": "key-0", "e": "AQAB", "n": "!" * 400},
    "no-type": {"kid": "key-0"},
    "type-list": {"kid": "key-0", "kty": ["RSA"]},
    "number": 5,
    "null": None,
    "list": [],
    "unknown-use": public(OTHER, use="foo", kid="key-0"),
    "for-encryption": public(OTHER, use="enc", kid="key-0"),
    "unknown-algorithm": public(OTHER, alg="FOO", kid="key-0"),
    "operations": public(OTHER, key_ops=["encrypt"], kid="key-0"),
    "operations-number": public(OTHER, key_ops=7, kid="key-0"),
    "no-url": public(OTHER, x5u="foo", kid="y"),
    "no-certificate": public(OTHER, x5c="foo", kid="y"),
    "short": {"kty": "RSA", "kid": "key-0", "e": "AQAB", "n": "_" * 86},
    "secret": {"kty": "oct", "k": "c2VjcmV0", "kid": "key-0"},
    "another-of-the-name": public(OTHER, kid="key-0"),
    "another-kind-of-the-name": public(EC, kid="key-0"),
}


class TestKeys:
    @for_each("strange", STRANGE.values())
    async def test_strange_key_beside_good_one_is_nothing(self, shop: Shop, strange: Any) -> None:
        for keys in ([strange, public(RSA)], [public(RSA), strange]):
            shop.green.keys = {"keys": keys}
            shop.registrations.add(shop.green.registration("green", provider_name=str(keys)))
            assert (await shop.log_in()).status == 303

    @for_each("keys", [[], None, {"a": 1}, "x"])
    async def test_no_keys_at_all(self, shop: Shop, keys: Any) -> None:
        shop.green.keys = {"keys": keys}
        await shop.require_failure(await shop.log_in(), "provider_unavailable", 502)

    async def test_only_keys_that_cannot_be_used(self, shop: Shop) -> None:
        shop.green.keys = {"keys": [each for each in STRANGE.values() if each is not None]}
        await shop.require_failure(await shop.log_in(), "invalid_id_token", 401)
        # Once more, for it may have changed them.
        assert shop.green.requests.count("/jwks") == 2

    async def test_token_without_name_of_key_is_tried_with_fitting(self, shop: Shop) -> None:
        shop.green.keys = {"keys": [public(OTHER), public(EC), public(RSA)]}
        shop.green.sign = signed_by(RSA, "RS256")
        assert (await shop.log_in()).status == 303

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ((public(RSA, kid="1"), RSA, "RS256"), (public(EC, kid="1"), EC, "ES256")),
            ((public(EC, kid="1"), EC, "ES256"), (public(RSA, kid="1"), RSA, "RS256")),
            ((without_name(RSA), RSA, "RS256"), (without_name(EC), EC, "ES256")),
            ((without_name(RSA), RSA, "RS256"), (without_name(OTHER), OTHER, "RS256")),
            ((public(RSA, kid="1"), RSA, "RS256"), (public(OTHER, kid="1"), OTHER, "RS256")),
            ((public(RSA, alg="RS256"), RSA, "RS256"), (public(RSA, alg="PS256"), RSA, "PS256")),
            ((public(EC, kid="1"), EC, "ES256"), ("P-384", "P-384", "ES384")),
            ((public(EC, kid="1"), EC, "ES256"), ("Ed25519", "Ed25519", "Ed25519")),
        ],
        ids=["rsa-ec", "ec-rsa", "nameless", "nameless-rsa", "same-name", "alg", "curve", "okp"],
    )
    async def test_change_of_key_costs_no_login(self, shop: Shop, before: Any, after: Any) -> None:
        made: Any = {"P-384": ECKey, "Ed25519": OKPKey}.get(str(after[0])[:7])
        if made is not None:
            key = made.generate_key(after[0], {"kid": "1"})
            after = public(key), key, after[2]
        for entry, key, algorithm in (before, after):
            shop.green.keys = {"keys": [entry]}
            header = {"kid": entry["kid"]} if "kid" in entry else {}
            shop.green.sign = signed_by(key, algorithm, **header)
            for user in ("alice", "bob"):
                assert (await shop.log_in(user)).status == 303
        assert shop.green.requests.count("/jwks") == 2

    async def test_a_key_that_was_withdrawn_is_not_accepted_for_ever(self, shop: Shop) -> None:
        shop.green.keys = {"keys": [public(RSA), public(OTHER)]}
        await shop.log_in()
        shop.green.keys = {"keys": [public(OTHER)]}
        shop.site.clock.advance(LIFETIME)
        shop.browser = Browser(shop.app)
        await shop.require_failure(await shop.log_in(), "invalid_id_token", 401)

    async def test_the_shared_secret_is_no_key(self, shop: Shop) -> None:
        secret = OctKey.import_key("s3cret/+" * 4)
        shop.green.keys = {"keys": [secret.as_dict(private=True), public(RSA)]}
        shop.green.sign = signed_by(secret, "HS256")
        await shop.require_failure(await shop.log_in(), "invalid_id_token", 401)


class TestWhileItIsDown:
    async def test_a_hundred_who_come_at_once_make_one_request(self, shop: Shop) -> None:
        browsers = [Browser(shop.app) for _ in range(100)]
        opened = [each.open("/oauth2/authorization/green") for each in browsers]
        answers = await asyncio.gather(*(each.end() for each in opened))
        assert ({each.status for each in answers}, shop.green.requests) == ({302}, [DISCOVERY])

    async def test_whoever_leaves_does_not_take_the_request_along(self, shop: Shop) -> None:
        asked, go = asyncio.Event(), asyncio.Event()

        async def wait(path: str) -> None:
            asked.set()
            await go.wait()

        shop.green.before = wait
        first, second = (Browser(shop.app).open("/oauth2/authorization/green") for _ in range(2))
        await asked.wait()
        await first.cancel()
        go.set()
        assert ((await second.end()).status, shop.green.requests) == (302, [DISCOVERY])

    async def test_after_a_failure_it_is_left_alone_for_a_while(self, shop: Shop) -> None:
        shop.green.down = True
        for _ in range(20):
            assert (await shop.browser.get("/oauth2/authorization/green")).status == 502
        assert shop.green.requests == [DISCOVERY]
        shop.green.down = False
        shop.site.clock.advance(PAUSE - 1)
        assert (await shop.browser.get("/oauth2/authorization/green")).status == 502
        shop.site.clock.advance(1)
        assert (await shop.browser.get("/oauth2/authorization/green")).status == 302

    async def test_what_is_known_is_used_while_it_cannot_be_renewed(self, shop: Shop) -> None:
        await shop.log_in()
        for path in (DISCOVERY, "/jwks"):
            shop.green.answers[path] = raw(b"", 503)
        shop.site.clock.advance(LONGEST - 1)
        shop.browser = Browser(shop.app)
        assert (await shop.log_in("bob")).status == 303
        shop.site.clock.advance(1)
        assert (await shop.browser.get("/oauth2/authorization/green")).status == 502

    def test_each_event_loop_asks_for_itself(self, shop: Shop) -> None:
        """A task of a loop that has gone keeps nobody waiting."""
        provider = shop.handler.provider_of("green")
        assert provider is not None
        hang = asyncio.Event()

        async def never(path: str) -> None:
            await hang.wait()

        shop.green.before = never
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(provider.metadata(), 0.05))
        shop.green.before = None
        assert asyncio.run(provider.metadata()).issuer == "https://green.test"


class TestStrangers:
    @for_each("token", ["x", "a.b.c", "." * 9, "e30.e30.e30", "A" * 9_000])
    async def test_garbage_fetches_nothing(self, place: Place, token: str) -> None:
        for _ in range(5):
            assert (await place.post(token)).status == 400
        assert place.green.requests == []

    async def test_a_token_for_somebody_else_fetches_no_keys(self, place: Place) -> None:
        for claims in (
            {"aud": "another"},
            {"iss": "https://evil.test"},
            {"exp": 1},
            {"nonce": "n"},
        ):
            token = place.green.logout_token(key=KEYS[1], sub="alice", **claims)
            assert (await place.post(token)).status == 400
        assert place.green.requests == [DISCOVERY]

    async def test_an_honest_login_waits_for_no_stranger(self, place: Place) -> None:
        await place.enter()
        hang, asked = asyncio.Event(), asyncio.Event()

        async def wait(path: str) -> None:
            if path == "/jwks":
                asked.set()
                await hang.wait()

        place.green.before = wait
        forged = place.green.logout_token(key=KEYS[1], sub="alice")
        strangers = [asyncio.ensure_future(place.post(forged)) for _ in range(15)]
        await asked.wait()
        # It would hang, and the test with it.
        await place.enter("bob")
        hang.set()
        assert {each.status for each in await asyncio.gather(*strangers)} <= {400, 503}
        assert place.green.requests.count("/jwks") == 2


async def test_nothing_secret_is_in_the_log(shop: Shop, caplog: Log) -> None:
    caplog.set_level("DEBUG", logger="pyfly_session")
    location = await shop.start()
    query = shop.green.log_in(location)
    await shop.come_back(query)
    shop.green.answers["/token"] = OF_TOKENS["error-lines"]
    await shop.log_in()
    text = "".join(each.getMessage() for each in caplog.records if "pyfly" in each.name)
    assert "logged in with green" in text
    asked = dict(pair.split("=") for pair in location.partition("?")[2].split("&"))
    for secret in (asked["state"], asked["nonce"], "s3cret", "code-green"):
        assert secret not in text
