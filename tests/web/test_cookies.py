"""The session cookie on the wire: what is accepted, set and removed."""

from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from pyfly_session import ConfigurationError
from pyfly_session.web import SessionCookie
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import COOKIE, Answer, Connection
from tests.web.pages import invalidate

KNOWN = "a" * 32


async def who(session: Any) -> Response:
    return JSONResponse(session.get_attribute("user"))


async def send(site: Site, *cookie_headers: str | bytes, path: str = "/who") -> Answer:
    headers = [("cookie", each) for each in cookie_headers]
    connection = Connection(site.app(who=who, logout=invalidate), path, headers=headers)
    # Stripped by a proxy, where the cookie is for a part of the host.
    connection.scope["root_path"] = getattr(site.filter.resolver, "path", "/").rstrip("/")
    return await connection.run()


HOSTILE = [
    "", '""', "user:alice", "pyfly:session:x", "../../etc/passwd", "a b", "a\x00b", "a%00b",
    "a\tb", "ünïcode".encode(), b"\xff\xfe\x80", "a*", "{a}", "a,b", "a\r\nSet-Cookie: x=y", "'a'",
    'a"b', "a=b", "a" * 129, "a" * 7000, "a" * 8192,
]  # fmt: skip


@for_each("value", HOSTILE)
async def test_malformed_cookie_never_reaches_the_store(site: Site, value: str | bytes) -> None:
    site.configure(creation="if-required")
    raw = value if isinstance(value, bytes) else value.encode()
    answer = await send(site, COOKIE.encode() + b"=" + raw)
    assert (answer.status, answer.text, site.probe.calls) == (200, "null", [])


@for_each(
    "header",
    [
        "", ";", ";;;=;", "=", COOKIE, f"{COOKIE};", f"={KNOWN}", KNOWN, f"other={COOKIE}={KNOWN}",
        f"x{COOKIE}={KNOWN}", f"{COOKIE}x={KNOWN}", f"{COOKIE.lower()}={KNOWN}", f"a={COOKIE}",
    ],
)  # fmt: skip
async def test_what_only_resembles_the_cookie_is_no_candidate(site: Site, header: str) -> None:
    await site.seed(KNOWN, user="alice")
    answer = await send(site.configure(creation="if-required"), header)
    assert (answer.text, site.probe.calls) == ("null", [])


@for_each(
    "header",
    [
        f"{COOKIE}={KNOWN}", f'{COOKIE}="{KNOWN}"', f" {COOKIE} = {KNOWN} ",
        f"a=b;{COOKIE}={KNOWN};c=d", f"theme; {COOKIE}={KNOWN}",
        f"broken=\x00\xff; {COOKIE}={KNOWN}",
    ],
)  # fmt: skip
async def test_cookie_is_found_however_it_is_written(site: Site, header: str) -> None:
    await site.seed(KNOWN, user="alice")
    answer = await send(site, header)
    assert (answer.text, answer.session_id) == ('"alice"', KNOWN)


@for_each("session_id", ["A-z_0.9~", "a", "z" * 128])
async def test_ids_of_other_makers_are_accepted(site: Site, session_id: str) -> None:
    await site.seed(session_id, user="alice")
    assert (await send(site, f"{COOKIE}={session_id}")).session_id == session_id


@for_each(
    "header",
    [
        f"{COOKIE}={KNOWN}; {COOKIE}=bogus",
        f"{COOKIE}=bogus; {COOKIE}={KNOWN}",
        f"{COOKIE}=user:x; {COOKIE}=; {COOKIE}={KNOWN}",
        f"{COOKIE}=b1; {COOKIE}=b2; {COOKIE}=b3; {COOKIE}={KNOWN}",
    ],
)
async def test_known_session_is_found_among_several_cookies(site: Site, header: str) -> None:
    await site.seed(KNOWN, user="alice")
    answer = await send(site, header)
    assert (answer.text, answer.session_id) == ('"alice"', KNOWN)


