"""`SessionFilter`: puts the session on the request and commits it with the response."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pyfly_session.concurrency import SessionConcurrencyController
from pyfly_session.config import WebSocketProperties, bind_properties
from pyfly_session.core.repository import SessionRepository
from pyfly_session.core.session import HttpSession
from pyfly_session.errors import SessionStoreError, TooManySessionsError
from pyfly_session.ports import SessionStore
from pyfly_session.web.commit import Exchange, ExchangeRules
from pyfly_session.web.cookies import SessionCookie
from pyfly_session.web.error_responses import too_many_sessions, unavailable
from pyfly_session.web.filters import (
    CHAIN,
    HIGHEST_PRECEDENCE,
    CallNext,
    ChainPassage,
    OncePerRequestFilter,
    chain_of,
)
from pyfly_session.web.passage import SessionPassage
from pyfly_session.web.request_session import SessionMapping
from pyfly_session.web.session_id_resolver import SessionIdResolver, headers_of, require_resolver
from pyfly_session.web.websocket import LiveSocket, is_foreign_origin, refusal_of_origin

_logger = logging.getLogger(__name__)

CreationPolicy = Literal["always", "if-required", "never"]
StoreErrorPolicy = Literal["fail", "anonymous"]


class SessionFilter(OncePerRequestFilter):
    """Loads the session of a request, attaches it, and commits it before the head leaves.

    Shared by all requests. Runs in `pyfly_session.web.WebFilterChainMiddleware`, and in any
    other chain that calls ``do_filter(request, call_next)``; there the commit comes after
    ``call_next``, with ``response.set_cookie`` and ``delete_cookie``.

    Args:
        store: Where the sessions are.
        cookie_name: Name of the session cookie.
        ttl: Idle time in seconds; also the cookie's ``Max-Age``, which slides with every
            request.
        secure: Mark the cookie ``Secure``.
        cookie: Every attribute of the cookie; then ``cookie_name`` and ``secure`` are not used.
        resolver: How ids come and go, instead of the cookie.
        creation: Whether a visitor without a session gets one: always, if something is
            written to it, or never.
        max_lifetime: Seconds after its creation when a session ends at the latest, or None.
        exclude_patterns: Glob patterns of paths without a session.
        on_store_error: What a request gets whose session cannot be loaded: 503, or a session
            that is empty and not saved (`HttpSession.transient`).
        repository: What loads and commits the sessions, instead of one made from ``store``,
            ``ttl`` and ``max_lifetime``.
        concurrency: Limits the sessions of each user; None for no limit.
        websocket: What holds for open WebSockets.
        clock: Unix time in seconds.

    Raises:
        StoreContractError: The store does not keep the contract.
        ConfigurationError: A value is not allowed, or the cookie's attributes contradict.
    """

    __pyfly_order__ = HIGHEST_PRECEDENCE + 150

    def __init__(
        self,
        store: SessionStore,
        cookie_name: str = "PYFLY_SESSION",
        ttl: int = 1800,
        secure: bool = False,
        *,
        cookie: SessionCookie | None = None,
        resolver: SessionIdResolver | None = None,
        creation: CreationPolicy = "always",
        max_lifetime: int | None = None,
        exclude_patterns: Iterable[str] = (),
        on_store_error: StoreErrorPolicy = "fail",
        repository: SessionRepository | None = None,
        concurrency: SessionConcurrencyController | None = None,
        websocket: WebSocketProperties | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        patterns = exclude_patterns if isinstance(exclude_patterns, str) else list(exclude_patterns)
        given = {
            "ttl": ttl,
            "creation": creation,
            "max-lifetime": max_lifetime,
            "exclude-patterns": patterns,
            "on-store-error": on_store_error,
        }
        bound = bind_properties({"pyfly": {"session": given}})
        self.repository = repository or SessionRepository(
            store, ttl=bound.ttl, max_lifetime=bound.max_lifetime, clock=clock
        )
        self.concurrency = concurrency
        self.resolver: SessionIdResolver = (
            cookie or SessionCookie(name=cookie_name, secure=secure)
            if resolver is None
            else require_resolver(resolver)
        )
        # Of several ways one request came only one.
        self._way_of = getattr(self.resolver, "of_request", None)
        self.creation = bound.creation
        self._rules = ExchangeRules(
            self.repository,
            vary=self.resolver.vary,
            create=bound.creation == "always",
            tolerant=bound.on_store_error == "anonymous",
        )
        self.exclude_patterns = bound.exclude_patterns
        self._websocket = websocket or WebSocketProperties()

    @property
    def store(self) -> SessionStore:
        """The store that the sessions are in."""
        return self.repository.store

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:  # noqa: C901 - a call each
        """Attach the session, run the rest of the chain, and commit."""
        chain = chain_of(request)
        if chain is None and self.should_not_filter(request):
            return await call_next(request)
        headers = headers_of(request)
        resolver = self.resolver if self._way_of is None else self._way_of(headers)
        candidates = resolver.candidates(headers)
        is_socket = chain is not None and not chain.is_http
        if is_socket and candidates and self._is_from_elsewhere(request):
            return refusal_of_origin(request)
        try:
            session, unloaded = await self._load(candidates)
        except SessionStoreError as error:
            return self._refuse(request, str(error))
        exchange = Exchange(self._rules, session, resolver, unloaded)
        request.state.session = session
        request.state.session_filter = self
        scope = getattr(request, "scope", None)
        if isinstance(scope, dict):
            scope["session"] = SessionMapping(session)
        if chain is not None:
            if is_socket:
                socket = LiveSocket(exchange, self.repository, self._websocket)
                call_next = socket.around(chain, call_next)
            chain.before_head(exchange.finish_head)
        try:
            response = await call_next(request)
        except asyncio.CancelledError:
            exchange.abandon()
            raise
        except Exception as error:
            answer = await self._answer_to(request, exchange, chain, error)
            if answer is None:
                raise
            return answer
        if exchange.head_sent and not exchange.is_unfinished:
            return response
        return await self._conclude(request, exchange, response, chain)

    async def pass_on(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Do the same as `do_filter` for an HTTP request, as ASGI middleware around ``app``."""
        outer = scope.get(CHAIN)
        if (outer is not None and outer.has_run(self)) or (
            (self.exclude_patterns or self.url_patterns) and self.leaves_alone(scope["path"])
        ):
            await app(scope, receive, send)
            return
        headers = scope["headers"]
        resolver = self.resolver if self._way_of is None else self._way_of(headers)
        candidates = resolver.candidates(headers)
        try:
            session, unloaded = (
                await self._load(candidates) if candidates else (self._new(None), None)
            )
        except SessionStoreError as error:
            await self._refuse(Request(scope), str(error))(scope, receive, send)
            return
        passage = SessionPassage(
            self, self._rules, session, resolver, unloaded, scope, receive, send
        )
        # What request.state is a view of, without making the view.
        state = scope.setdefault("state", {})
        state["session"] = session
        state["session_filter"] = self
        scope["session"] = SessionMapping(session)
        answer: Any = passage
        try:
            try:
                await app(scope, receive, passage.send)
            except asyncio.CancelledError:
                passage.abandon()
                raise
            except Exception as error:
                answer = await self._answer_to(passage, passage, passage, error)
                if answer is None:
                    raise
            else:
                if not passage.head_sent or passage.is_unfinished:
                    answer = await self._conclude(passage, passage, passage, passage)
            if answer is not passage:
                await passage.respond(answer)
        finally:
            passage.leave()

    async def why_ended(self, request: Any) -> str | None:
        """Return why the session that the client asks for was ended by somebody else."""
        headers = headers_of(request)
        resolver = self.resolver if self._way_of is None else self._way_of(headers)
        for candidate in resolver.candidates(headers):
            reason = await self.repository.endings.why(candidate)
            if reason is not None:
                return reason
        return None

    async def _load(self, candidates: Iterable[str]) -> tuple[HttpSession, str | None]:
        """Return the first session that is there, or a new one, and why it is no better one.

        Raises:
            SessionStoreError: The store failed, and requests have to be told.
        """
        try:
            for candidate in candidates:
                session = await self.repository.load(candidate)
                if session is not None:
                    return session, None
        except SessionStoreError as error:
            if not self._rules.tolerant:
                raise
            return self._new(str(error)), str(error)
        return self._new(None), None

    def _is_from_elsewhere(self, request: Any) -> bool:
        return is_foreign_origin(request, self._websocket.allowed_origins)

    def _refuse(self, request: Any, reason: str) -> Any:
        self.repository.counts["unavailable"] += 1
        return unavailable(request, reason)

    def _new(self, unloaded: str | None) -> HttpSession:
        session = self.repository.create()
        if unloaded is not None:
            _logger.warning("a request goes on without its session: %s", unloaded)
            session.make_transient()
            self.repository.counts["transient"] += 1
        elif self.creation == "never":
            session.seal(
                writes="there is no session, and pyfly.session.creation is 'never': nothing can be"
                " stored for this visitor; allow it with 'if-required' or 'always'"
            )
        return session

    async def _conclude(
        self, request: Any, exchange: Exchange, response: Any, chain: ChainPassage | None
    ) -> Any:
        """Commit after the response: what changed late, or, in a foreign chain, everything."""
        try:
            if exchange.head_sent:
                await exchange.commit_late()
                return response
            if exchange.failure is not None:
                # The application swallowed the error that stopped its response.
                return self._refuse(request, exchange.failure)
            if response is chain and not exchange.head_sent:
                # It sent no head: gone with its client, or a WebSocket that was not accepted.
                await exchange.commit_unheard()
                return response
            await exchange.commit()
        except SessionStoreError as error:
            if exchange.head_sent:
                raise
            return self._refuse(request, str(error))
        except asyncio.CancelledError:
            exchange.abandon()
            raise
        if chain is None:
            exchange.write_onto(response)
        return response

    async def _answer_to(
        self, request: Any, exchange: Exchange, chain: ChainPassage | None, error: Exception
    ) -> Any:
        """Return the answer to an error that is ours; honour the session and None for others."""
        if exchange.failure is not None and not exchange.head_sent:
            return self._refuse(request, exchange.failure)
        answer = None
        if isinstance(error, SessionStoreError) and not exchange.head_sent:
            answer = self._refuse(request, str(error))
        elif isinstance(error, TooManySessionsError) and not exchange.head_sent:
            answer = too_many_sessions(request, error)
        if answer is not None:
            return await self._conclude(request, exchange, answer, chain)
        try:
            await self._honour(exchange, chain, error)
        except asyncio.CancelledError:
            exchange.abandon()
            raise
        return None

    async def _honour(
        self, exchange: Exchange, chain: ChainPassage | None, error: Exception
    ) -> None:
        """Commit what was done to the session before an unhandled error of the application."""
        told = exchange.head_sent or not exchange.session.rotated
        if not told and chain is not None and chain.is_http:
            # The browser must learn the new id, and whoever handles errors outside of the
            # filters sends a response that we do not see.
            try:
                await chain.respond(PlainTextResponse("Internal Server Error", status_code=500))
            except Exception:
                _logger.exception("the session could not be saved after %r", error)
        await exchange.commit_unheard()
