"""`SessionFilter`: puts the session on the request and commits it with the response."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, get_args

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pyfly_session.concurrency import SessionConcurrencyController
from pyfly_session.core.repository import SessionRepository
from pyfly_session.core.session import HttpSession
from pyfly_session.core.tasks import running_loop
from pyfly_session.errors import ConfigurationError, SessionStoreError, SessionUpdateError
from pyfly_session.ports import SessionStore
from pyfly_session.web.chain import FilterRun, RequestFilter
from pyfly_session.web.commit import CommitRules, KeepAlive, ResponseCommit, raw_headers_of
from pyfly_session.web.cookies import Header, SessionCookie
from pyfly_session.web.error_responses import ANSWERED, response_of_handler, response_to
from pyfly_session.web.filters import (
    CHAIN,
    HIGHEST_PRECEDENCE,
    CallNext,
    OncePerRequestFilter,
    matches,
)
from pyfly_session.web.neighbours import warn_of_neighbour
from pyfly_session.web.paths import ROOT, browser_path, root_of, route_path
from pyfly_session.web.session_id_resolver import (
    SessionIdResolver,
    headers_of,
    require_resolver,
    scope_of,
)
from pyfly_session.web.websocket import LiveSocket, WebSocketRules, refusal_of_origin

_logger = logging.getLogger(__name__)

_ENCRYPTED = ("https", "wss")

_OUTSIDE = (
    "there is no session outside of the cookie's path (pyfly.session.cookie.path): browsers send"
    " the cookie below it only, so what is stored here would never be found again; move the page,"
    " choose another path, or, if a proxy strips the path, tell the server (uvicorn --root-path)"
)

CreationPolicy = Literal["always", "if-required", "never"]
StoreErrorPolicy = Literal["fail", "anonymous"]


class SessionFilter(OncePerRequestFilter):
    """Loads the session of a request, attaches it, and commits it before the head leaves.

    Shared by all requests. In `pyfly_session.web.WebFilterChainMiddleware` it is ASGI middleware,
    for HTTP and WebSocket. In any other chain that calls ``do_filter(request, call_next)`` the
    commit comes after ``call_next``, with ``response.set_cookie`` and ``delete_cookie``.

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
        anonymous_ttl: Idle time in seconds of visitors who are nobody, or None for ``ttl``.
        exclude_patterns: Glob patterns of paths without a session.
        passive_patterns: Glob patterns of paths whose requests do not keep a session alive.
        on_store_error: What a request gets whose session cannot be loaded: 503, or a session
            that is empty and not saved (`HttpSession.transient`).
        keep_client: Keep in the session from where and with what its user logged in.
        repository: What loads and commits the sessions, instead of one made from ``store``,
            ``ttl``, ``max_lifetime`` and ``anonymous_ttl``.
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
        anonymous_ttl: int | None = None,
        exclude_patterns: Iterable[str] = (),
        passive_patterns: Iterable[str] = (),
        on_store_error: StoreErrorPolicy = "fail",
        keep_client: bool = False,
        repository: SessionRepository | None = None,
        concurrency: SessionConcurrencyController | None = None,
        websocket: WebSocketRules | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _require("creation", creation, get_args(CreationPolicy))
        _require("on_store_error", on_store_error, get_args(StoreErrorPolicy))
        self.keep_client = keep_client
        self.repository = repository or _repository(
            store, ttl=ttl, max_lifetime=max_lifetime, anonymous_ttl=anonymous_ttl, clock=clock
        )
        self.concurrency = concurrency
        if concurrency is not None and concurrency.registry is not self.repository.principals:
            self.repository.report_to(concurrency.registry)
        self.resolver: SessionIdResolver = (
            cookie or SessionCookie(name=cookie_name, secure=secure)
            if resolver is None
            else require_resolver(resolver)
        )
        # Of several ways, a request is answered by the one that its id came.
        self._way_of = getattr(self.resolver, "of_request", None)
        self.creation = creation
        self._rules = CommitRules(
            self.repository,
            vary=(b"vary", self.resolver.vary),
            create=creation == "always",
            tolerant=on_store_error == "anonymous",
            max_age=None if self.repository.max_lifetime else self.repository.ttl,
        )
        if not isinstance(websocket, WebSocketRules | None):
            raise ConfigurationError(
                f"SessionFilter: websocket must be WebSocketRules(...), got {websocket!r}",
                key="websocket",
                value=websocket,
            )
        self.exclude_patterns = _patterns("exclude_patterns", exclude_patterns)
        self.passive_patterns = _patterns("passive_patterns", passive_patterns)
        self._websocket = websocket or WebSocketRules()
        self._keep_alive: dict[asyncio.AbstractEventLoop, KeepAlive] = {}
        self._warned_of_outer = self._looked_for_neighbours = False

    @property
    def store(self) -> SessionStore:
        """The store that the sessions are in."""
        return self.repository.store

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return an application with this filter around it."""
        own = type(self).do_filter, type(self).should_not_filter
        if own == _AS_DEFINED_HERE and not {"do_filter", "should_not_filter"} & vars(self).keys():
            return partial(self.handle, app)
        # A subclass or a patch has something to add.
        return RequestFilter(self, app)

    async def handle(  # noqa: C901 - the way of one request, from top to bottom
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Do what the filter does as ASGI middleware: pass the request on, or attach a session.

        Args:
            app: What is inside of the filter.
            scope: That of an HTTP request or a WebSocket.
            receive: The server's.
            send: The server's.
        """
        if scope.get("root_path"):
            scope[ROOT] = root_of(scope)
        hooks = scope.get(CHAIN)
        state = scope.setdefault("state", {})
        # Without a chain around us, this is what a finished request has left in the state.
        outer = None if hooks is None else state.get("session_filter")
        if (outer is not None and self._shares_id_with(outer)) or (
            (self.exclude_patterns or self.url_patterns) and self.leaves_alone(route_path(scope))
        ):
            await app(scope, receive, send)
            return
        headers, socket = scope["headers"], None
        if scope["type"] == "websocket" and self._is_from_elsewhere(headers, scope):
            await refusal_of_origin(scope)(scope, receive, send)
            return
        if outer is not None:
            attached = state["session"], outer, scope["session"]
        try:
            commit = await self._open(headers, scope, send)
        except SessionStoreError as error:
            await self._response_to(scope, error)(scope, receive, send)
            return
        session, send_on = commit.session, commit.send
        if scope["type"] == "websocket":
            socket = LiveSocket(commit, self.repository, self._websocket, receive, send)
            receive, send_on = socket.receive, socket.send
        state["session"], state["session_filter"] = session, self
        scope[CHAIN] = commit
        try:
            try:
                await app(scope, receive, send_on)
            except Exception as error:
                if not await self._answer(error, commit, scope, receive, send_on):
                    raise
            else:
                if session.touched or not commit.head_sent or commit.failure is not None:
                    await commit.finish()
        except asyncio.CancelledError:
            commit.abandon()
            raise
        except SessionStoreError as error:
            if commit.head_sent:
                raise
            response = self._response_to(scope, error)
            if socket is None or not socket.is_over:
                await response(scope, receive, commit.send_as_it_is)
        finally:
            if socket is not None:
                await socket.leave()
            commit.close(hooks)
            # The scope must not hold what holds the server's side of the request.
            if hooks is None:
                del scope[CHAIN]
            else:
                scope[CHAIN] = hooks
            if outer is not None:
                state["session"], state["session_filter"], scope["session"] = attached

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        """Do the same in another chain: attach the session, run the rest of it, and commit."""
        scope: Any = getattr(request, "scope", None)
        run = scope.get(CHAIN) if isinstance(scope, dict) else None
        if isinstance(run, FilterRun) and run.web_filter is self:
            # Our own chain, with a subclass or a patch around this method.
            return await run.proceed_through(self.handle, request, call_next)
        outer = getattr(request.state, "session_filter", None)
        if self.should_not_filter(request) or (outer is not None and self._shares_id_with(outer)):
            return await call_next(request)
        scope = scope if isinstance(scope, dict) else scope_of(request)
        scope[ROOT] = root_of(scope)
        try:
            commit = await self._open(headers_of(request), scope, None)
        except SessionStoreError as error:
            return self._response_to(scope, error)
        request.state.session, request.state.session_filter = commit.session, self
        try:
            try:
                response = await call_next(request)
            except Exception as error:
                response = self._response_to(scope, error)
                if response is None:
                    await commit.commit_unheard()
                    raise
                if isinstance(error, SessionUpdateError):
                    return response
            commit.follow()
            await commit.commit(
                create=self._rules.create and commit.needs_session(raw_headers_of(response))
            )
        except asyncio.CancelledError:
            commit.abandon()
            raise
        except (SessionStoreError, SessionUpdateError) as error:
            return self._response_to(scope, error)
        else:
            commit.write_onto(response)
            return response
        finally:
            commit.close(None)

    async def why_ended(self, request: Any) -> str | None:
        """Return why the session that the client asks for was ended by somebody else."""
        headers = headers_of(request)
        scope = getattr(request, "scope", None)
        scope = scope if isinstance(scope, dict) else scope_of(request)
        for candidate in self._resolver_of(headers, scope).candidates(headers):
            reason = await self.repository.invalidation.why(candidate)
            if reason is not None:
                return reason
        return None

    async def _open(
        self, headers: Iterable[Header], scope: Any, send: Send | None
    ) -> ResponseCommit:
        """Load the session that a request asks for, or make one, and attach it to the scope.

        Raises:
            SessionStoreError: It cannot be loaded, and the request may not go on without.
        """
        if not self._keep_alive:
            # Refuses Trio with a clear message, before a store fails on it.
            running_loop()
        resolver = self._resolver_of(headers, scope)
        candidates, session, unloaded = resolver.candidates(headers), None, None
        patterns = self.passive_patterns
        slide = not (patterns and "path" in scope and matches(route_path(scope), patterns))
        try:
            for candidate in candidates:
                session = await self.repository.load(candidate, slide=slide)
                if session is not None:
                    break
        except SessionStoreError as error:
            if not self._rules.tolerant:
                raise
            unloaded = str(error)
        if session is None:
            session = self._new(headers, scope, resolver, candidates, unloaded)
        return ResponseCommit(
            self._rules, session, resolver, candidates, send, unloaded, scope, self._watch(session)
        )

    def _resolver_of(self, headers: Iterable[Header], scope: Any) -> SessionIdResolver:
        """Return the way that a request came, as it is over HTTPS if that is how it came."""
        resolver: SessionIdResolver = (
            self.resolver if self._way_of is None else self._way_of(headers)
        )
        if scope.get("scheme") in _ENCRYPTED:
            resolver = getattr(resolver, "over_https", resolver)
        return resolver

    def _shares_id_with(self, outer: Any) -> bool:
        """Return whether a filter around this one has attached the session already."""
        if outer is self:
            return True
        theirs = getattr(getattr(outer, "resolver", None), "ways", ())
        if not set(theirs) & set(getattr(self.resolver, "ways", ())):
            return False
        if not self._warned_of_outer:
            self._warned_of_outer = True
            _logger.warning(
                "an application inside of another one has sessions of its own with the same %s,"
                " so it uses the outer one's; give it another pyfly.session.cookie-name if its"
                " sessions shall be apart",
                " and ".join(f"{way} {name!r}" for way, name in theirs),
            )
        return True

    def _new(
        self,
        headers: Iterable[Header],
        scope: Any,
        resolver: SessionIdResolver,
        candidates: list[str],
        unloaded: str | None,
    ) -> HttpSession:
        """Return a new session; it may be one that is not saved."""
        session = self.repository.create()
        if not self._looked_for_neighbours:
            self._looked_for_neighbours = True
            warn_of_neighbour(self, resolver, self.store, scope)
        if unloaded is not None:
            _logger.warning("a request goes on without its session: %s", unloaded)
            session.why_transient = "unavailable"
            self.repository.counts["transient"] += 1
            return session
        if self.creation == "never":
            session.write_refusal = (
                "there is no session, and pyfly.session.creation is 'never': nothing can be"
                " stored for this visitor; allow it with 'if-required' or 'always'"
            )
        for candidate in candidates:
            if self.repository.invalidation.is_late(candidate):
                session.why_transient, session.presented_id = "replaced", candidate
                return session
        covers = getattr(resolver, "covers", None)
        if covers is not None and "path" in scope and not covers(browser_path(scope)):
            session.why_transient, session.write_refusal = "outside", _OUTSIDE
            return session
        may_be_withheld = getattr(resolver, "may_be_withheld", None)
        if (
            not candidates
            and may_be_withheld is not None
            and may_be_withheld(headers, scope.get("method", "GET"))
        ):
            session.why_transient = "withheld"
        return session

    def _watch(self, session: HttpSession) -> KeepAlive:
        """Return what keeps the session alive while its request runs."""
        loop = asyncio.get_running_loop()
        keep_alive = self._keep_alive.get(loop)
        if keep_alive is None:
            # Not by weak reference: each of them holds its loop.
            for each in list(self._keep_alive):
                if each.is_closed():
                    self._keep_alive.pop(each, None)
            shortest = min(self.repository.ttl, self.repository.anonymous_ttl or math.inf)
            keep_alive = self._keep_alive[loop] = KeepAlive(loop, shortest)
        if keep_alive.timer is None or session.own_lifetime is not None:
            keep_alive.start(session.max_inactive_interval)
        return keep_alive

    async def _answer(
        self, error: Exception, commit: ResponseCommit, scope: Scope, receive: Receive, send: Send
    ) -> bool:
        """Respond to an error that the application ended with, and save the session.

        Returns:
            False if the error is none of ours, and has to be raised.

        Raises:
            SessionStoreError: The response could not be sent, for the session was not saved.
        """
        if commit.failure is not None and not commit.head_sent:
            raise SessionStoreError(commit.failure)
        response = None if commit.head_sent else self._response_to(scope, error)
        if response is not None:
            if isinstance(error, SessionUpdateError):
                await commit.discard()
            if not commit.session.touched:
                # A refusal is no reason to give the client an id.
                send = commit.send_as_it_is
            await response(scope, receive, send)
            return True
        try:
            if not commit.head_sent:
                await self._send_500(error, commit, scope, receive, send)
        finally:
            await commit.commit_unheard()
        return False

    async def _send_500(
        self, error: Exception, commit: ResponseCommit, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Send the application's own answer to an unhandled error, where it can be saved."""
        response = await response_of_handler(scope, error)
        if response is None and commit.session.rotated and scope["type"] == "http":
            # The browser has to get the new id, and a handler outside sends what we do not see.
            response = PlainTextResponse("Internal Server Error", status_code=500)
        if response is not None:
            try:
                await response(scope, receive, send)
            except Exception:
                _logger.exception("the session could not be saved after %r", error)
                scope.pop(ANSWERED, None)
                if commit.failure is not None and not commit.head_sent:
                    raise SessionStoreError(commit.failure) from None

    def _is_from_elsewhere(self, headers: Iterable[Header], scope: Scope) -> bool:
        """Return whether a WebSocket with an id comes from a page that may not open one."""
        if not self._websocket.is_foreign(headers):
            return False
        return bool(self._resolver_of(headers, scope).candidates(headers))

    def _response_to(self, scope: Any, error: Exception) -> Any:
        if isinstance(error, SessionStoreError):
            self.repository.counts["unavailable"] += 1
        return response_to(scope, error)


_AS_DEFINED_HERE = SessionFilter.do_filter, SessionFilter.should_not_filter


def _repository(store: SessionStore, **options: Any) -> SessionRepository:
    try:
        return SessionRepository(store, **options)
    except ValueError as error:
        key = str(error).partition(" ")[0]
        message = f"SessionFilter: {error}"
        raise ConfigurationError(message, key=key, value=options.get(key)) from error


def _patterns(name: str, patterns: Iterable[str]) -> tuple[str, ...]:
    found = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    for pattern in found:
        if not str(pattern).startswith(("/", "*")):
            raise ConfigurationError(
                f"SessionFilter: each of {name} must start with / or *, got {pattern!r}",
                key=name,
                value=pattern,
            )
    return found


def _require(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        choice = ", ".join(map(repr, allowed))
        raise ConfigurationError(
            f"SessionFilter: {name} must be one of {choice}, got {value!r}", key=name, value=value
        )