async def test_cookies_in_several_header_lines_are_all_candidates(site: Site) -> None:
    await site.seed(KNOWN, user="alice")
    assert (await send(site, f"{COOKIE}=bogus", "a=b", f"{COOKIE}={KNOWN}")).text == '"alice"'


async def test_hundred_candidates_cost_only_a_few_looks_into_the_store(site: Site) -> None:
    site.configure(creation="if-required")
    answer = await send(site, "; ".join(f"{COOKIE}=bogus{n}" for n in range(100)))
    assert (answer.status, answer.text) == (200, "null")
    assert len(site.probe.calls) <= 4


async def test_repeated_candidate_is_looked_up_once(site: Site) -> None:
    site.configure(creation="if-required")
    await send(site, "; ".join([f"{COOKIE}=bogus"] * 100))
    assert len(site.probe.calls) == 1


async def test_no_cookie_means_no_call_of_the_store(site: Site) -> None:
    answer = await send(site.configure(creation="if-required"))
    assert (answer.status, site.probe.calls) == (200, [])


async def test_default_attributes_are_the_original_ones(site: Site) -> None:
    cookie = (await send(site)).own_cookie
    assert cookie.attributes == {"httponly": "", "max-age": "1800", "path": "/", "samesite": "lax"}


async def test_secure_flag_is_set_when_asked_for(site: Site) -> None:
    cookie = (await send(site.configure(secure=True))).own_cookie
    assert "secure" in cookie.attributes


EVERYTHING = SessionCookie(
    name="SID", secure=True, path="/shop", domain="example.test", same_site="none", partitioned=True
)
HOST_ONLY = SessionCookie(name="__Host-sid", secure=True)


@for_each("cookie", [SessionCookie(), EVERYTHING, HOST_ONLY])
async def test_deletion_repeats_what_browsers_match(site: Site, cookie: SessionCookie) -> None:
    site.configure(cookie=cookie)
    issued = (await send(site)).cookie(cookie.name)
    assert issued is not None
    removed = (await send(site, f"{cookie.name}={issued.value}", path="/logout")).cookie(
        cookie.name
    )
    assert removed is not None
    assert removed.is_deletion
    assert (removed.value, removed.attributes["expires"]) == ("", "Thu, 01 Jan 1970 00:00:00 GMT")
    lifetimes = {"max-age", "expires"}
    kept = {name: value for name, value in issued.attributes.items() if name not in lifetimes}
    again = {name: value for name, value in removed.attributes.items() if name not in lifetimes}
    assert again == kept


async def test_all_attributes_are_written(site: Site) -> None:
    cookie = (await send(site.configure(cookie=EVERYTHING))).cookie("SID")
    assert cookie is not None
    assert cookie.attributes == {
        "httponly": "", "max-age": "1800", "path": "/shop", "samesite": "none",
        "domain": "example.test", "secure": "", "partitioned": "",
    }  # fmt: skip


async def test_host_prefixed_cookie_can_be_removed(site: Site) -> None:
    site.configure(cookie=HOST_ONLY)
    issued = (await send(site)).cookie("__Host-sid")
    assert issued is not None
    answer = await send(site, f"__Host-sid={issued.value}", path="/logout")
    removed = answer.cookie("__Host-sid")
    assert removed is not None
    assert "secure" in removed.attributes
    assert removed.attributes["path"] == "/"
    assert "domain" not in removed.attributes


@for_each(
    "options",
    [
        {"name": "__Host-sid"}, {"name": "__Host-sid", "secure": True, "path": "/shop"},
        {"name": "__Host-sid", "secure": True, "domain": "example.test"}, {"name": "__Secure-sid"},
        {"same_site": "none"}, {"same_site": "all"}, {"partitioned": True}, {"name": "a b"},
        {"name": "a;b"}, {"name": "a=b"}, {"name": ""}, {"name": "sid\n"}, {"path": "/; Secure"},
        {"path": "shop"}, {"domain": "a;b"},
    ],
)  # fmt: skip
def test_cookie_that_browsers_would_refuse_or_misread_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SessionCookie(**options)
