"""`ResponseCommit`: one request's session between its attachment and its last commit.

Its `send` stands between the application and the server: the session is committed just before the
head of the response leaves, and what changed later when the response has ended.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable
from typing import Any, NamedTuple

from starlette.types import Message, Scope, Send

from pyfly_session.core.lifetime import Lifetime
from pyfly_session.core.merge import Outcome
from pyfly_session.core.repository import SessionRepository
from pyfly_session.core.session import HttpSession
from pyfly_session.errors import SessionStoreError
from pyfly_session.web.cookies import Header, SessionCookie
from pyfly_session.web.filters import HeadHook, HeadHooks
from pyfly_session.web.request_session import SessionMapping, take_over
from pyfly_session.web.session_id_resolver import SessionIdResolver

_logger = logging.getLogger(__name__)
_SENT = "the head of the response has been sent, and the cookie with it"
_NO_NEW_SESSION = f"{_SENT}; a new session must be written to before that"
_NO_NEW_ID = f"{_SENT}; rotate_id() must be called before that"
_OVER = (
    "the request of this session is over, so nothing can be saved any more; do what comes later in"
    " a starlette.background.BackgroundTask of the response, or change what is stored through"
    " SessionRepository: load, change, commit"
)
# Tuples: they compare by identity first, and the hash of an enum is not free.
_LIVE = (Outcome.UNTOUCHED, Outcome.STORED, Outcome.FORKED)
_FINAL = (Outcome.GONE, Outcome.ENDED, Outcome.DROPPED)
_NO_STORE = (b"cache-control", b"no-store")
# "etag" is as long as the one, "last-modified" as the other.
_VARY_LENGTH, _CACHE_LENGTH = len(b"vary"), len(b"cache-control")
_is_kept_back = re.compile(rb"(?:^|[\s,])(?:private|no-store)(?:[\s,]|$)", re.IGNORECASE).search
_is_shared = re.compile(rb"(?:^|[\s,])(?:public|s-maxage)(?:[\s,=]|$)", re.IGNORECASE).search


class CommitRules(NamedTuple):
    """What holds for every commit of one filter.

    Attributes:
        repository: Commits the sessions.
        vary: The response header that names those which may hold an id.
        create: Store a new session although nothing was written to it.
        tolerant: Go on without the session if it cannot be loaded, or a new one not stored.
        max_age: Of the cookies of sessions without a bound of their own; None: to be worked out.
    """

    repository: SessionRepository
    vary: Header
    create: bool
    tolerant: bool
    max_age: int | None


class ResponseCommit:
    """Commits one request's session and writes what follows from it onto the response.

    Args:
        rules: Those of its filter.
        session: The session, as it was attached to the request.
        resolver: Writes the id onto the response.
        candidates: What the client sent that could be an id.
        send: The server's.
        unloaded: Why the request goes on without its session, or None.
        scope: That of the request.
        keep_alive: Slides the session while the request runs.

    Attributes:
        failure: Why the store keeps the response from being sent, or None. Texts, because an
            error that is kept refers to the frames it passed, and they to this object.
        head_sent: The head of the response, with the cookie, has left.
    """

    __slots__ = (
        "_candidates", "_hooks", "_keep_alive", "_mapping", "_outcome", "_resolver", "_rules",
        "_scope", "_send", "failure", "head_sent", "session", "unloaded",
    )  # fmt: skip

    def __init__(
        self,
        rules: CommitRules,
        session: HttpSession,
        resolver: SessionIdResolver,
        candidates: list[str],
        send: Send | None,
        unloaded: str | None,
        scope: Scope,
        keep_alive: KeepAlive,
    ) -> None:
        self._rules = rules
        self._keep_alive = keep_alive
        keep_alive.running.add(self)
        self._scope = scope
        self._resolver = resolver
        self._candidates = candidates
        self._send: Any = send
        self._hooks: tuple[HeadHook, ...] = ()
        self._outcome: Outcome | None = None
        self.session = session
        self.unloaded = unloaded
        self.failure: str | None = None
        self.head_sent = False
        self._mapping: Any = SessionMapping(session)
        scope["session"] = self._mapping

    @property
    def has_ended(self) -> bool:
        """True if the last commit found that the session is not this client's any more."""
        return self._outcome in _FINAL

    def before_head(self, hook: HeadHook) -> None:
        """Have the hook called with the head of the response, before the session is committed."""
        self._hooks = (*self._hooks, hook)

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on; a head not before the session is committed."""
        if message["type"] != "http.response.start":
            sent: Awaitable[None] = self._send(message)
            return sent
        headers: list[Header] = list(message.get("headers") or ())
        # A copy: the application may send the same message to everybody.
        message = {**message, "headers": headers}
        session, rules = self.session, self._rules
        if (
            session.touched
            or self._hooks
            or self.failure is not None
            or self._scope.get("session") is not self._mapping
        ):
            return self.finish_head(message, self._send)
        if self._outcome is None:
            # What most requests come to, without a coroutine.
            if session.stored is not None:
                self._outcome = rules.repository.known_outcome(session)
            elif (
                session.why_transient is not None
                or not rules.create
                or not self.needs_session(headers)
            ):
                self._outcome = Outcome.UNSAVED
            if self._outcome is None:
                return self.finish_head(message, self._send)
        self._write_head(headers)
        sent = self._send(message)
        return sent  # noqa: RET504 - typed

    async def finish_head(self, head: Message, send: Send | None = None) -> None:
        """Run the hooks, commit, write the cookie and the cache headers onto the head, send it.

        A store's failure stops the head, unless the response is an error already.
        """
        if self._hooks:
            await self._run_hooks(head)
        self.follow()
        headers = head["headers"]
        if self._outcome is None or self.failure is not None or self.session.touched:
            # The head of an accepted WebSocket has no status.
            failed_anyway = head.get("status", 101) >= 500
            if self.failure is None:
                try:
                    await self.commit(create=self._rules.create and self.needs_session(headers))
                except SessionStoreError as error:
                    self.failure = str(error)
                    _logger.error("the session could not be saved: %s", error)  # noqa: TRY400
                    if not failed_anyway:
                        raise
            elif not failed_anyway:
                raise SessionStoreError(self.failure)
        self._write_head(headers)
        if self.session.own_lifetime is not None:
            # It may be new, and shorter than what is left of the response.
            self._keep_alive.start(self.session.max_inactive_interval)
        if send is not None:
            await send(head)

    def follow(self) -> None:
        """Do to the session what the application did by putting something else in its place."""
        put = self._scope.get("session")
        if put is not self._mapping:
            self._mapping = put
            take_over(self.session, put, self._scope)

    def needs_session(self, headers: list[Header]) -> bool:
        """Return whether a visitor without a session may get one with these headers.

        Not with what is the same for everybody: a file, unless somebody looked at the session, and
        what shared caches may keep.
        """
        for given, value in headers:
            name = given.lower()
            if name == b"cache-control" and _is_shared(value):
                return False
            if name in (b"etag", b"last-modified") and not self.session.accessed:
                return False
        return True

    async def _run_hooks(self, head: Message) -> None:
        for hook in reversed(self._hooks):
            await hook(head)

    async def send_as_it_is(self, message: Message) -> None:
        """Pass a message on, a head through the hooks, without the session."""
        if message["type"].endswith(".start"):
            message = {**message, "headers": list(message.get("headers") or ())}
            await self._run_hooks(message)
        await self._send(message)

    async def commit(self, *, create: bool) -> None:
        """Commit the session; once it has ended, there is nothing more to do."""
        session, repository = self.session, self._rules.repository
        if session.why_transient is not None:
            if session.invalidated and self.unloaded is not None:
                # Whoever has the id is still logged in, so the logout has failed.
                raise SessionStoreError(self.unloaded)
            if session.invalidated:
                # A logout wins, whatever id the session goes on under.
                await repository.commit(session)
            self._outcome = Outcome.UNSAVED
            return
        if self._outcome in _FINAL:
            return
        try:
            self._outcome = await repository.commit(session, create=create)
        except SessionStoreError as error:
            if not self._rules.tolerant or session.stored is not None or session.has_login:
                raise
            # Nothing that existed is lost: the visitor stays without a session.
            _logger.warning("a new session is not saved: %s", error)
            session.why_transient = "unavailable"
            repository.counts["transient"] += 1
            self._outcome = Outcome.UNSAVED

    async def finish(self) -> None:
        """Commit what changed since the head has left, when the response has ended.

        Raises:
            SessionStoreError: The store failed.
        """
        session = self.session
        if self.failure is not None and not self.head_sent:
            raise SessionStoreError(self.failure)
        if self.failure is not None or not self.head_sent:
            await self.commit_unheard()
        elif session.touched and (session.invalidated or session.pending):
            await self.commit(create=False)

    async def commit_unheard(self) -> None:
        """Commit what needs no answer that the browser gets; never raises.

        An id that the browser will never hear of is dropped, with all that was written under
        it: a new session is not stored, and the former id of a rotated one stays as it was.
        """
        session = self.session
        try:
            # What the store was asked for already, in a request that was cancelled, is finished.
            await self._rules.repository.settle(session)
            unheard = (session.rotated or session.stored is None) and not session.invalidated
            if unheard or session.registrations or session.settle_login is not None:
                # Perhaps a login that was interrupted when it had its place, and no more.
                await self._rules.repository.release(session)
            if not unheard and (session.pending or session.invalidated):
                await self.commit(create=False)
        except Exception:
            # Something else is on its way already, which nothing may mask.
            _logger.exception("the session could not be saved at the end of a failed request")

    def abandon(self) -> None:
        """Finish without the request, which was cancelled."""
        self._rules.repository.finish_later(self.commit_unheard())

    async def discard(self) -> None:
        """Store nothing of this request."""
        await self._rules.repository.release(self.session)
        self._outcome = Outcome.DROPPED

    def close(self, outer: HeadHooks | None) -> None:
        """Refuse what comes after the end of the request.

        Args:
            outer: Sends the head of another response, if that which we saw did not get out.
        """
        self.slide_no_more()
        if outer is not None and not outer.head_sent:
            # What we wrote on a head that was lost has to be written on the next one again.
            outer.before_head(self.finish_head if self.head_sent else self._run_hooks)
        else:
            self._hooks = ()
        self.session.write_refusal = self.session.write_refusal or _OVER

    def slide_no_more(self) -> None:
        """Keep the session alive no longer by the mere time that passes."""
        self._keep_alive.running.discard(self)

    def slide_later(self) -> None:
        """Extend the session of a long request in the background."""
        if self.session.stored is not None and self.session.slides:
            self._rules.repository.finish_later(self._slide())

    async def _slide(self) -> None:
        try:
            await self._rules.repository.keep_alive(self.session, slide=True)
        except SessionStoreError as error:
            _logger.warning("the session of a long request was not kept alive: %s", error)

    def write_onto(self, response: Any) -> None:
        """Write id and cache headers onto a response object that was not sent yet.

        Nothing can be saved after that, so the session refuses what comes later.
        """
        late = (
            "the session was saved when the response left SessionFilter.do_filter; only in a"
            " WebFilterChainMiddleware can it be changed while a body streams or in the background"
        )
        self.session.write_refusal = late
        resolver = kept_by(self._resolver, self.session.own_lifetime)
        headers = raw_headers_of(response)
        before = list(headers)
        self._write_headers(headers)
        if headers is getattr(response, "raw_headers", None):
            return
        theirs = getattr(response, "headers", {})
        for name, value in headers:
            if name == b"set-cookie" and isinstance(resolver, SessionCookie):
                self._set_cookie_of(response, resolver)
            elif (name, value) not in before:
                # However the response spells it.
                known = (each for each in theirs if each.lower() == name.decode())
                theirs[next(known, name.decode())] = value.decode()

    def _set_cookie_of(self, response: Any, cookie: SessionCookie) -> None:
        """Give a response the cookie by its own methods, or have it deleted."""
        if self._outcome not in _LIVE:
            response.delete_cookie(key=cookie.name, **cookie.attributes)
            return
        seconds = self._rules.repository.seconds_to_live(self.session)
        response.set_cookie(
            key=cookie.name,
            value=self.session.current_id,
            max_age=seconds if cookie.persistent else None,
            **cookie.attributes,
        )

    def _write_head(self, headers: list[Header]) -> None:
        """Write what follows from the outcome; the head leaves now."""
        self.head_sent = True
        session = self.session
        session.rotation_refusal = _NO_NEW_ID
        if session.stored is None and session.why_transient is None:
            session.write_refusal = _NO_NEW_SESSION
        if self.failure is None:
            self._write_headers(headers)

    def _header(self) -> Header | None:
        """Return what gives the client its id, or takes it back."""
        outcome = self._outcome
        if outcome in _LIVE:
            session, rules = self.session, self._rules
            max_age = rules.max_age
            if not session.slides and session.id_is_known:
                return None
            resolver, own = self._resolver, session.own_lifetime
            if max_age is None or own is not None:
                max_age = rules.repository.seconds_to_live(session)
                resolver = kept_by(resolver, own)
            return resolver.issue(session.current_id, max_age, known=session.id_is_known)
        if outcome is Outcome.ENDED and self._candidates:
            return self._resolver.expire()
        return None

    def _write_headers(  # noqa: C901 - a decision each
        self, headers: list[Header]
    ) -> None:
        header = self._header()
        if header is None and not self.session.accessed:
            return
        vary, is_file = None, False
        cached: list[Header] = []
        for given in headers:
            length = len(given[0])
            if length == _VARY_LENGTH:
                if given[0].lower() == b"vary":
                    vary = vary or given
                elif given[0].lower() == b"etag":
                    is_file = True
            elif length == _CACHE_LENGTH:
                if given[0].lower() == b"cache-control":
                    cached.append(given)
                elif given[0].lower() == b"last-modified":
                    is_file = True
        if is_file and self._outcome is Outcome.UNTOUCHED and not self.session.accessed:
            # The browser may keep the file, and the cookie it has.
            return
        if cached and header is not None and any(_is_shared(value) for _, value in cached):
            if self._outcome is Outcome.UNTOUCHED:
                # A cache gives this response to others, and the id would go with it.
                header = None
            else:
                _logger.warning(
                    "a response to be kept by shared caches carries the session's id, so its"
                    " Cache-Control (%s) has become no-store; leave 'public' and 's-maxage' away"
                    " where a session begins, gets a new id or ends",
                    b", ".join(value for _, value in cached).decode("latin-1"),
                )
                for each in cached:
                    headers.remove(each)
                cached = []
        if header is not None:
            headers.append(header)
            if not cached:
                headers.append(_NO_STORE)
            elif not any(_is_kept_back(value) for _, value in cached):
                # The browser may keep it as before; a cache that others ask, too, may not.
                name, value = cached[0]
                headers[headers.index(cached[0])] = name, value + b", private"
        elif not self.session.accessed:
            return
        if vary is None:
            headers.append(self._rules.vary)
        else:
            headers[headers.index(vary)] = _vary_also(vary, self._rules.vary[1])


class KeepAlive:
    """Slides the sessions of requests that take longer than a third of their idle time.

    One timer for all requests of an event loop, and none while there are none.

    Args:
        loop: The event loop of its requests.
        idle: Idle time of most sessions in seconds.

    Attributes:
        running: The commits of the requests that are under way.
    """

    __slots__ = ("_common", "_every", "loop", "running", "timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, idle: float) -> None:
        self.loop = loop
        self.running: set[ResponseCommit] = set()
        self.timer: asyncio.TimerHandle | None = None
        self._every = self._common = idle / 3

    def start(self, idle: int | None) -> None:
        """Look for the first time after a third of the idle time, if that is sooner."""
        if idle is not None and idle / 3 < self._every:
            self._every = idle / 3
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None
        if self.timer is None:
            self.timer = self.loop.call_later(self._every, self._look)

    def _look(self) -> None:
        self.timer, self._every = None, self._common
        for commit in self.running:
            commit.slide_later()
        if self.running:
            own = (commit.session.max_inactive_interval for commit in self.running)
            self.start(min(filter(None, own), default=None))


def kept_by(resolver: SessionIdResolver, own: Lifetime | None) -> SessionIdResolver:
    """Return the resolver whose cookie a browser keeps as a session of its own lifetime wants."""
    if own is None or own.persistent is None or not hasattr(resolver, "kept"):
        return resolver
    kept: SessionIdResolver = resolver.kept(own.persistent)
    return kept


def raw_headers_of(response: Any) -> list[Header]:
    """Return the headers of a response, be it none of Starlette's: then a copy of them."""
    raw = getattr(response, "raw_headers", None)
    if isinstance(raw, list):
        return raw
    given = getattr(response, "headers", None) or {}
    return [(name.lower().encode(), str(value).encode()) for name, value in given.items()]


def _vary_also(header: Header, vary: bytes) -> Header:
    """Add these request headers to what caches know that the response depends on."""
    name, value = header
    present = {each.strip().lower() for each in value.split(b",")}
    for each in () if b"*" in present else vary.split(b", "):
        if each.lower() not in present:
            value += b", " + each
    return name, value
