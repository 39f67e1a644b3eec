"""A WebSocket and its session: kept alive by what the client sends, closed when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Send
from starlette.websockets import WebSocketClose

from pyfly_session import ids
from pyfly_session.config import WebSocketProperties
from pyfly_session.core.keeping import keep
from pyfly_session.core.metadata import PRINCIPAL
from pyfly_session.core.repository import SessionRepository
from pyfly_session.web.commit import Exchange
from pyfly_session.web.filters import CallNext, ChainPassage

_logger = logging.getLogger(__name__)
_POLICY_VIOLATION = 1008
_ENDED = "the session has ended"
# How long the close may take to get out when the application is done.
_PATIENCE_SECONDS = 1.0
# Where the room of security, which builds on this one, keeps who is logged in.
_SECURITY_CONTEXT = "SECURITY_CONTEXT"


class LiveSocket:
    """Looks after the session of one open WebSocket, every so often, by a timer.

    A message costs no call of the store: it only leaves a mark for the next look.

    Args:
        exchange: Commits what the application changed.
        repository: Where the session is.
        rules: How often to look, and what to do when the session has ended.
    """

    __slots__ = (
        "_active",
        "_closing",
        "_exchange",
        "_failed",
        "_looking",
        "_over",
        "_receive",
        "_repository",
        "_rules",
        "_send",
        "_timer",
        "_unwatch",
        "_waiting",
    )

    def __init__(
        self, exchange: Exchange, repository: SessionRepository, rules: WebSocketProperties
    ) -> None:
        self._exchange = exchange
        self._repository = repository
        self._rules = rules
        self._active = False
        self._over = False
        self._failed = False
        self._receive: Receive
        self._send: Send
        self._waiting: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._unwatch: Callable[[], None] | None = None
        self._closing: asyncio.Task[Any] | None = None

    def around(self, chain: ChainPassage, call_next: CallNext) -> CallNext:
        """Put itself between the server and the rest of the chain."""
        chain.wrap(self._wrap)
        chain.before_head(self._start)

        async def run(request: Any) -> Any:
            try:
                return await call_next(request)
            finally:
                self._leave()
                if self._closing is not None:
                    # A server hangs up when the application is done.
                    await asyncio.wait({self._closing}, timeout=_PATIENCE_SECONDS)

        return run

    def _wrap(self, receive: Receive, send: Send) -> tuple[Receive, Send]:
        self._receive, self._send = receive, send
        return self.receive, self.send

    async def receive(self) -> Message:
        """Return the client's next message, or a disconnect once the session has ended."""
        if self._closing is None:
            message = await self._next_message()
            if message is not None:
                if message["type"] == "websocket.receive":
                    self._active = True
                elif message["type"] == "websocket.disconnect":
                    self._over = True
                return message
        return {"type": "websocket.disconnect", "code": _POLICY_VIOLATION, "reason": _ENDED}

    async def _next_message(self) -> Message | None:
        """Return a message, or None if the socket was closed meanwhile."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for mypy
        cancelled_before = task.cancelling()
        self._waiting = task
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            # Ours, as long as nobody else wants the task to end.
            if self._closing is None or task.uncancel() > cancelled_before:
                raise
            return None
        finally:
            self._waiting = None
        return message if self._closing is None else None

    async def send(self, message: Message) -> None:
        """Pass a message on, unless the socket was closed.

        Raises:
            OSError: It was; the ASGI specification wants that of a socket that is gone.
        """
        closes = message["type"] == "websocket.close"
        if self._closing is not None:
            if closes:
                return
            raise OSError("the socket was closed, for its session has ended")
        if closes:
            self._over = True
        elif self._rules.slide_on_send and message["type"] == "websocket.send":
            self._active = True
        await self._send(message)

    async def _start(self, head: Message) -> None:
        session = self._exchange.session
        if head["type"] == "websocket.accept" and session.stored and not session.invalidated:
            self._look_later()
            tell = partial(_tell, asyncio.get_running_loop(), self._end)
            self._unwatch = self._repository.endings.watch(session._id, tell)

    def _leave(self) -> None:
        self._over = True
        for waiting in (self._timer, self._looking):
            if waiting is not None:
                waiting.cancel()
        self._timer = self._looking = None
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    def _look_later(self) -> None:
        idle = self._repository.seconds_to_live(self._exchange.session)
        delay = min(self._rules.check_interval, idle / 4)
        self._timer = asyncio.get_running_loop().call_later(delay, self._look_now)

    def _look_now(self) -> None:
        self._looking = self._repository.finish_later(self._look_again())

    async def _look_again(self) -> None:
        try:
            going_on = await self._look()
            self._failed = False
        except Exception as error:  # noqa: BLE001 - whatever a store or a value raises
            # A store that is down ends no session; the next look may find it up again.
            masked, going_on = ids.mask(self._exchange.session._id), True
            level = logging.DEBUG if self._failed else logging.WARNING
            _logger.log(level, "a WebSocket could not look after session %s: %s", masked, error)
            self._failed = True
        self._looking = None
        if going_on and not self._over:
            self._look_later()

    async def _look(self) -> bool:
        """Slide, save, or close; tell whether to look again."""
        session = self._exchange.session
        if session.invalidated:
            # By the application itself, which knows what to tell its client.
            await self._exchange.commit()
            return False
        slide, self._active = self._active, False
        try:
            alive = await keep(self._repository, session, slide=slide)
        except Exception:
            self._active = self._active or slide
            raise
        if alive and session.pending:
            await self._exchange.commit()
        if not alive:
            self._end()
        return alive

    def _end(self) -> None:
        """Close the socket, unless it may go on without its session."""
        if self._over or self._closing is not None or not self._needs_session():
            return
        self._closing = self._repository.finish_later(self._close())
        if self._waiting is not None:
            self._waiting.cancel()

    async def _close(self) -> None:
        await self._send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": _ENDED})

    def _needs_session(self) -> bool:
        session, rule = self._exchange.session, self._rules.close_on_session_end
        if session.invalidated or rule == "never":
            return False
        is_somebody = PRINCIPAL in session._metadata or _SECURITY_CONTEXT in session._attributes
        return rule == "always" or is_somebody


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call it in its loop, from any thread."""
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        _logger.debug("the loop of a WebSocket was closed before its session ended")


