"""`WebFilterChainMiddleware`: one pure ASGI middleware that runs sorted web filters.

Nothing is buffered and no task is started. ``send`` is wrapped, so that hooks see the head of
the response just before it leaves; by the time `call_next` returns to a filter, the response
has been sent. The outermost filter is called as ASGI middleware if it can be; what is made for
all others is made only if there are others.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, NoReturn

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from pyfly_session.web.filters import (
    CHAIN,
    ChainPassage,
    HeadHook,
    WebFilter,
    Wrapper,
    stands_alone,
)

_logger = logging.getLogger(__name__)
_HEADS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})

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
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _take(self, filters: Sequence[WebFilter]) -> None:
        """Put the filters around the application, in their order."""
        in_order = sorted(filters, key=lambda each: getattr(each, "__pyfly_order__", 0))
        self._websocket = _passage(self.app, in_order)
        if in_order and stands_alone(in_order[0]):
            first: Any = in_order[0]
            self._http: ASGIApp = partial(
                first.pass_on, _passage(self.app, in_order[1:], inside=first)
            )
        else:
            self._http = self._websocket
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


class SentResponse:
    """What `call_next` returns in this chain: the head of a response that has been sent.

    Attributes:
        status_code: The HTTP status, 101 for an accepted WebSocket, None if nothing was sent.
    """

    __slots__ = ("_head", "status_code")

    def __init__(self) -> None:
        self._head: Message | None = None
        self.status_code: int | None = None

    @property
    def headers(self) -> Headers:
        """The headers that were sent, read-only."""
        return Headers(raw=list(self._head["headers"]) if self._head else [])

    def set_cookie(self, *args: object, **kwargs: object) -> NoReturn:
        """Refuse: the head has left."""
        raise RuntimeError(
            "the response's head has been sent; to change it, register a hook with"
            " pyfly_session.web.before_head before call_next"
        )

    delete_cookie = set_cookie


class _Passage(SentResponse):
    """The way of one request through the filters to the application, and what comes of it."""

    __slots__ = (
        "_app",
        "_closed",
        "_filters",
        "_hooks",
        "_outer",
        "_ran",
        "_receive",
        "_scope",
        "_send",
        "is_http",
    )

    def __init__(
        self,
        app: ASGIApp,
        filters: Sequence[WebFilter],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._head = None
        self.status_code = None
        self._app = app
        self._filters = filters
        self._scope = scope
        self._receive = receive
        self._send = send
        self._hooks: list[HeadHook] = []
        self._ran: list[WebFilter] = []
        self._closed = False
        self.is_http = scope["type"] == "http"
        self._outer: ChainPassage | None = scope.get(CHAIN)
        scope[CHAIN] = self

    async def proceed(self, position: int, request: Any) -> Any:
        """Run the filters from this position on, then the application."""
        for index in range(position, len(self._filters)):
            web_filter = self._filters[index]
            if (self._ran or self._outer) and self.has_run(web_filter):
                continue
            if web_filter.should_not_filter(request):
                continue
            self._ran.append(web_filter)
            response = await web_filter.do_filter(request, partial(self.proceed, index + 1))
            if response is not self:
                await self._send_own(response, web_filter)
            return self
        receive = request.receive if self.is_http else self._receive
        if getattr(request, "_stream_consumed", False):
            receive = _again(request)
        await self._app(request.scope, receive, self.send)
        return self

    def has_run(self, web_filter: WebFilter) -> bool:
        """Tell whether the filter has run for this request, in this chain or an outer one."""
        return web_filter in self._ran or (
            self._outer is not None and self._outer.has_run(web_filter)
        )

    def leave(self, inside: WebFilter | None) -> None:
        """Let go of the scope: it holds this object, and this object holds it."""
        if inside is not None and self._outer is not None:
            # What that filter answers now is to look like any answer.
            self._outer.take_over(self._hooks, inside)
        self._hooks.clear()
        if self._outer is None:
            self._scope.pop(CHAIN, None)
        else:
            self._scope[CHAIN] = self._outer

    def before_head(self, hook: HeadHook) -> None:
        """Have the hook called with the head of the response."""
        self._hooks.append(hook)

    def take_over(self, hooks: Iterable[HeadHook], inside: WebFilter) -> None:
        """Do nothing: it was another chain's filter."""

    def wrap(self, wrapper: Wrapper) -> None:
        """Put something between the server and the application."""
        self._receive, self._send = wrapper(self._receive, self._send)

    async def respond(self, response: ASGIApp) -> None:
        """Send a response at once, through the hooks."""
        await response(self._scope, self._receive, self.send)

    async def send(self, message: Message) -> None:
        """Pass a message on; a head goes through the hooks first."""
        if message["type"] in _HEADS:
            message["headers"] = list(message.get("headers") or ())
            # A hook may register no other; inner filters came last and run first.
            for hook in reversed(self._hooks):
                await hook(message)
            self._head = message
            self.status_code = message.get("status", 101)
        elif message["type"] == "websocket.close":
            self._closed = True
        await self._send(message)

    async def _send_own(self, response: Any, web_filter: WebFilter) -> None:
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
            await self.respond(response)


def _again(request: Any) -> Receive:
    """Return the request's receive, with what a filter has read of the body once more."""
    receive: Receive = request.receive
    # Read as a stream and not kept; without an end the application would wait for ever.
    body: bytes = getattr(request, "_body", b"")
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _passage(
    app: ASGIApp, filters: Sequence[WebFilter], *, inside: WebFilter | None = None
) -> ASGIApp:
    """Return the application with filters around it that are called with a request.

    Args:
        inside: The filter around these, if it was called as middleware.
    """
    if not filters:
        return app

    async def pass_through(scope: Scope, receive: Receive, send: Send) -> None:
        passage = _Passage(app, filters, scope, receive, send)
        kind = Request if passage.is_http else WebSocket
        try:
            await passage.proceed(0, kind(scope, receive, passage.send))
        finally:
            passage.leave(inside)

    return pass_through
