"""Rules of the properties that no type expresses: values that exclude each other, odd URLs.

Source: draft-ietf-httpbis-rfc6265bis, sections 4.1.3 (prefixes) and 5.7 (SameSite=None).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pyfly_session._masking import mask_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyfly_session.properties import SessionProperties

# What is no one's to use otherwise; the rest of the registry harms only who chooses it.
_HEADERS_OF_HTTP = frozenset({
    "accept", "authorization", "cache-control", "connection", "content-length", "content-type",
    "cookie", "date", "host", "location", "origin", "set-cookie", "te", "trailer",
    "transfer-encoding", "upgrade", "vary",
})  # fmt: skip


def conflicts(properties: SessionProperties, prefix: str) -> Iterator[tuple[str, object, str]]:
    """Yield the problems of bound properties: key below ``prefix``, value, rest of the sentence.

    Values are masked where they may hold a password.
    """
    cookie, name = properties.cookie, properties.cookie_name
    secure = f"{prefix}.cookie.secure: true"
    if cookie.same_site == "none" and not cookie.secure:
        problem = f"none needs {secure}, else browsers refuse the cookie; or choose lax or strict"
        yield "cookie.same-site", "none", problem
    if cookie.partitioned and not cookie.secure:
        yield "cookie.partitioned", True, f"true needs {secure}, else browsers refuse the cookie"
    # Browsers compare the prefixes without regard to case.
    host_only = name.lower().startswith("__host-")
    if (host_only or name.lower().startswith("__secure-")) and not cookie.secure:
        yield "cookie-name", name, f"{name} needs {secure}; or choose a name without that prefix"
    if host_only and cookie.path != "/":
        problem = f"{name} needs {prefix}.cookie.path: /, got {cookie.path}"
        yield "cookie-name", name, f"{problem}; for another path use the prefix __Secure-"
    if host_only and cookie.domain is not None:
        problem = f"{name} allows no {prefix}.cookie.domain, got {cookie.domain}"
        yield "cookie-name", name, f"{problem}; to share the cookie use the prefix __Secure-"
    if len(set(properties.resolver)) < len(properties.resolver):
        yield "resolver", properties.resolver, "must name each way once"
    if properties.header.name.lower() in _HEADERS_OF_HTTP:
        problem = f"{properties.header.name} has a meaning in HTTP; choose a name such as"
        yield "header.name", properties.header.name, f"{problem} X-Auth-Token"
    if properties.concurrency.max_sessions == 0:
        yield "concurrency.max-sessions", 0, "must be at least 1, or -1 for no limit, got 0"
    yield from _redis_conflicts(properties, prefix)


def _redis_conflicts(
    properties: SessionProperties, prefix: str
) -> Iterator[tuple[str, object, str]]:
    redis = properties.redis
    if unusable := _url_problem(redis.url):
        yield "redis.url", mask_url(redis.url), unusable
        return
    cluster, sentinel = redis.cluster.nodes, redis.sentinel
    if cluster and sentinel.master:
        yield "redis.cluster.nodes", cluster, f"excludes {prefix}.redis.sentinel; remove one"
    if sentinel.master and not sentinel.nodes:
        yield "redis.sentinel.master", sentinel.master, f"needs {prefix}.redis.sentinel.nodes"
    if sentinel.nodes and not sentinel.master:
        yield "redis.sentinel.nodes", sentinel.nodes, f"needs {prefix}.redis.sentinel.master"
    if (cluster or sentinel.master) and redis.url.startswith("unix:"):
        problem = "must start with redis:// or rediss:// for Cluster and Sentinel"
        yield "redis.url", mask_url(redis.url), problem
    database = urlsplit(redis.url).path.strip("/")
    if cluster and database not in ("", "0"):
        yield "redis.url", mask_url(redis.url), f"names database {database}; a Cluster has only 0"


def _url_problem(url: str) -> str | None:
    """Find what the driver would report too late, or not at all, or with the password."""
    shown = mask_url(url)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return (
            f"has no valid host and port, got {shown};"
            " percent-encode special characters in the password, such as / ? # [ ]"
        )
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not (database.isascii() and database.isdigit()):
        return f"must end in the number of a database, such as /0, got {shown}"
    return None
