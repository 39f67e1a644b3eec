"""The sections under ``pyfly.session``, and the kinds of values that properties have."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from pyfly_session.config.binding import Properties

# Python's clock, Redis and browsers all count this many seconds (68 years) without overflow.
_LONGEST_LIFE = 2**31 - 1
_SECONDS = {"unit": "second"}

Lifetime = Annotated[int, Meta(ge=1, le=_LONGEST_LIFE, extra=_SECONDS)]
Timeout = Annotated[float, Meta(gt=0, le=3600, extra=_SECONDS)]


def text(pattern: str, allowed: str, *, url: bool = False) -> Meta:
    """Describe a text by its pattern, and by what that allows in words; a URL may hold secrets."""
    secret = {"secret": "url"} if url else {}
    return Meta(pattern=pattern, extra={"allowed": allowed, **secret})


def in_words(allowed: str) -> Meta:
    """Say what is allowed where the type alone does not."""
    return Meta(extra={"allowed": allowed})


def about(description: str, example: object) -> Meta:
    """Describe a property: its effect, and one allowed value other than the default."""
    return Meta(description=description, examples=[example])


_NAME = r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z"
_NAME_IN_WORDS = "letters, digits and any of !#$%&'*+-.^_`|~"

CookieName = Annotated[str, text(_NAME, f"a cookie name: {_NAME_IN_WORDS}")]
HeaderName = Annotated[str, text(_NAME, f"a header name: {_NAME_IN_WORDS}")]
CookiePath = Annotated[
    str, text(r"^/[^;\x00-\x1f\x7f]*\Z", "a path that starts with / and holds no semicolon")
]
CookieDomain = Annotated[
    str,
    text(
        r"^\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z",
        "a domain name without scheme, port and path",
    ),
]
Resolvers = Annotated[
    tuple[Literal["cookie", "header"], ...],
    Meta(min_length=1),
    in_words("cookie, header, or a list of both"),
]
Origins = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^(\*|[A-Za-z][A-Za-z0-9+.-]*://(\*\.)?[^/\s,*]+)\Z")], ...],
    in_words(
        "a list of origins, each as https://host, https://host:port or https://*.domain, or *"
    ),
]
PathPatterns = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^[/*]")], ...],
    in_words("a list of path patterns, each starting with / or *"),
]
RedisUrl = Annotated[
    str,
    text(
        r"^(redis|rediss|unix)://[^\s\x00-\x1f\x7f]+\Z",
        "a URL that starts with redis://, rediss:// or unix://",
        url=True,
    ),
]
DatabaseUrl = Annotated[
    str,
    text(
        r"^[a-z0-9]+\+[a-z0-9]+://[^\s\x00-\x1f\x7f]*\Z",
        "a URL of SQLAlchemy with its asyncio driver, such as"
        " postgresql+asyncpg://user:password@host/database",
        url=True,
    ),
]
TableName = Annotated[
    str,
    text(
        r"^([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,39}\Z",
        "a name of letters, digits and _, with a schema in front if need be",
    ),
]
NodeAddresses = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^[^\s/@,]+:[0-9]{1,5}\Z")], ...],
    in_words("a list of addresses, each as host:port"),
]
Secret = Annotated[str, Meta(min_length=1, extra={"secret": True})]


class CookieProperties(Properties, frozen=True, kw_only=True):
    """Attributes of the session cookie."""

    secure: Annotated[
        bool,
        about(
            "Send the cookie over HTTPS only; set it in production. One that is set over HTTPS is"
            " `Secure` in any case.",
            True,
        ),
    ] = False
    path: Annotated[
        CookiePath,
        about(
            "Path below which browsers send the cookie, as they see it; no session is made"
            " outside of it.",
            "/shop",
        ),
    ] = "/"
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
            " `*` before a domain stands for all its subdomains, alone for any origin.",
            ["https://app.example.org", "https://*.example.net"],
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


class SqlProperties(Properties, frozen=True, kw_only=True):
    """Database and table of the SQL store."""

    url: Annotated[
        DatabaseUrl,
        about(
            "Database, used when `store` is `sql`; special characters in the password are"
            " percent-encoded.",
            "postgresql+asyncpg://shop:p%40ss@db.internal/shop",
        ),
    ] = "sqlite+aiosqlite:///sessions.db"
    table: Annotated[TableName, about("Name of the table.", "web.sessions")] = "pyfly_session"
    create_table: Annotated[
        bool | None,
        about(
            "Create the table if it is missing; unless it is set, with SQLite only.",
            True,
        ),
    ] = None
    touch_interval: Annotated[
        Timeout | None,
        about(
            "A read that comes so soon after the last one that was noted is not written down; a"
            " session may end that much early. Unless it is set, a twentieth of the idle time.",
            30.0,
        ),
    ] = None
    cleanup_interval: Annotated[
        Timeout, about("How often each process looks for expired sessions to end.", 300.0)
    ] = 60.0


class ConcurrencyProperties(Properties, frozen=True, kw_only=True):
    """How many sessions one user may have at once."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "redis": "the list of sessions is in the Redis of pyfly.session.redis; set its url there",
        "postgres": "set pyfly.session.store to sql, and pyfly.session.sql.url",
    }

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
        in_words(
            "store, memory or redis; store is right for a database, too,"
            " with pyfly.session.store: sql"
        ),
        about(
            "Where is kept who has which sessions; `store` is wherever the sessions are.", "redis"
        ),
    ] = "store"


