"""The sessions of an application under test, seen and changed from outside of its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, TypeVar

import httpx2

from pyfly_session.core.metadata import RESERVED_NAMES
from pyfly_session.core.repository import SessionRepository
from pyfly_session.core.session import HttpSession
from pyfly_session.security.context import SecurityContext
from pyfly_session.security.login import login, logout
from pyfly_session.testing.clock import Clock

T = TypeVar("T")


class ApplicationSessions:
    """What a test does to the sessions of an application, besides sending requests.

    Its methods do not have to be awaited, in a coroutine neither. Where they take ``whose``,
    that is a session id, or a client whose next request would belong to the session.

    Args:
        app: The application, with sessions.
        container: The container of its sessions.
        clock: What the container takes for the time.
    """

    def __init__(self, app: Any, container: Any, clock: Clock) -> None:
        self.app = app
        self.container = container
        self.clock = clock

    @property
    def base_url(self) -> str:
        """The URL that a client of the tests needs for the session cookie to come back."""
        cookie = self.container.properties().cookie
        host = (cookie.domain or "testserver").removeprefix(".")
        return f"{'https' if cookie.secure else 'http'}://{host}"

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def expire(self) -> None:
        """Let the idle time pass: whoever sends no request meanwhile has no session any more."""
        self.clock.advance(self.container.properties().ttl)

    def id_of(self, whose: Any) -> str | None:
        """Return the id that the client would send, whether or not there is such a session."""
        if isinstance(whose, str):
            return whose
        request = whose.build_request("GET", self.container.properties().cookie.path)
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        candidates = self._filter.resolver.candidates(headers)
        return next(iter(candidates), None)

    def read(self, whose: Any) -> dict[str, Any] | None:
        """Return the attributes as they are stored, or None if there is no session.

        Does not count as an access: the idle time goes on.
        """
        data = _result(self._read(self.id_of(whose)))
        if data is None:
            return None
        return {name: value for name, value in data.items() if name not in RESERVED_NAMES}

    def write(self, whose: Any, **attributes: Any) -> str:
        """Set attributes, as another request of the same visitor would.

        A client without a session gets one. Tests begin with a cart, or interfere.

        Returns:
            The id of the session.
        """

        async def change(request: Any) -> None:
            for name, value in attributes.items():
                request.state.session.set_attribute(name, value)

        return self._change(whose, change)

    def log_in(self, whose: Any, user: SecurityContext | str) -> str:
        """Log a user in, without a password, just as `pyfly_session.security.login` does.

        Args:
            whose: A client; it has a session under a new id afterwards.
            user: Who it is; a mere name is a user without roles.

        Returns:
            The id of the session.

        Raises:
            TooManySessionsError: The application limits the sessions of a user.
        """
        context = SecurityContext(user_id=user) if isinstance(user, str) else user

        async def change(request: Any) -> None:
            await login(request, context)

        return self._change(whose, change)

    def end(self, whose: Any) -> None:
        """End the session, as a logout in another request would; no cookie is removed."""

        self._change(whose, logout)

    @property
    def _filter(self) -> Any:
        return self.container.session_filter()

    async def _read(self, session_id: str | None) -> dict[str, Any] | None:
        if session_id is None:
            return None
        repository: SessionRepository = self._filter.repository
        return await repository.store.get(repository.capable_store.key_of(session_id))

    def _change(self, whose: Any, change: Callable[[Any], Awaitable[None]]) -> str:
        session_filter = self._filter
        repository: SessionRepository = session_filter.repository
        session_id = self.id_of(whose)

        async def request() -> HttpSession:
            session = None if session_id is None else await repository.load(session_id)
            if session is None and isinstance(whose, str):
                raise LookupError("there is no session with this id, or not any more")
            session = session or repository.create()
            state = SimpleNamespace(session=session, session_filter=session_filter)
            await change(SimpleNamespace(state=state))
            await repository.commit(session)
            return session

        session = _result(request())
        if not isinstance(whose, str) and not session.invalidated:
            self._give(whose, session.id)
        return session.id

    def _give(self, client: Any, session_id: str) -> None:
        """Let the client send this id, in the way that a response would have told it."""
        max_age = self.container.properties().ttl
        header = self._filter.resolver.issue(session_id, max_age, known=False)
        if header is None:
            return
        name, value = (part.decode() for part in header)
        if name == "set-cookie":
            path = self.container.properties().cookie.path
            request = httpx2.Request("GET", client.base_url.join(path))
            client.cookies.extract_cookies(
                httpx2.Response(200, headers=[(name, value)], request=request)
            )
        else:
            client.headers[name] = value


def _result(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, be there a running event loop or not."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
