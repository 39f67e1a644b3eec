"""One request's session as ASGI middleware: the place of `SessionFilter` in its own chain."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pyfly_session.core.session import HttpSession
from pyfly_session.web.commit import Exchange, ExchangeRules
from pyfly_session.web.filters import CHAIN, ChainPassage, HeadHook, WebFilter, Wrapper
from pyfly_session.web.session_id_resolver import SessionIdResolver


class SessionPassage(Exchange):
    """An `Exchange` that the response passes by itself, without a chain between.

    Args:
        web_filter: Whose exchange it is.
        rules: Those of the filter.
        session: The session, as it was attached to the request.
        resolver: Tells the client its id.
        unloaded: Why the request goes on without its session, or None.
        scope: That of the request; the passage takes its place in the chain there.
        receive: The server's.
        send: The server's.

    Attributes:
        scope: That of the request.
    """

    __slots__ = ("_filter", "_hooks", "_outer", "_receive", "_send", "scope")

    is_http = True

    def __init__(
        self,
        web_filter: WebFilter,
        rules: ExchangeRules,
        session: HttpSession,
        resolver: SessionIdResolver,
        unloaded: str | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        Exchange.__init__(self, rules, session, resolver, unloaded)
        self._filter = web_filter
        self._hooks: tuple[HeadHook, ...] = ()
        self.scope = scope
        self._receive = receive
        self._send = send
        self._outer: ChainPassage | None = scope.get(CHAIN)
        scope[CHAIN] = self

    def leave(self) -> None:
        """Let go of the scope: it holds this object, and this object holds it."""
        self._hooks = ()
        if self._outer is None:
            self.scope.pop(CHAIN, None)
        else:
            self.scope[CHAIN] = self._outer

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on; a head not before the session is committed."""
        if message["type"] != "http.response.start":
            return self._send(message)
        # The application may use the same list for every response.
        message["headers"] = list(message.get("headers") or ())
        if self._hooks:
            return self._send_through_hooks(message)
        if not self.settle():
            return self.commit_head(message, self._send)
        # Without a coroutine for what most requests come to.
        self.write_head(message["headers"])
        return self._send(message)

    async def _send_through_hooks(self, head: Message) -> None:
        for hook in reversed(self._hooks):
            await hook(head)
        await self.finish_head(head)
        await self._send(head)

    async def respond(self, response: ASGIApp) -> None:
        """Send a response at once."""
        await response(self.scope, self._receive, self.send)

    def before_head(self, hook: HeadHook) -> None:
        """Have the hook called with the head of the response."""
        self._hooks = (*self._hooks, hook)

    def take_over(self, hooks: Iterable[HeadHook], inside: WebFilter) -> None:
        """Take the hooks of what ran inside of the filter, and is over, if no head has left."""
        if inside is self._filter and not self.head_sent:
            self._hooks = (*self._hooks, *hooks)

    def wrap(self, wrapper: Wrapper) -> None:
        """Put something between the server and what the application sends to."""
        self._receive, self._send = wrapper(self._receive, self._send)

    def has_run(self, web_filter: Any) -> bool:
        """Tell whether the filter has run for this request, in this chain or an outer one."""
        return web_filter is self._filter or (
            self._outer is not None and self._outer.has_run(web_filter)
        )
