"""Whatever a client sends as a cookie: no error, no look into the store for what is no id."""

import asyncio
from http.cookies import SimpleCookie

from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse

from pyfly_session import ids
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.web.cookies import SessionCookie
from tests.conftest import Clock, effort
from tests.web.conftest import Site
from tests.web.driver import COOKIE, ask
from tests.web.stores import Probe

KNOWN = "a" * 32
NAME = COOKIE.encode()
ACCEPTABLE = st.from_regex(r"[A-Za-z0-9._~-]{1,20}", fullmatch=True)
PIECES = st.one_of(
    st.sampled_from(
        [NAME, NAME.lower(), b"__Host-", b"=", b";", b"; ", b'"', b",", b" ", b"\t", b"\\", b"\x00"]
    ),
    st.sampled_from([b"user:alice", b"*", b"../", b"%3A", b"\r\n", KNOWN.encode(), b"$Version=1"]),
    ACCEPTABLE.map(str.encode),
    st.binary(max_size=9),
    st.integers(1, 200).map(lambda size: b"a" * size),
)
HEADERS = st.lists(st.lists(PIECES, max_size=12).map(b"".join), max_size=3)
# What RFC 6265 calls a token and a cookie-octet.
TOKENS = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,9}", fullmatch=True)
OCTETS = st.from_regex(r"[!#-+./0-9:<-\[\]-~-]{0,40}", fullmatch=True)


def read(*headers: bytes) -> list[str]:
    return SessionCookie().candidates([(b"cookie", each) for each in headers])


@effort(80, 100_000)
@given(HEADERS)
def test_hostile_cookies_give_a_few_acceptable_ids_and_no_error(headers: list[bytes]) -> None:
    found = read(*headers)

    assert len(found) == len(set(found)) <= 4
    for each in found:
        assert ids.is_acceptable(each)
        assert any(NAME in header and each.encode() in header for header in headers)


@effort(80, 20_000)
@given(
    st.dictionaries(TOKENS.filter(lambda name: name != COOKIE), OCTETS, max_size=4),
    st.one_of(ACCEPTABLE, OCTETS),
    st.booleans(),
)
def test_good_cookies_are_read_as_usual(others: dict[str, str], value: str, quoted: bool) -> None:
    pairs = [*others.items(), (COOKIE, f'"{value}"' if quoted else value)]
    header = "; ".join(f"{name}={each}" for name, each in pairs)
    assert cookie_parser(header)[COOKIE].strip('"') == value

    assert read(header.encode()) == ([value] if ids.is_acceptable(value) else [])


@effort(50, 10_000)
@given(ACCEPTABLE)
def test_the_standard_library_reads_the_same_value(value: str) -> None:
    header = f'theme=dark; {COOKIE}="{value}"; lang=en'
    parsed = SimpleCookie(header)
    assume(COOKIE in parsed)
    assert read(header.encode()) == [parsed[COOKIE].value] == [value]


@effort(50, 10_000)
@given(ACCEPTABLE, st.integers(1, 2**31 - 1))
def test_the_cookie_that_is_issued_is_read_back(session_id: str, max_age: int) -> None:
    _, header = SessionCookie().issue(session_id, max_age, known=True)
    parsed = SimpleCookie(header.decode())
    assert (parsed[COOKIE].value, parsed[COOKIE]["max-age"]) == (session_id, str(max_age))
    assert read(header.partition(b";")[0]) == [session_id]


def test_hostile_cookies_through_the_application(runner: asyncio.Runner) -> None:
    clock = Clock()
    site = Site(Probe(InMemorySessionStore(clock=clock)), clock)
    site.configure(creation="if-required")

    async def user(request: Request) -> JSONResponse:
        return JSONResponse(request.state.session.get_attribute("user"))

    app = site.app(user=user)
    runner.run(site.seed(KNOWN, user="alice"))

    @effort(50, 20_000)
    @given(HEADERS)
    def search(headers: list[bytes]) -> None:
        site.probe.calls.clear()
        answer = runner.run(ask(app, "/user", headers=[("cookie", each) for each in headers]))
        asked = [session_id for _, session_id in site.probe.calls]
        assert answer.status == 200
        assert set(asked) <= set(read(*headers))
        assert all(map(ids.is_acceptable, asked))
        assert (answer.text == '"alice"') == (KNOWN in asked)

    search()
