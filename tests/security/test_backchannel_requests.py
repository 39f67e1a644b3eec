"""Requests of a provider that are not what they must be, apart from the token."""

import json
from urllib.parse import urlencode

from tests.security.test_backchannel import PATH, Place, post_form
from tests.support.cases import for_each
from tests.support.types import Log
from tests.web.driver import Connection, ask


@for_each("registration", ["blue", "plain", "%00", "green%2F", "a" * 5_000])
async def test_registration_without_logouts_is_absent(place: Place, registration: str) -> None:
    base = place.green.issuer
    options = {"authorization_uri": f"{base}/auth", "token_uri": f"{base}/token"}
    place.registrations.add(place.green.registration("plain", issuer_uri="", **options))
    answer = await place.post(place.green.logout_token(sub="alice"), registration)
    assert (answer.status, answer.get("cache-control")) == (404, "no-store")


@for_each("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_refused(place: Place, method: str) -> None:
    browser = await place.enter()
    token = place.green.logout_token(sub="alice")
    answer = await ask(place.app, f"{PATH}green?logout_token={token}", method=method)
    assert (answer.status, answer.get("allow"), answer.get("set-cookie")) == (405, "POST", None)
    assert await place.is_in(browser) == [True]


@for_each("declared", [True, False])
async def test_a_huge_body_is_not_read_to_its_end(place: Place, declared: bool) -> None:
    chunk = {"type": "http.request", "body": b"x" * 4096, "more_body": True}
    connection = Connection(
        place.app,
        f"{PATH}green",
        method="POST",
        headers=[("content-length", "4096000")] if declared else [],
        incoming=[*[chunk] * 999, {**chunk, "more_body": False}],
    )
    answer = await connection.run()
    assert (answer.status, answer.get("cache-control")) == (413, "no-store")
    assert connection._inbox.qsize() == 995


@for_each(
    "body", [b"", b"logout_token", b"logout_token=", b"token=x", b"\xff\xfe", b"&" * 9_000,
    b"logout_token=a&logout_token=b", b'{"logout_token": "x"}'])  # fmt: skip
async def test_a_body_without_the_one_field_is_refused(place: Place, body: bytes) -> None:
    answer = await ask(place.app, f"{PATH}green", method="POST", body=body)
    assert (answer.status, json.loads(answer.text)["error"]) == (400, "invalid_request")


async def test_a_body_with_two_tokens_is_refused(place: Place) -> None:
    browser = await place.enter()
    field = urlencode({"logout_token": place.green.logout_token(sub="alice")})
    answer = await ask(
        place.app, f"{PATH}green", method="POST", body=f"{field}&logout_token=x".encode()
    )
    assert (answer.status, await place.is_in(browser)) == (400, [True])


async def test_a_token_in_the_query_does_not_count(place: Place) -> None:
    browser = await place.enter()
    token = place.green.logout_token(sub="alice")
    answer = await post_form(place.app, {}, f"green?logout_token={token}")
    assert (answer.status, await place.is_in(browser)) == (400, [True])


async def test_a_provider_that_hangs_up_ends_nothing(place: Place) -> None:
    part = {"type": "http.request", "body": b"logout_token=", "more_body": True}
    answer = await ask(
        place.app, f"{PATH}green", method="POST", incoming=[part, {"type": "http.disconnect"}]
    )
    assert answer.status == 400


async def test_no_token_is_written_to_the_log(place: Place, caplog: Log) -> None:
    caplog.set_level("DEBUG")
    token = place.green.logout_token(sub="alice")
    for each in (token, token, token + "A"):
        await place.post(each)
    assert "back-channel" in caplog.text
    assert token not in caplog.text
