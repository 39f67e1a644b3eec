"""Whatever headers the application sends: they arrive, and the session's own beside them."""

import asyncio
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.web import SessionFilter, WebFilterChainMiddleware
from tests.conftest import effort
from tests.web.driver import Connection

Header = tuple[bytes, bytes]

NAMES = st.sampled_from(
    [b"vary", b"Vary", b"VARY", b"cache-control", b"Cache-Control", b"set-cookie", b"Set-Cookie"]
) | st.from_regex(rb"[A-Za-z0-9-]{1,12}", fullmatch=True)
CONTENTS = st.sampled_from(
    [
        *[b"Cookie", b"cookie, *", b"*", b"Accept", b"", b",", b" , ", b"PYFLY_SESSION=x"],
        *[b"public", b"max-age=5, Public", b"S-MaxAge=5", b"no-cache", b"x=public"],
        *[b"private", b"No-Store", b"private=x"],
    ]
) | st.binary(max_size=12).map(lambda raw: raw.translate(None, b"\r\n\x00"))
HEADERS = st.lists(st.tuples(NAMES, CONTENTS), max_size=6)


def may_be_shared(headers: list[Header]) -> bool:
    """Return whether a shared cache may keep what has these headers."""
    parts = (part.partition(b"=")[0] for part in directives(headers))
    return not {b"public", b"s-maxage"}.isdisjoint(parts)


def directives(headers: list[Header]) -> list[bytes]:
    values = [value.lower() for name, value in headers if name.lower() == b"cache-control"]
    return [part for value in values for part in re.split(rb"[\s,]", value)]


def made_private(headers: list[Header]) -> list[Header]:
    """Return the headers as they are to arrive with an id, where no cache has been spoken of."""
    named = [n for n, (name, _) in enumerate(headers) if name.lower() == b"cache-control"]
    if not named or not {b"private", b"no-store"}.isdisjoint(directives(headers)):
        return headers
    name, value = headers[named[0]]
    return [*headers[: named[0]], (name, value + b", private"), *headers[named[0] + 1 :]]


def answer_of(
    runner: asyncio.Runner, given: list[Header], sent: list[Header], *, write: bool = False
) -> list[Header]:
    """Return the headers that leave an application which sends the given ones."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["session"] is not None
        if write:
            scope["session"]["user"] = "alice"
        await send({"type": "http.response.start", "status": 200, "headers": list(given)})
        await send({"type": "http.response.body"})

    chain = WebFilterChainMiddleware(app, [SessionFilter(InMemorySessionStore())])
    connection = Connection(chain)
    connection.scope["headers"] = sent
    head = runner.run(connection.run()).head
    headers: list[Header] = head["headers"]
    return headers


def test_headers_of_application_arrive_with_those_of_session(runner: asyncio.Runner) -> None:
    @effort(60, 20_000)
    @given(HEADERS, st.booleans())
    def search(given: list[Header], write: bool) -> None:
        headers = answer_of(runner, given, [], write=write)
        if may_be_shared(given):
            if not write:
                # A visitor of such a page gets no session.
                assert headers == given
                return
            given = [each for each in given if each[0].lower() != b"cache-control"]
        given = made_private(given)
        others = [each for each in given if each[0].lower() != b"vary"]
        assert [each for each in headers if each[0].lower() != b"vary"][: len(others)] == others

        added = headers[len(given) :]
        cookies = [value for name, value in added if name == b"set-cookie"]
        assert len(cookies) == 1
        assert cookies[0].startswith(b"PYFLY_SESSION=")
        listed = {
            token.strip().lower()
            for name, value in headers
            if name.lower() == b"vary"
            for token in value.split(b",")
        }
        assert listed & {b"cookie", b"*"}
        names = [name.lower() for name, _ in given]
        assert ((b"cache-control", b"no-store") in added) is (b"cache-control" not in names)

    search()


def test_hostile_request_headers_never_fail_a_request(runner: asyncio.Runner) -> None:
    @effort(60, 20_000)
    @given(st.lists(st.tuples(NAMES | st.just(b"cookie") | st.just(b"host"), st.binary())))
    def search(sent: list[Header]) -> None:
        headers = answer_of(runner, [], sent)
        assert any(name == b"set-cookie" for name, _ in headers)

    search()
