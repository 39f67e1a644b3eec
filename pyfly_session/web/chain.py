"""`WebFilterChainMiddleware`: one pure ASGI middleware that runs sorted web filters.

The filters are put around the application once, each as ASGI middleware. Nothing is buffered and
no task is started: by the time `call_next` returns to a filter, the response has been sent.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from pyfly_session.web.filters import CHAIN, RAN, CallNext, HeadHook, HeadHooks, WebFilter

_logger = logging.getLogger(__name__)
HEADS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
"""The types of messages that begin a response."""

_SENT = (
    "the response's head has been sent; to change it, register a hook with"
    " pyfly_session.web.before_head before call_next"
)

FilterSource = Sequence[WebFilter] | Callable[[], Sequence[WebFilter]]
Lifecycle = Callable[[], Awaitable[None]]


class WebFilterChainMiddleware:
    """Runs web filters around an ASGI application, for ``http`` and ``websocket``.

    Args:
        app: The application.
        filters: The filters in any order, or a function that returns them, asked once a
            request: what it returns may change from one request to the next.
        on_shutdown: Awaited when the application's lifespan ends.
    """

    def __init__(
        self, app: ASGIApp, filters: FilterSource = (), *, on_shutdown: Sequence[Lifecycle] = ()
    ) -> None:
        self.app = app
        self._source = filters if callable(filters) else None
        self._take(() if callable(filters) else tuple(filters))
        self._on_shutdown = tuple(on_shutdown)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, or pass the application's lifespan through."""
        kind = scope["type"]
        if kind == "lifespan":
            await self.app(scope, receive, partial(self._lifespan_send, send))
            return
        if self._source is not None:
            # A copy: the function may return the same list, grown.
            given = tuple(self._source())
            if given is not self._given and given != self._given:
                self._take(given)
        if kind in ("http", "websocket"):
            await self._stack(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _take(self, filters: Sequence[WebFilter]) -> None:
        """Put the filters around the application, in their order."""
        stack = self.app
        in_order = sorted(filters, key=lambda each: getattr(each, "__pyfly_order__", 0))
        for each in reversed(in_order):
            around = getattr(each, "around", None)
            stack = RequestFilter(each, stack) if around is None else around(stack)
        # FastAPI(root_path=...) says that only when it is called, which is too late for filters.
        root = getattr(self.app, "root_path", "") if hasattr(self.app, "openapi_url") else ""
        self._stack = partial(_below, root, stack) if root else stack
        # Last, for another thread may ask meanwhile.
        self._given = filters

    async def _lifespan_send(self, send: Send, message: Message) -> None:
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            for close in self._on_shutdown:
                try:
                    await close()
                except Exception as error:
                    _logger.exception("something could not be closed at shutdown")
                    message = {"type": "lifespan.shutdown.failed", "message": repr(error)}
        await send(message)


class RequestFilter:
    """ASGI middleware that calls a filter with a request, once for each.

    Args:
        web_filter: The filter.
        app: What is inside of it.
    """

    def __init__(self, web_filter: WebFilter, app: ASGIApp) -> None:
        self._filter = web_filter
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the filter handle the request, unless it has or does not apply."""
        ran = scope.get(RAN, ())
        run = FilterRun(self._filter, self._app, scope, receive, send)
        kind = Request if scope["type"] == "http" else WebSocket
        request = kind(scope, receive, run.send)
        if self._filter in ran or self._filter.should_not_filter(request):
            await self._app(scope, receive, send)
            return
        outer = scope.get(CHAIN)
        scope[RAN], scope[CHAIN] = (*ran, self._filter), run
        try:
            response = await self._filter.do_filter(request, run.proceed)
            if response is not run:
                await run.send_own(response, self._filter)
        finally:
            # The scope holds this object, and this object holds it.
            run.close(outer)
            scope[RAN] = ran
            if outer is None:
                del scope[CHAIN]
            else:
                scope[CHAIN] = outer


class SentHeaders(Headers):
    """Headers of a response that has been sent: what would change them says what to do."""

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError(_SENT)

    __setitem__ = __delitem__ = __ior__ = _refuse
    append = setdefault = update = add_vary_header = pop = clear = _refuse


class FilterRun:
    """One request in one filter; as what ``call_next`` returns, the head of a sent response.

    Attributes:
        web_filter: The filter.
        status_code: The HTTP status, 101 for an accepted WebSocket, None if nothing was sent.
    """

    __slots__ = ("_app", "_closed", "_head", "_hooks", "_receive", "_scope", "_send",
                 "status_code", "web_filter")  # fmt: skip

    def __init__(
        self, web_filter: WebFilter, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.web_filter = web_filter
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._hooks: tuple[HeadHook, ...] = ()
        self._head: Message | None = None
        self._closed = False
        self.status_code: int | None = None

    @property
    def headers(self) -> SentHeaders:
        """The headers that were sent; to set one is refused."""
        return SentHeaders(raw=list(self._head["headers"]) if self._head else [])

    def set_cookie(self, *args: object, **kwargs: object) -> NoReturn:
        """Refuse: the head has left."""
        raise RuntimeError(_SENT)

    delete_cookie = set_cookie

    async def proceed(self, request: Any) -> FilterRun:
        """Run what is inside of the filter."""
        receive = request.receive if request.scope["type"] == "http" else self._receive
        if getattr(request, "_stream_consumed", False):
            receive = _again(request)
        await self._app(request.scope, receive, self.send)
        return self

    async def proceed_through(
        self, middleware: Callable[..., Awaitable[None]], request: Any, call_next: CallNext
    ) -> FilterRun:
        """Run what is inside of the filter with ASGI middleware of the filter's own around it."""

        async def inside(scope: Scope, receive: Receive, send: Send) -> None:
            self._receive, self._send = receive, send
            await call_next(request)

        await middleware(inside, request.scope, self._receive, self._send)
        return self

    def before_head(self, hook: HeadHook) -> None:
        """Have the hook called with the head of the response."""
        self._hooks = (*self._hooks, hook)

    async def send(self, message: Message) -> None:
        """Pass a message on; a head goes through the hooks first."""
        if message["type"] in HEADS:
            message = {**message, "headers": list(message.get("headers") or ())}
            # A hook may register no other; those registered last run first.
            for hook in reversed(self._hooks):
                await hook(message)
            await self._send(message)
            self._head = message
            self.status_code = message.get("status", 101)
            return
        if message["type"] == "websocket.close":
            self._closed = True
        await self._send(message)

    @property
    def head_sent(self) -> bool:
        """True if a head has been sent."""
        return self.status_code is not None

    async def send_own(self, response: Any, web_filter: WebFilter) -> None:
        """Send what a filter answered by itself."""
        if not callable(response):
            raise TypeError(
                f"{type(web_filter).__name__}.do_filter returned {response!r}; return what"
                " call_next returned, or a response of your own"
            )
        if self.status_code is not None:
            raise RuntimeError(
                f"{type(web_filter).__name__}.do_filter returned a response of its own, but"
                " another has been sent; answer instead of awaiting call_next, or register a"
                " hook with pyfly_session.web.before_head"
            )
        if not self._closed:
            await response(self._scope, self._receive, self.send)

    def close(self, outer: HeadHooks | None) -> None:
        """Let go of what the request may hold.

        Args:
            outer: Calls the hooks if no head has been sent: of a response from further outside.
        """
        if outer is not None and not outer.head_sent:
            for hook in self._hooks:
                outer.before_head(hook)
        self._hooks = ()


SentResponse = FilterRun
"""What ``call_next`` returns in this chain: the head of a response that has been sent."""


async def _below(root: str, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run an application that says itself which path it is below."""
    scope["root_path"] = root
    await app(scope, receive, send)


def _again(request: Any) -> Receive:
    """Return the request's receive, with what a filter has read of the body once more."""
    receive: Receive = request.receive
    # Read as a stream and not kept; without an end the application would wait for ever.
    body: bytes = getattr(request, "_body", b"")
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
