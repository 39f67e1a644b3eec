"""One request's session between its attachment and its last commit."""

from __future__ import annotations

import logging
from typing import Any

from starlette.types import Message, Send

from pyfly_session.core.repository import Outcome, SessionRepository
from pyfly_session.core.session import HttpSession
from pyfly_session.errors import SessionStoreError
from pyfly_session.web.cookies import SessionCookie
from pyfly_session.web.session_id_resolver import Header, SessionIdResolver

_logger = logging.getLogger(__name__)
_SENT = "the head of the response has been sent, and the cookie with it"
_NO_NEW_SESSION = f"{_SENT}; a new session must be written to before that"
_NO_NEW_ID = f"{_SENT}; rotate_id() must be called before that"
# Tuples: they compare by identity first, and the hash of an enum is not free.
_LIVE = (Outcome.UNTOUCHED, Outcome.STORED)
_OVER = (Outcome.GONE, Outcome.ENDED)


class ExchangeRules:
    """What holds for every exchange of one filter.

    Args:
        repository: Commits the sessions.
        vary: The request headers that may have told an id.
        create: Store a new session although nothing was written to it.
        tolerant: Go on without the session if it cannot be loaded, or a new one not stored.
    """

    __slots__ = ("create", "repository", "tolerant", "vary")

    def __init__(
        self, repository: SessionRepository, *, vary: bytes, create: bool, tolerant: bool
    ) -> None:
        self.repository = repository
        self.vary = (b"vary", vary)
        self.create = create
        self.tolerant = tolerant


