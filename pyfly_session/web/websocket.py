"""A WebSocket and its session: kept alive by what the client sends, closed when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from pyfly_session import ids
from pyfly_session.core.repository import SessionRepository
from pyfly_session.errors import ConfigurationError
from pyfly_session.web.chain import HEADS
from pyfly_session.web.commit import ResponseCommit
from pyfly_session.web.cookies import Header, is_foreign

_logger = logging.getLogger(__name__)
_POLICY_VIOLATION = 1008
_ENDED = "the session has ended"
_CLOSED = "the socket was closed, for its session has ended"
# How long the close may take to get out: a client that reads nothing never lets it.
_CLOSE_SECONDS = 1.0
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://(?:\*\.)?[^/\s,*]+")


@dataclass(frozen=True, slots=True)
class WebSocketRules:
    """What holds for open WebSockets.

    Attributes:
        close_on_session_end: Which are closed (code 1008) when their session ends or gets another
            id: those of users who are logged in, all, or none.
        check_interval: Seconds between two looks at the session.
        slide_on_send: Messages to the client count as access, too.
        allowed_origins: Origins of pages that may open one with a session, besides the host
            itself; ``https://*.example.org`` allows every subdomain, ``*`` any origin.

    Raises:
        ConfigurationError: A value is not allowed.
    """

    close_on_session_end: Literal["authenticated", "always", "never"] = "authenticated"
    check_interval: float = 10.0
    slide_on_send: bool = False
    allowed_origins: Iterable[str] = ()

    def __post_init__(self) -> None:
        if self.close_on_session_end not in ("authenticated", "always", "never"):
            self._refuse("close_on_session_end", "must be 'authenticated', 'always' or 'never'")
        if not 0 < self.check_interval <= 3600:
            self._refuse("check_interval", "must be more than 0 and at most 3600 seconds")
        if isinstance(self.allowed_origins, str):
            self._refuse("allowed_origins", "must be a list of origins")
        origins = frozenset(each.lower() for each in self.allowed_origins)
        if not all(map(_ORIGIN.fullmatch, origins)):
            self._refuse("allowed_origins", "must be like https://host or https://*.host")
        object.__setattr__(self, "allowed_origins", origins)

    def _refuse(self, name: str, allowed: str) -> None:
        value = getattr(self, name)
        raise ConfigurationError(
            f"WebSocketRules: {name} {allowed}, got {value!r}", key=name, value=value
        )

    def is_foreign(self, headers: Iterable[Header]) -> bool:
        """Return whether a WebSocket comes from a page of a host that may not open one.

        Browsers send the cookie with such a handshake, and let the page read every answer.

        Source: OWASP WebSocket Security Cheat Sheet, "Origin Header Validation"; RFC 6455, 10.2.
        """
        found = dict(headers)
        origin = found.get(b"origin")
        if origin is None or "*" in self.allowed_origins:
            return False
        return is_foreign(origin, found.get(b"host")) and not self._allows(origin)

    def _allows(self, origin: bytes) -> bool:
        text = origin.decode("latin-1").lower()
        scheme, _, host = text.partition("://")
        labels = host.split(".")
        # The name of the host, and of each domain that it is in.
        above = (f"{scheme}://*.{'.'.join(labels[count:])}" for count in range(1, len(labels)))
        is_name = re.fullmatch(r"[a-z0-9._-]+(?::\d+)?", host) and "" not in labels
        return text in self.allowed_origins or (
            bool(is_name) and not self.allowed_origins.isdisjoint(above)  # type: ignore[attr-defined]
        )


class LiveSocket:
    """Looks after the session of one open WebSocket, every so often, by a timer.

    A message costs no call of the store: it only leaves a mark for the next look.

    Args:
        commit: Commits what the application changed.
        repository: Where the session is.
        rules: How often to look, and what to do when the session has ended.
        receive: The server's.
        send: The server's.

    Attributes:
        is_over: Nothing more can be sent.
    """

    __slots__ = (
        "_active", "_closing", "_commit", "_failed", "_looking", "_receive", "_repository",
        "_rules", "_send", "_sending", "_slides", "_timer", "_unwatch", "_waiting", "is_over",
    )  # fmt: skip

    def __init__(
        self,
        commit: ResponseCommit,
        repository: SessionRepository,
        rules: WebSocketRules,
        receive: Receive,
        send: Send,
    ) -> None:
        self._commit = commit
        self._repository = repository
        self._rules = rules
        self._active = False
        self._slides = commit.session.slides
        self.is_over = False
        self._failed = False
        self._receive = receive
        self._send = send
        # Who waits for a message of the client, and who for it to read.
        self._waiting: asyncio.Task[Any] | None = None
        self._sending: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._unwatch: Callable[[], None] | None = None
        self._closing: asyncio.Task[Any] | None = None

    async def receive(self) -> Message:
        """Return the client's next message, or a disconnect once the session has ended."""
        if self._closing is None:
            message = await self._next_message()
            if message is not None:
                if message["type"] == "websocket.receive":
                    self._active = True
                elif message["type"] == "websocket.disconnect":
                    self.is_over = True
                return message
        return {"type": "websocket.disconnect", "code": _POLICY_VIOLATION, "reason": _ENDED}

    async def _next_message(self) -> Message | None:
        """Return a message, or None if the socket was closed meanwhile."""
        self._waiting = task = _this_task()
        cancelled_before = task.cancelling()
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
        if message["type"] in HEADS and self._closing is None:
            message = {**message, "headers": list(message.get("headers") or ())}
            await self._commit.finish_head(message)
            # From here on the messages of the client count.
            self._commit.slide_no_more()
            if self._commit.has_ended:
                self._end()
            else:
                self._start(message)
        closes = message["type"] == "websocket.close"
        if self._closing is not None:
            if closes:
                return
            raise OSError(_CLOSED)
        if closes:
            self.is_over = True
        elif self._rules.slide_on_send and message["type"] == "websocket.send":
            self._active = True
        await self._send_on(message)

    async def _send_on(self, message: Message) -> None:
        """Give the server a message; stop waiting for the client to read once it is closed."""
        task = _this_task()
        cancelled_before = task.cancelling()
        self._sending.add(task)
        try:
            await self._send(message)
        except asyncio.CancelledError:
            if self._closing is None or task.uncancel() > cancelled_before:
                raise
            raise OSError(_CLOSED) from None
        finally:
            self._sending.discard(task)

    def _start(self, head: Message) -> None:
        session = self._commit.session
        if head["type"] == "websocket.accept" and session.stored and not session.invalidated:
            self._look_later()
            end = partial(_call_in, asyncio.get_running_loop(), self._end)
            self._unwatch = self._repository.invalidation.watch(session.stored.id, end)

    async def leave(self) -> None:
        """Look no more: the application is done."""
        self.is_over = True
        for waiting in (self._timer, self._looking):
            if waiting is not None:
                waiting.cancel()
        self._timer = self._looking = None
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if self._closing is not None:
            # A server hangs up when the application is done.
            await asyncio.wait({self._closing})

    def _look_later(self) -> None:
        idle = self._repository.seconds_to_live(self._commit.session)
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
            masked, going_on = ids.mask(self._commit.session.current_id), True
            level = logging.DEBUG if self._failed else logging.WARNING
            _logger.log(level, "a WebSocket could not look after session %s: %s", masked, error)
            self._failed = True
        self._looking = None
        if going_on and not self.is_over:
            self._look_later()

    async def _look(self) -> bool:
        """Slide, save, or close; tell whether to look again."""
        session = self._commit.session
        if session.invalidated:
            # By the application itself, which knows what to tell its client.
            await self._commit.commit(create=False)
            return False
        slide, self._active = self._active and self._slides, False
        try:
            alive = await self._repository.keep_alive(session, slide=slide)
        except Exception:
            self._active = self._active or slide
            raise
        if alive and session.pending:
            await self._commit.commit(create=False)
        if not alive:
            self._end()
        return alive

    def _end(self) -> None:
        """Close the socket, unless it may go on without its session."""
        if self.is_over or self._closing is not None or not self._needs_session():
            return
        self._closing = self._repository.finish_later(self._close())
        if self._waiting is not None:
            self._waiting.cancel()
        for task in self._sending:
            task.cancel()

    async def _close(self) -> None:
        message = {"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": _ENDED}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._send(message)

    def _needs_session(self) -> bool:
        session, rule = self._commit.session, self._rules.close_on_session_end
        if session.invalidated or rule == "never":
            return False
        return rule == "always" or session.has_login


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - for mypy
    return task


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call it in its loop, from any thread."""
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        _logger.debug("the loop of a WebSocket was closed before its session ended")


def refusal_of_origin(scope: Scope) -> Any:
    """Return the answer to a WebSocket of a foreign origin: it is never opened."""
    headers = dict(scope["headers"])
    _logger.warning(
        "a WebSocket with a session was refused: its page is from %.100r, the host is %.100r;"
        " if that page is yours, add it to pyfly.session.websocket.allowed-origins",
        headers.get(b"origin", b"").decode("latin-1"),
        headers.get(b"host", b"").decode("latin-1"),
    )
    if "websocket.http.response" in (scope.get("extensions") or {}):
        return PlainTextResponse("This origin may not open this WebSocket.\n", status_code=403)
    return WebSocketClose(code=_POLICY_VIOLATION, reason="foreign origin")