class ClusterProperties(Properties, frozen=True, kw_only=True):
    """Redis Cluster, if there are nodes."""

    nodes: Annotated[
        NodeAddresses,
        about(
            "Some nodes of a Redis Cluster, which tell of the others. Credentials and TLS are"
            " those of `redis.url`, whose host is not used then.",
            ["redis-1:6379", "redis-2:6379"],
        ),
    ] = ()


class SentinelProperties(Properties, frozen=True, kw_only=True):
    """Redis Sentinel, if there is a master."""

    master: Annotated[
        str | None,
        about(
            "Name under which Sentinel watches the master. Credentials, TLS and database are"
            " those of `redis.url`, whose host is not used then.",
            "mymaster",
        ),
    ] = None
    nodes: Annotated[
        NodeAddresses,
        about(
            "The Sentinel processes, spoken to by TLS if `redis.url` starts with `rediss://`.",
            ["sentinel-1:26379", "sentinel-2:26379"],
        ),
    ] = ()
    username: Annotated[str | None, about("User name for the Sentinel processes.", "sentinel")] = (
        None
    )
    password: Annotated[
        Secret | None, about("Password for the Sentinel processes.", "${SENTINEL_PASSWORD}")
    ] = None


class RedisProperties(Properties, frozen=True, kw_only=True):
    """Connection and keys of the Redis store."""

    url: Annotated[
        RedisUrl,
        about(
            "Connection URL, used when `store` is `redis`;"
            " special characters in the password are percent-encoded.",
            "rediss://user:p%40ss@redis.internal:6379/0",
        ),
    ] = "redis://localhost:6379/0"
    key_prefix: Annotated[
        str,
        text(
            r"(?s)^([^{}]+|[^{]*\{[^}]+\}.*)\Z",
            "a text whose braces, if it has any, make a hash tag, as in {shop}:",
        ),
        about("Put before the session id to form the Redis key.", "shop:session:"),
    ] = "pyfly:session:"
    username: Annotated[
        str | None, about("User name, instead of the one in `redis.url`.", "sessions")
    ] = None
    password: Annotated[
        Secret | None, about("Password, instead of the one in `redis.url`.", "${REDIS_PASSWORD}")
    ] = None
    connect_timeout: Annotated[Timeout, about("How long to wait for a new connection.", 0.5)] = 2.0
    timeout: Annotated[Timeout, about("How long to wait for an answer.", 0.5)] = 2.0
    max_connections: Annotated[
        int, Meta(ge=1, le=65535), about("Upper bound of the connection pool.", 10)
    ] = 50
    pool_timeout: Annotated[
        Timeout, about("How long to wait for a free connection of the pool.", 0.5)
    ] = 2.0
    retries: Annotated[
        int,
        Meta(ge=0, le=100),
        about("How often a command is tried again after a connection error.", 3),
    ] = 1
    keepalive: Annotated[
        int,
        Meta(ge=0, le=32767, extra=_SECONDS),
        about(
            "After so long without traffic the network is asked whether a connection still is"
            " one, so that it neither forgets it nor has a request find out; 0 leaves it to the"
            " operating system.",
            60,
        ),
    ] = 30
    health_check_interval: Annotated[
        int,
        Meta(ge=0, le=86400, extra=_SECONDS),
        about(
            "A connection that was not used for so long is tried with `PING` before it is used;"
            " 0 never does that.",
            10,
        ),
    ] = 30
    pipelining: Annotated[
        bool,
        about("Send the commands of requests that run at the same time together.", False),
    ] = True
    deadline: Annotated[
        Timeout,
        about(
            "How long one store operation may take in all, with waiting for a connection and"
            " retries; after that the request is answered 503.",
            1.5,
        ),
    ] = 5.0
    circuit_failures: Annotated[
        int,
        Meta(ge=0, le=1000),
        about(
            "After so many failures in a row to reach the server, calls fail at once for"
            " `redis.circuit-pause`; 0 switches that off.",
            10,
        ),
    ] = 5
    circuit_pause: Annotated[
        Timeout, about("How long calls fail at once before the server is tried again.", 0.5)
    ] = 1.0
    cluster: ClusterProperties = ClusterProperties()
    sentinel: SentinelProperties = SentinelProperties()
