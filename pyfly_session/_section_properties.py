"""The sections under ``pyfly.session``, but that of Redis."""

from typing import Annotated, Literal

from msgspec import Meta

from pyfly_session._fields import Properties
from pyfly_session._property_types import (
    CookieDomain,
    CookiePath,
    HeaderName,
    Origins,
    Secret,
    Timeout,
    about,
)


class CookieProperties(Properties, frozen=True, kw_only=True):
    """Attributes of the session cookie."""

    secure: Annotated[
        bool, about("Send the cookie over HTTPS only; set it in production.", True)
    ] = False
    path: Annotated[CookiePath, about("Path below which browsers send the cookie.", "/shop")] = "/"
    domain: Annotated[
        CookieDomain | None,
        about(
            "Domain that shares the cookie with its subdomains;"
            " without it only the host itself receives the cookie.",
            "example.org",
        ),
    ] = None
    same_site: Annotated[
        Literal["lax", "strict", "none"],
        about(
            "Whether requests from other sites carry the cookie; `none` needs `cookie.secure`.",
            "strict",
        ),
    ] = "lax"
    partitioned: Annotated[
        bool, about("Keep one cookie per embedding site (CHIPS); needs `cookie.secure`.", True)
    ] = False
    persistent: Annotated[
        bool,
        about(
            "Send the cookie with `Max-Age`; otherwise browsers drop it when they are closed.",
            False,
        ),
    ] = True


class HeaderProperties(Properties, frozen=True, kw_only=True):
    """The header that carries the id of clients that are no browsers."""

    name: Annotated[
        HeaderName,
        about(
            "Name of the header with the session id, where `resolver` has `header`.",
            "X-Session-Id",
        ),
    ] = "X-Auth-Token"


class WebSocketProperties(Properties, frozen=True, kw_only=True):
    """What holds for open WebSockets."""

    close_on_session_end: Annotated[
        Literal["authenticated", "always", "never"],
        about(
            "Which WebSockets are closed (code 1008) when their session ends or gets another id:"
            " those of users who are logged in, all, or none.",
            "always",
        ),
    ] = "authenticated"
    check_interval: Annotated[
        Timeout,
        about(
            "How often the session of an open WebSocket is looked at: whether it still lives,"
            " slid if a message came, saved if it changed.",
            2.5,
        ),
    ] = 10.0
    slide_on_send: Annotated[
        bool,
        about("Let messages to the client count as access, too, not only those from it.", True),
    ] = False
    allowed_origins: Annotated[
        Origins,
        about(
            "Origins of pages that may open a WebSocket with a session, besides the host itself;"
            " `*` allows any.",
            ["https://app.example.org"],
        ),
    ] = ()


class ObservabilityProperties(Properties, frozen=True, kw_only=True):
    """What OpenTelemetry is told."""

    enabled: Annotated[
        bool,
        about(
            "Tell OpenTelemetry what happens, as metrics and spans;"
            " needs the package opentelemetry-api.",
            True,
        ),
    ] = False


class EncryptionProperties(Properties, frozen=True, kw_only=True):
    """Encryption of the stored sessions, if there are keys."""

    keys: Annotated[
        tuple[Secret, ...],
        Meta(extra={"secret": True, "allowed": "a list of Fernet keys, 32 bytes as base64"}),
        about(
            "Keys that sessions are encrypted with at rest: the first encrypts, any decrypts."
            " Without keys sessions are plain JSON, which the original reads.",
            ["${SESSION_KEY}", "${FORMER_SESSION_KEY}"],
        ),
    ] = ()
    accept_plain: Annotated[
        bool,
        about("Read sessions that were stored before encryption was switched on, too.", True),
    ] = False


class MemoryProperties(Properties, frozen=True, kw_only=True):
    """Bounds of the in-memory store."""

    max_sessions: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        about(
            'Upper bound of the sessions held at once; an empty text (`""`) means no bound.', 10000
        ),
    ] = 100_000


class ConcurrencyProperties(Properties, frozen=True, kw_only=True):
    """How many sessions one user may have at once."""

    enabled: Annotated[bool, about("Limit the sessions of each user who logs in.", True)] = False
    max_sessions: Annotated[
        int,
        Meta(ge=-1, le=10_000),
        about("The most live sessions of one user; -1 means no limit.", 1),
    ] = -1
    strategy: Annotated[
        Literal["evict-oldest", "reject-new"],
        about(
            "What happens to one too many: the session with the oldest login ends, or the new"
            " login is refused.",
            "reject-new",
        ),
    ] = "evict-oldest"
    registry: Annotated[
        Literal["store", "memory", "redis"],
        about(
            "Where is kept who has which sessions; `store` is wherever the sessions are.", "redis"
        ),
    ] = "store"