def is_foreign_origin(request: Any, allowed: Iterable[str]) -> bool:
    """Tell whether a WebSocket comes from a page of another host.

    Browsers send the cookie with such a handshake, and let the page read every answer.
    Clients that are no browsers send no ``Origin``.

    Args:
        request: The WebSocket.
        allowed: Origins that may, besides that of the host; ``*`` for any.

    Source: OWASP WebSocket Security Cheat Sheet, "Origin Header Validation"; RFC 6455, 10.2.
    """
    origin = request.headers.get("origin")
    if origin is None or "*" in allowed or origin.lower() in map(str.lower, allowed):
        return False
    scheme, _, host = origin.lower().partition("://")
    own = request.headers.get("host", "").lower()
    return scheme not in ("http", "https") or not own or _bare(host) != _bare(own)


def refusal_of_origin(request: Any) -> Any:
    """Return the answer to a WebSocket of a foreign origin: it is never opened."""
    _logger.warning(
        "a WebSocket with a session was refused: its page is from %.100r, the host is %.100r;"
        " if that page is yours, add it to pyfly.session.websocket.allowed-origins",
        request.headers.get("origin"),
        request.headers.get("host"),
    )
    if "websocket.http.response" in (request.scope.get("extensions") or {}):
        return PlainTextResponse("This origin may not open this WebSocket.\n", status_code=403)
    return WebSocketClose(code=_POLICY_VIOLATION, reason="foreign origin")


def _bare(host: str) -> str:
    # Behind a proxy that ends TLS the scheme of the request is not that of the page.
    return host.removesuffix(":443").removesuffix(":80")
