"""Web filters: their order, the once-per-request base class, and hooks on the response head."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from fnmatch import translate
from functools import lru_cache
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Send

HIGHEST_PRECEDENCE = -(2**31)
"""The smallest order: such a filter is the outermost. Spring's ``Ordered.HIGHEST_PRECEDENCE``."""

CallNext = Callable[[Any], Awaitable[Any]]
"""Runs the rest of the chain for a request and returns its response."""

HeadHook = Callable[[Message], Awaitable[None]]
"""Sees the head of a response, and may change it, just before it leaves."""

Wrapper = Callable[[Receive, Send], tuple[Receive, Send]]
"""Returns what an application receives from and sends to, instead of these."""

CHAIN = "pyfly_session.chain"
"""Where the scope of a request keeps its `ChainPassage`."""


class WebFilter(Protocol):
    """What `pyfly_session.web.WebFilterChainMiddleware` runs.

    The order is the class attribute ``__pyfly_order__``, 0 if there is none: the filter with
    the smallest order is the outermost.
    """

    def should_not_filter(self, request: Any) -> bool:
        """Tell whether this request passes the filter by."""
        ...

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        """Handle the request, usually around ``await call_next(request)``; return the response."""
        ...


class OncePerRequestFilter:
    """Base of filters that apply by path. A chain runs each at most once for a request.

    Attributes:
        url_patterns: Glob patterns of the paths the filter applies to; empty means all.
        exclude_patterns: Glob patterns of paths it leaves alone; they win over the others.
            ``*`` matches slashes too: ``/static/*`` covers everything below.
        pass_on: A second form of the filter, for HTTP only: ASGI middleware that is called with
            the rest of the chain first, ``await pass_on(app, scope, receive, send)``. It does all
            that a chain does for a filter. A class that defines it defines it together with
            ``do_filter``, and it counts as long as nobody says otherwise what the filter does.
    """

    __pyfly_order__: int = 0

    url_patterns: Iterable[str] = ()
    exclude_patterns: Iterable[str] = ()
    pass_on: Callable[..., Awaitable[None]] | None = None
    _told_by_pass_on: tuple[object, object] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "pass_on" in vars(cls):
            cls._told_by_pass_on = (cls.do_filter, cls.should_not_filter)

    def should_not_filter(self, request: Any) -> bool:
        """Tell whether the patterns leave this request's path alone."""
        if not (self.url_patterns or self.exclude_patterns):
            return False
        # As routes see it: the URL is put together from the client's Host header, too.
        scope = getattr(request, "scope", None)
        return self.leaves_alone(scope["path"] if isinstance(scope, dict) else request.url.path)

    def leaves_alone(self, path: str) -> bool:
        """Tell whether the patterns leave a path alone."""
        if self.url_patterns and not _matches(path, self.url_patterns):
            return True
        return bool(self.exclude_patterns) and _matches(path, self.exclude_patterns)

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        """Handle the request; a subclass says how."""
        raise NotImplementedError(f"{type(self).__name__} must define do_filter")


def stands_alone(web_filter: WebFilter) -> bool:
    """Tell whether a filter's ``pass_on`` does what the filter does.

    Not if a subclass, a mixin, or a patch of the class or the instance changed that.
    """
    kind: Any = type(web_filter)
    told = getattr(kind, "_told_by_pass_on", None)
    patched = {"do_filter", "should_not_filter"} & getattr(web_filter, "__dict__", {}).keys()
    return told is not None and not patched and told == (kind.do_filter, kind.should_not_filter)


class ChainPassage(Protocol):
    """What our chain offers to the filters that one request passes."""

    is_http: bool

    def before_head(self, hook: HeadHook) -> None:
        """Have the hook called with the head of the response, just before it leaves.

        The message is ``http.response.start`` or ``websocket.accept``; its ``headers`` are a
        list that the hook may append to. Hooks of inner filters run first. A hook that raises
        stops the head.
        """
        ...

    def wrap(self, wrapper: Wrapper) -> None:
        """Put something between the server and the application, for every message."""
        ...

    async def respond(self, response: ASGIApp) -> None:
        """Send a response at once, through the hooks."""
        ...

    def has_run(self, web_filter: WebFilter) -> bool:
        """Tell whether the filter has run for this request, in this chain or an outer one."""
        ...

    def take_over(self, hooks: Iterable[HeadHook], inside: WebFilter) -> None:
        """Take the hooks of what ran inside of a filter, and is over, if no head has left."""
        ...


def chain_of(request: Any) -> ChainPassage | None:
    """Return our chain's side of a request, or None if the request comes through another."""
    scope = getattr(request, "scope", None)
    return scope.get(CHAIN) if isinstance(scope, dict) else None


def before_head(request: Any, hook: HeadHook) -> bool:
    """Register a hook on the head of the response; see `ChainPassage.before_head`.

    Returns:
        False if the request does not come through our chain, and no hook can be called.
    """
    chain = chain_of(request)
    if chain is None:
        return False
    chain.before_head(hook)
    return True


def _matches(path: str, patterns: Iterable[str]) -> bool:
    patterns = (patterns,) if isinstance(patterns, str) else patterns
    return any(_compiled(pattern).match(path) for pattern in patterns)


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
