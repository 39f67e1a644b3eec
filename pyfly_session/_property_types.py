"""The kinds of values that properties have, with their constraints and words for them."""

from typing import Annotated, Literal

from msgspec import Meta

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
HeaderName = Annotated[
    str,
    Meta(
        pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z",
        extra={"allowed": "a header name: letters, digits and any of !#$%&'*+-.^_`|~"},
    ),
]
Resolvers = Annotated[
    tuple[Literal["cookie", "header"], ...],
    Meta(min_length=1, extra={"allowed": "cookie, header, or a list of both"}),
]
Origins = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^(\*|[A-Za-z][A-Za-z0-9+.-]*://[^/\s,*]+)\Z")], ...],
    Meta(extra={"allowed": "a list of origins, each as https://host or https://host:port, or *"}),
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
NodeAddresses = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^[^\s/@,]+:[0-9]{1,5}\Z")], ...],
    Meta(extra={"allowed": "a list of addresses, each as host:port"}),
]
Secret = Annotated[str, Meta(min_length=1, extra={"secret": True})]


def about(description: str, example: object) -> Meta:
    """Describe a property: its effect, and one allowed value other than the default."""
    return Meta(description=description, examples=[example])
