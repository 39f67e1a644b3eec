"""The properties under ``pyfly.session``: typed, validated, frozen.

A new property is one annotated line in one of the structs below; binding, error
messages, environment variables and the reference table follow from it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from pyfly_session._binding import bind, origin_of
from pyfly_session._fields import Properties, allowed, leaves, type_name
from pyfly_session._masking import mask_url, show
from pyfly_session._property_checks import conflicts
from pyfly_session.errors import ConfigurationError

__all__ = [
    "SessionProperties",
    "CookieProperties",
    "RedisProperties",
    "MemoryProperties",
    "bind_properties",
    "PropertyDescription",
    "describe_properties",
    "mask_url",
    "PREFIX",
]

PREFIX = "pyfly.session"

# Python's clock, Redis and browsers all count this many seconds (68 years) without overflow.
_LONGEST_LIFE = 2**31 - 1
_SECONDS = {"unit": "second"}

Lifetime = Annotated[int, Meta(ge=1, le=_LONGEST_LIFE, extra=_SECONDS)]
Timeout = Annotated[float, Meta(gt=0, le=3600, extra=_SECONDS)]

CookieName = Annotated[
    str,
    Meta(
        pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z",
        extra={"allowed": "a cookie name: letters, digits and any of !#$%&'*+-.^_`|~"},
    ),
]
CookiePath = Annotated[
    str,
    Meta(
        pattern=r"^/[^;\x00-\x1f\x7f]*\Z",
        extra={"allowed": "a path that starts with / and holds no semicolon"},
    ),
]
CookieDomain = Annotated[
    str,
    Meta(
        pattern=r"^\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z",
        extra={"allowed": "a domain name without scheme, port and path"},
    ),
]
PathPatterns = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^[/*]")], ...],
    Meta(extra={"allowed": "a list of path patterns, each starting with / or *"}),
]
RedisUrl = Annotated[
    str,
    Meta(
        pattern=r"^(redis|rediss|unix)://[^\s\x00-\x1f\x7f]+\Z",
        extra={
            "allowed": "a URL that starts with redis://, rediss:// or unix://",
            "secret": "url",
        },
    ),
]


def _about(description: str, example: object) -> Meta:
    return Meta(description=description, examples=[example])


class CookieProperties(Properties, frozen=True, kw_only=True):
    """Attributes of the session cookie."""

    secure: Annotated[
        bool, _about("Send the cookie over HTTPS only; set it in production.", True)
    ] = False
    path: Annotated[CookiePath, _about("Path below which browsers send the cookie.", "/shop")] = "/"
    domain: Annotated[
        CookieDomain | None,
        _about(
            "Domain that shares the cookie with its subdomains;"
            " without it only the host itself receives the cookie.",
            "example.org",
        ),
    ] = None
    same_site: Annotated[
        Literal["lax", "strict", "none"],
        _about(
            "Whether requests from other sites carry the cookie; `none` needs `cookie.secure`.",
            "strict",
        ),
    ] = "lax"
    partitioned: Annotated[
        bool, _about("Keep one cookie per embedding site (CHIPS); needs `cookie.secure`.", True)
    ] = False


class RedisProperties(Properties, frozen=True, kw_only=True):
    """Connection and keys of the Redis store."""

    url: Annotated[
        RedisUrl,
        _about(
            "Connection URL, used when `store` is `redis`;"
            " special characters in the password are percent-encoded.",
            "rediss://user:p%40ss@redis.internal:6379/0",
        ),
    ] = "redis://localhost:6379/0"
    key_prefix: Annotated[
        str,
        Meta(min_length=1),
        _about("Put before the session id to form the Redis key.", "shop:session:"),
    ] = "pyfly:session:"
    connect_timeout: Annotated[Timeout, _about("How long to wait for a new connection.", 0.5)] = 2.0
    timeout: Annotated[Timeout, _about("How long to wait for an answer.", 0.5)] = 2.0
    max_connections: Annotated[
        int, Meta(ge=1, le=65535), _about("Upper bound of the connection pool.", 10)
    ] = 50
    pool_timeout: Annotated[
        Timeout, _about("How long to wait for a free connection of the pool.", 0.5)
    ] = 2.0
    retries: Annotated[
        int,
        Meta(ge=0, le=100),
        _about("How often a command is tried again after a connection error.", 3),
    ] = 1


class MemoryProperties(Properties, frozen=True, kw_only=True):
    """Bounds of the in-memory store."""

    max_sessions: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        _about(
            'Upper bound of the sessions held at once; an empty text (`""`) means no bound.', 10000
        ),
    ] = 100_000


class SessionProperties(Properties, frozen=True, kw_only=True):
    """Everything under ``pyfly.session``.

    `bind_properties` makes and checks it; the constructor takes values as they are.
    Immutable, so that tasks and threads may share it.
    """

    enabled: Annotated[bool | None, _about("Must be true to activate session support.", True)] = (
        None
    )
    store: Annotated[
        str,
        Meta(extra={"allowed": "memory or redis, in any case"}),
        _about(
            "Store backend; any other name means `memory` with a warning,"
            " or an error with `fail-fast`.",
            "redis",
        ),
    ] = "memory"
    fail_fast: Annotated[
        bool,
        _about(
            "Refuse to start, instead of falling back to the memory store,"
            " when `store` is unknown or its package is missing.",
            True,
        ),
    ] = False
    cookie_name: Annotated[
        CookieName,
        _about(
            "Name of the session cookie; the prefixes `__Host-` and `__Secure-`"
            " bring rules of their own, which are checked at start.",
            "__Host-session",
        ),
    ] = "PYFLY_SESSION"
    ttl: Annotated[
        Lifetime,
        _about("Idle lifetime: a session ends when no request used it for so long.", 3600),
    ] = 1800
    max_lifetime: Annotated[
        Lifetime | None,
        _about("Absolute lifetime: a session ends so long after its creation, used or not.", 43200),
    ] = None
    creation: Annotated[
        Literal["always", "if-required", "never"],
        _about(
            "When a request without a session gets one: every time,"
            " only if it stores something, or never.",
            "if-required",
        ),
    ] = "always"
    exclude_patterns: Annotated[
        PathPatterns,
        _about(
            "Glob patterns of paths that the session filter leaves alone.",
            ["/health", "/static/*"],
        ),
    ] = ()
    cookie: CookieProperties = CookieProperties()
    redis: RedisProperties = RedisProperties()
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
        return variable_name(self.key)


def variable_name(key: str) -> str:
    """Return the environment variable of a dotted key."""
    return re.sub(r"[.-]", "_", key).upper()


def describe_properties() -> list[PropertyDescription]:
    """List every property below ``pyfly.session`` in the order of declaration."""
    return [
        PropertyDescription(
            key=key,
            type=type_name(field),
            default=field.default,
            description=field.facts["description"],
            allowed=allowed(field),
            example=field.facts["examples"][0],
        )
        for key, field in leaves(SessionProperties, PREFIX)
    ]


_KNOWN = tuple(key for key, _ in leaves(SessionProperties, PREFIX))


def bind_properties(
    tree: Mapping[str, Any], origins: Mapping[str, str] | None = None
) -> SessionProperties:
    """Bind and validate the properties of a whole configuration tree.

    Texts are converted as environment variables deliver them: ``"1800"``, ``"yes"``,
    ``"/health,/static/*"``. A null stands for the default, an empty text for the absence
    of an optional value.

    Args:
        tree: The whole configuration; a missing ``pyfly: session:`` gives the defaults.
        origins: File or variable of each dotted key, for messages. Without it the tree's
            own ``origins`` are used if it has them, as the result of ``load_config`` does.

    Raises:
        ConfigurationError: A key is unknown, a value is not allowed, or two values
            exclude each other. Credentials in it are masked.
    """
    if origins is None:
        origins = getattr(tree, "origins", None) or {}
    root, _, name = PREFIX.partition(".")
    above = tree.get(root)
    if above is not None and not isinstance(above, Mapping):
        raise ConfigurationError(
            f"{root} must be a section with keys below it, got {show(above)}",
            key=root,
            origin=origin_of(origins, root),
        )
    values = above.get(name) if above else None
    properties = bind(SessionProperties, values, PREFIX, origins, _KNOWN)
    for key, value, problem in conflicts(properties, PREFIX):
        key = f"{PREFIX}.{key}"
        raise ConfigurationError(
            f"{key} {problem}", key=key, value=value, origin=origin_of(origins, key)
        )
    return properties