class Exchange:
    """Commits one request's session and writes what follows from it onto the response.

    Args:
        rules: Those of its filter.
        session: The session, as it was attached to the request.
        resolver: Tells the client its id.
        unloaded: Why the request goes on without its session, or None.

    Attributes:
        failure: Why the store keeps the response from being sent, or None. Texts, because an
            error that is kept refers to the frames it passed, and they to this object.
        head_sent: The head of the response, with the cookie, has left.
    """

    __slots__ = (
        "_outcome",
        "_repository",
        "_resolver",
        "_rules",
        "failure",
        "head_sent",
        "session",
        "unloaded",
    )

    def __init__(
        self,
        rules: ExchangeRules,
        session: HttpSession,
        resolver: SessionIdResolver,
        unloaded: str | None = None,
    ) -> None:
        self.session = session
        self.unloaded = unloaded
        self.failure: str | None = None
        self.head_sent = False
        self._rules = rules
        self._repository = rules.repository
        self._resolver = resolver
        self._outcome: Outcome | None = None

    def settle(self) -> bool:
        """Take note of the outcome, if that needs neither the store nor any encoding."""
        if self.failure is not None:
            return False
        if self._outcome is None and self.unloaded is None:
            self._outcome = self._repository.settled(self.session, create=self._rules.create)
        return self._outcome is not None

    async def finish_head(self, head: Message) -> None:
        """Commit, then write the cookie and the cache headers onto the head.

        A store's failure stops the head, unless the response is an error already.
        """
        if self.settle():
            self.write_head(head["headers"])
        else:
            await self.commit_head(head)

    async def commit_head(self, head: Message, send: Send | None = None) -> None:
        """Do that with what is not settled, and send the head."""
        failed_anyway = head.get("status", 101) >= 500
        if self.failure is None:
            try:
                await self.commit()
            except SessionStoreError as error:
                self.failure = str(error)
                _logger.error("the session could not be saved: %s", error)  # noqa: TRY400
                if not failed_anyway:
                    raise
        elif not failed_anyway:
            raise SessionStoreError(self.failure)
        self.write_head(head["headers"])
        if send is not None:
            await send(head)

    def write_head(self, headers: list[Header]) -> None:
        """Write what follows from the outcome; the head leaves now."""
        self.head_sent = True
        session = self.session
        kept = session._stored_id is not None or session._transient
        session.seal(writes=None if kept else _NO_NEW_SESSION, rotation=_NO_NEW_ID)
        if self.failure is None:
            self._write_headers(headers)

    async def commit(self) -> None:
        """Commit the session; once it has ended, there is nothing more to do."""
        if self.unloaded is not None and self.session.invalidated:
            # Whoever has the id is still logged in, so the logout has failed.
            raise SessionStoreError(self.unloaded)
        if self.session._transient:
            self._outcome = Outcome.UNSAVED
        if self._outcome in _OVER or self.session._transient:
            return
        try:
            self._outcome = await self._repository.commit(self.session, create=self._rules.create)
        except SessionStoreError as error:
            if not self._rules.tolerant or self.session.stored:
                raise
            # Nothing that existed is lost: the visitor stays without a session.
            _logger.warning("a new session is not saved: %s", error)
            self.session.make_transient()
            self._repository.counts["transient"] += 1
            self._outcome = Outcome.UNSAVED

    @property
    def is_unfinished(self) -> bool:
        """True if something is left to do for the session after the head has left."""
        session = self.session
        if self.failure is not None:
            return True
        return not session.untouched and (session._invalidated or session.pending)

    async def commit_late(self) -> None:
        """Save what changed after the head had left."""
        if self.failure is not None:
            await self.commit_unheard()
        else:
            await self.commit()

    async def commit_unheard(self) -> None:
        """Commit what needs no answer that tells the browser; never raises.

        An id that the browser will never hear of is dropped, with all that was written under
        it: a new session is not stored, and the former id of a rotated one stays as it was.
        """
        session = self.session
        try:
            if (session.rotated or not session.stored) and not session.invalidated:
                await self._repository.release(session)
                return
            if session.pending:
                await self.commit()
        except Exception:
            # Something else is on its way already, which nothing may mask.
            _logger.exception("the session could not be saved at the end of a failed request")

    def abandon(self) -> None:
        """Finish without the request, which was cancelled."""
        self._repository.finish_later(self.commit_unheard())

    def write_onto(self, response: Any) -> None:
        """Write id and cache headers onto a response object that was not sent yet.

        Nothing can be saved after that, so the session refuses what comes later.
        """
        late = (
            "the session was saved when the response left SessionFilter.do_filter; only in a"
            " WebFilterChainMiddleware can it be changed while a body streams or in the background"
        )
        self.session.seal(writes=late, rotation=late)
        cookie = self._resolver
        raw = getattr(response, "raw_headers", None)
        if isinstance(raw, list):
            self._write_headers(raw)
        elif not isinstance(cookie, SessionCookie):
            if (header := self._header()) is not None:
                name, value = header
                response.headers[name.decode()] = value.decode()
        elif self._outcome in _LIVE:
            response.set_cookie(
                key=cookie.name,
                value=self.session._id,
                max_age=self._repository.seconds_to_live(self.session)
                if cookie.persistent
                else None,
                **cookie.attributes,
            )
        elif self._outcome is Outcome.ENDED:
            response.delete_cookie(key=cookie.name, **cookie.attributes)

    def _header(self) -> Header | None:
        """Return what tells the client its id, or that there is none any more."""
        session, outcome = self.session, self._outcome
        if outcome in _LIVE:
            max_age = self._repository.seconds_to_live(session)
            known = not session._is_new and session._previous_id is None
            session_id: str = session._given_id  # type: ignore[assignment] # it is stored
            return self._resolver.issue(session_id, max_age, known=known)
        return self._resolver.expire() if outcome is Outcome.ENDED else None

    def _write_headers(self, headers: list[Header]) -> None:
        header = self._header()
        if header is None and not self.session._accessed:
            return
        vary = cached = None
        for given in headers:
            name = given[0].lower()
            if name == b"vary":
                vary = vary or given
            elif name == b"cache-control":
                cached = given
        if header is not None:
            headers.append(header)
            if cached is None:
                headers.append(_NO_STORE)
        if vary is None:
            headers.append(self._rules.vary)
        else:
            headers[headers.index(vary)] = _vary_also(vary, self._rules.vary[1])


_NO_STORE = (b"cache-control", b"no-store")


def _vary_also(header: Header, vary: bytes) -> Header:
    """Tell caches that the response depends on these headers, too."""
    name, value = header
    present = {each.strip().lower() for each in value.split(b",")}
    for each in () if b"*" in present else vary.split(b", "):
        if each.lower() not in present:
            value += b", " + each
    return name, value
