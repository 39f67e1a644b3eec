"""Rules that join several properties, Redis URLs, and the secrets in them."""

from typing import Any

from pyfly_session.config import CookieProperties, RedisProperties, SessionProperties
from tests.support.cases import for_each
from tests.test_properties import bound, refusal

PASSWORD = "s3cr3t"
NODES = ["node:7000"]


@for_each(
    ("session", "key", "remedy"),
    [
        ({"cookie": {"same_site": "none"}}, "cookie.same-site", "cookie.secure: true"),
        ({"cookie": {"partitioned": True}}, "cookie.partitioned", "cookie.secure: true"),
        ({"cookie_name": "__Secure-s"}, "cookie-name", "cookie.secure: true"),
        ({"cookie_name": "__host-s"}, "cookie-name", "cookie.secure: true"),
        (
            {"cookie_name": "__Host-s", "cookie": {"secure": True, "path": "/a"}},
            "cookie-name",
            "cookie.path: /, got /a; for another path use the prefix __Secure-",
        ),
        (
            {"cookie_name": "__Host-s", "cookie": {"secure": True, "domain": "x.org"}},
            "cookie-name",
            "no pyfly.session.cookie.domain, got x.org",
        ),
        ({"concurrency": {"max_sessions": 0}}, "concurrency.max-sessions", "-1 for no limit"),
        (
            {"redis": {"cluster": {"nodes": NODES}, "sentinel": {"master": "m", "nodes": NODES}}},
            "redis.cluster.nodes",
            "excludes pyfly.session.redis.sentinel; remove one",
        ),
        ({"redis": {"sentinel": {"master": "m"}}}, "redis.sentinel.master", "sentinel.nodes"),
        ({"redis": {"sentinel": {"nodes": NODES}}}, "redis.sentinel.nodes", "sentinel.master"),
        (
            {"redis": {"url": "unix:///s", "cluster": {"nodes": NODES}}},
            "redis.url",
            "redis:// or rediss:// for Cluster and Sentinel",
        ),
        (
            {"redis": {"url": "redis://h/3", "cluster": {"nodes": NODES}}},
            "redis.url",
            "names database 3; a Cluster has only 0",
        ),
    ],
)
def test_exclusive_properties_are_refused(session: dict[str, Any], key: str, remedy: str) -> None:
    error = refusal(**session)
    assert error.key == f"pyfly.session.{key}"
    assert remedy in str(error)


def test_prefixed_cookie_that_keeps_the_rules_is_accepted() -> None:
    secure = {"secure": True, "same_site": "none", "partitioned": True}
    assert bound(cookie_name="__Host-s", cookie=secure).cookie.partitioned
    shared = bound(cookie_name="__Secure-s", cookie=secure | {"path": "/a", "domain": ".x.org"})
    assert shared.cookie.domain == ".x.org"


@for_each(
    "url",
    [
        "redis://u:p%40ss@h:6379/0?ssl=1", "rediss://h", "redis://[::1]:6379/2",
        "unix:///run/redis.sock?db=1",
    ],
)  # fmt: skip
def test_usable_redis_urls_are_accepted(url: str) -> None:
    assert bound(redis={"url": url}).redis.url == url


@for_each(
    "url",
    [
        f"redis://:{PASSWORD}/@h:1", f"http://:{PASSWORD}@h:1", f"redis://:{PASSWORD}@h:1/x",
        f"redis://h:1/x?password={PASSWORD}", PASSWORD, [f"redis://:{PASSWORD}@h"],
        {"password": PASSWORD},
    ],
)  # fmt: skip
def test_password_of_the_redis_url_never_reaches_an_error(url: object) -> None:
    error = refusal(redis={"url": url})
    assert PASSWORD not in str(error)
    assert PASSWORD not in repr(error)


def test_password_in_the_place_of_a_section_never_reaches_an_error() -> None:
    for value in (f"redis://:{PASSWORD}@h", [f"redis://:{PASSWORD}@h"]):
        error = refusal(redis=value)
        assert PASSWORD not in f"{error} {error.value}"


def test_repr_masks_the_password() -> None:
    properties = SessionProperties(redis=RedisProperties(url=f"redis://u:{PASSWORD}@h"))
    assert "redis://u:***@h" in repr(properties)
    assert PASSWORD not in f"{properties!r} {properties} {properties.redis.__rich_repr__()}"
    assert repr(CookieProperties()) == (
        "CookieProperties(secure=False, path='/', domain=None, same_site='lax', partitioned=False,"
        " persistent=True)"
    )
