"""The properties under ``pyfly.session``: typed, validated, frozen.

A new property is one annotated line in one of the structs here or in `sections`; binding,
error messages, environment variables and the reference table follow from it.

Source of what no type expresses: draft-ietf-httpbis-rfc6265bis, sections 4.1.3 (prefixes) and
5.7 (SameSite=None).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from pyfly_session.config.binding import Properties, allowed, bind, leaves, type_name
from pyfly_session.config.masking import mask_url, show
from pyfly_session.config.mistakes import Mistakes
from pyfly_session.config.sections import (
    ConcurrencyProperties,
    CookieName,
    CookieProperties,
    EncryptionProperties,
    HeaderProperties,
    Lifetime,
    MemoryProperties,
    ObservabilityProperties,
    PathPatterns,
    RedisProperties,
    Resolvers,
    SqlProperties,
    WebSocketProperties,
    about,
    in_words,
)

PREFIX = "pyfly.session"


class SessionProperties(Properties, frozen=True, kw_only=True):
    """Everything under ``pyfly.session``.

    `bind_properties` makes and checks it; the constructor takes values as they are.
    Immutable, so that tasks and threads may share it.
    """

    enabled: Annotated[bool | None, about("Must be true to activate session support.", True)] = None
    store: Annotated[
        str,
        in_words("memory, redis or sql, in any case"),
        about(
            "Store backend; any other name means `memory` with a warning,"
            " or an error with `fail-fast`.",
            "redis",
        ),
    ] = "memory"
    fail_fast: Annotated[
        bool,
        about(
            "Refuse to start, instead of falling back to the memory store,"
            " when `store` is unknown or its package is missing.",
            True,
        ),
    ] = False
    cookie_name: Annotated[
        CookieName,
        about(
            "Name of the session cookie; the prefixes `__Host-` and `__Secure-`"
            " bring rules of their own, which are checked at start.",
            "__Host-session",
        ),
    ] = "PYFLY_SESSION"
    resolver: Annotated[
        Resolvers,
        about(
            "How clients tell their session id, and are told it: by a cookie, by a header, or by"
            " whichever they use; who uses none gets it the first way.",
            ["cookie", "header"],
        ),
    ] = ("cookie",)
    ttl: Annotated[
        Lifetime,
        about("Idle lifetime: a session ends when no request used it for so long.", 3600),
    ] = 1800
    max_lifetime: Annotated[
        Lifetime | None,
        about("Absolute lifetime: a session ends so long after its creation, used or not.", 43200),
    ] = None
    anonymous_ttl: Annotated[
        Lifetime | None,
        about("Idle lifetime of visitors who are nobody, until they log in.", 600),
    ] = None
    creation: Annotated[
        Literal["always", "if-required", "never"],
        about(
            "When a request without a session gets one: every time,"
            " only if it stores something, or never.",
            "if-required",
        ),
    ] = "always"
    exclude_patterns: Annotated[
        PathPatterns,
        about(
            "Glob patterns of paths that the session filter leaves alone.",
            ["/health", "/static/*"],
        ),
    ] = ()
    passive_patterns: Annotated[
        PathPatterns,
        about(
            "Glob patterns of paths whose requests do not keep a session alive.",
            ["/poll", "/api/presence/*"],
        ),
    ] = ()
    on_store_error: Annotated[
        Literal["fail", "anonymous"],
        about(
            "What a request gets whose session cannot be loaded: 503, or a session that is"
            " empty and not saved.",
            "anonymous",
        ),
    ] = "fail"
    max_size: Annotated[
        Annotated[int, Meta(ge=256, le=512 * 1024**2, extra={"unit": "byte"})] | None,
        about("Largest size of an encoded session; an empty text means no limit.", 65536),
    ] = 1024**2
    hash_ids: Annotated[
        bool,
        about(
            "Keep only a hash of each session id in the store, so that whoever reads the store"
            " cannot use what is there as a cookie.",
            True,
        ),
    ] = False
    keep_client: Annotated[
        bool,
        about(
            "Keep in the session from which address and with which browser its user logged in,"
            " for operators to see; personal data, so tell your users.",
            True,
        ),
    ] = False
    cookie: CookieProperties = CookieProperties()
    header: HeaderProperties = HeaderProperties()
    websocket: WebSocketProperties = WebSocketProperties()
    concurrency: ConcurrencyProperties = ConcurrencyProperties()
    encryption: EncryptionProperties = EncryptionProperties()
    observability: ObservabilityProperties = ObservabilityProperties()
    redis: RedisProperties = RedisProperties()
    sql: SqlProperties = SqlProperties()
    memory: MemoryProperties = MemoryProperties()

    @property
    def store_kind(self) -> str:
        """``store`` as it is compared: without surrounding blanks, in lower case."""
        return self.store.strip().lower()


@dataclass(frozen=True, slots=True)
class PropertyDescription:
    """What a reference page or a command line says about one property.

    Attributes:
        key: Full dotted name.
        type: boolean, integer, number, text or list.
        default: The default as a Python value; None where there is none.
        description: Its effect, one sentence in Markdown.
        allowed: Allowed values, bounds and unit.
        example: One allowed value other than the default.
    """

    key: str
    type: str
    default: object
    description: str
    allowed: str
    example: object

    @property
    def environment_variable(self) -> str:
        """The variable that sets the property, for example ``PYFLY_SESSION_COOKIE_NAME``."""
        return variable_of(self.key)


def variable_of(*names: str) -> str:
    """Return the environment variable of a dotted key, or of the names that lead to it."""
    return re.sub(r"[^A-Z0-9<>]", "_", "_".join(names).upper())


def describe_properties() -> list[PropertyDescription]:
    """List every property below ``pyfly.session`` in the order of declaration."""
    return describe(SessionProperties, PREFIX)


def describe(section: type[Properties], prefix: str) -> list[PropertyDescription]:
    """List every property of a section, and of those below it."""
    return [
        PropertyDescription(
            key=key,
            type=type_name(field),
            default=field.default,
            description=field.facts["description"],
            allowed=allowed(field),
            example=field.facts["examples"][0],
        )
        for key, field in leaves(section, prefix)
    ]


_KNOWN = tuple(key for key, _ in leaves(SessionProperties, PREFIX))


def bind_properties(
    tree: Mapping[str, Any] | None,
    origins: Mapping[str, str] | None = None,
    mistakes: Mistakes | None = None,
) -> SessionProperties:
    """Bind and validate the properties of a whole configuration tree.

    Texts are converted as environment variables deliver them: ``"1800"``, ``"yes"``,
    ``"/health,/static/*"``. A null stands for the default, an empty text for the absence
    of an optional value.

    Args:
        tree: The whole configuration; None or a missing ``pyfly: session:``
            gives the defaults.
        origins: File or variable of each dotted key, for messages. Without it the tree's
            own ``origins`` are used if it has them, as the result of ``load_config`` does.
        mistakes: Gets what is wrong, instead of having it raised.

    Raises:
        ConfigurationError: A key is unknown, a value is not allowed, or two values
            exclude each other. Credentials in it are masked.
    """
    if origins is None:
        origins = getattr(tree, "origins", None) or {}
    found = Mistakes(origins) if mistakes is None else mistakes
    root, _, name = PREFIX.partition(".")
    above = tree.get(root) if tree else None
    if above is not None and not isinstance(above, Mapping):
        found.add(root, f"must be a section with keys below it, got {show(above)}")
        above = None
    values = above.get(name) if above else None
    properties = bind(SessionProperties, values, PREFIX, _KNOWN, found)
    if not found.any_below(PREFIX):
        for key, value, problem in conflicts(properties, PREFIX):
            found.add(f"{PREFIX}.{key}", problem, value)
    if mistakes is None:
        found.raise_all()
    return properties


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
    limit = properties.concurrency.max_sessions
    if limit == 0:
        yield "concurrency.max-sessions", 0, "must be at least 1, or -1 for no limit, got 0"
    if limit > 0 and not properties.concurrency.enabled:
        problem = f"{limit} needs {prefix}.concurrency.enabled: true, else nothing is limited"
        yield "concurrency.max-sessions", limit, problem
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
