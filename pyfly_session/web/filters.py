"""Web filters: their order, the once-per-request base class, and hooks on the response head."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from fnmatch import translate
from functools import lru_cache
from typing import Any, Protocol

from starlette.types import Message

from pyfly_session.web.paths import route_path

HIGHEST_PRECEDENCE = -(2**31)
"""The smallest order: such a filter is the outermost. Spring's ``Ordered.HIGHEST_PRECEDENCE``."""

CallNext = Callable[[Any], Awaitable[Any]]
"""Runs the rest of the chain for a request and returns its response."""

HeadHook = Callable[[Message], Awaitable[None]]
"""Sees the head of a response, and may change it, just before it leaves."""

CHAIN = "pyfly_session.chain"
"""Where the scope of a request keeps what calls hooks on the head of its response."""

RAN = "pyfly_session.ran"
"""Where it keeps the filters that have run, so that none runs twice."""


class WebFilter(Protocol):
    """What `pyfly_session.web.WebFilterChainMiddleware` runs.

    The order is the class attribute ``__pyfly_order__``, 0 if there is none: the filter with
    the smallest order is the outermost. A filter with a method ``around(app)``, which returns an
    ASGI application, is called as ASGI middleware instead.
    """

    def should_not_filter(self, request: Any) -> bool:
        """Return whether this request passes the filter by."""
        ...

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        """Handle the request, usually around ``await call_next(request)``; return the response."""
        ...


class OncePerRequestFilter:
    """Base of filters that apply by path. A chain runs each at most once for a request.

    Attributes:
        url_patterns: Glob patterns of the paths the filter applies to; empty means all. They
            are compared with what the application's routes see, wherever it is mounted.
        exclude_patterns: Glob patterns of paths it leaves alone; they win over the others.
            ``*`` matches slashes too: ``/static/*`` covers everything below.
    """

    __pyfly_order__: int = 0

    url_patterns: Iterable[str] = ()
    exclude_patterns: Iterable[str] = ()

    def should_not_filter(self, request: Any) -> bool:
        """Return whether the patterns leave this request's path alone."""
        if not (self.url_patterns or self.exclude_patterns):
            return False
        # Never that of the URL, which is put together from the client's Host header, too.
        scope = getattr(request, "scope", None)
        return self.leaves_alone(route_path(scope) if isinstance(scope, dict) else request.url.path)

    def leaves_alone(self, path: str) -> bool:
        """Return whether the patterns leave a path alone."""
        # Routes match a path with a line end behind it, too, and a Mount then hands on one slash
        # less. No honest path has one, so that none gets past a guard.
        if "\n" in path:
            return False
        if self.url_patterns and not matches(path, self.url_patterns):
            return True
        return bool(self.exclude_patterns) and matches(path, self.exclude_patterns)

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        """Handle the request; a subclass says how."""
        raise NotImplementedError(f"{type(self).__name__} must define do_filter")


class HeadHooks(Protocol):
    """Calls hooks on the head of one request's response."""

    @property
    def head_sent(self) -> bool:
        """True if the head has left."""
        ...

    def before_head(self, hook: HeadHook) -> None:
        """Have the hook called with the head of the response, just before it leaves.

        The message is ``http.response.start`` or ``websocket.accept``; its ``headers`` are a
        list that the hook may append to. Hooks of inner filters run first. A hook that raises
        stops the head.
        """
        ...


def before_head(request: Any, hook: HeadHook) -> bool:
    """Register a hook on the head of the response; see `HeadHooks.before_head`.

    Returns:
        False if the request does not come through our chain, and no hook can be called.
    """
    scope = getattr(request, "scope", None)
    hooks: HeadHooks | None = scope.get(CHAIN) if isinstance(scope, dict) else None
    if hooks is None:
        return False
    hooks.before_head(hook)
    return True


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Return whether a path matches any of the glob patterns."""
    patterns = (patterns,) if isinstance(patterns, str) else patterns
    return any(_compiled(pattern).match(path) for pattern in patterns)


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
