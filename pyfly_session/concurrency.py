"""How many sessions a principal may have at once, and who has to go.

Names and meaning are those of the original, and of Spring Security's ``maximumSessions``.
The check is one atomic step of the registry, so it holds for logins at the same moment in
any number of processes.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pyfly_session.core.principals.own_registry import Place
from pyfly_session.core.principals.records import SessionRegistration

__all__ = [
    "ConcurrencyControlPolicy",
    "LimitingRegistry",
    "SessionConcurrencyController",
    "SessionRegistration",
    "SessionRegistry",
]

_logger = logging.getLogger(__name__)
_STRATEGIES = ("evict-oldest", "reject-new")

LimitOf = Callable[[str], int | Awaitable[int | None] | None]


@runtime_checkable
class SessionRegistry(Protocol):
    """Knows the live sessions of each principal, as the original's does.

    It is told when sessions are stored or ended: of logins, of each change of id, and of every
    end, whoever ends them; of those that expired at the next login of their user. With these four
    methods alone logins that meet may all be refused, or end more than have to make room; no limit
    is exceeded. `LimitingRegistry` has what prevents that.
    """

    async def register(self, principal: str, session_id: str, created_at: float) -> None:
        """Note a session of the principal.

        Args:
            principal: Whose it is.
            session_id: Its id.
            created_at: Unix time of the login; a moment after the latest login that is listed,
                if that is later, so that the new session is the last to make room.
        """
        ...

    async def deregister(self, principal: str, session_id: str) -> None:
        """Strike out a session that has ended."""
        ...

    async def list_sessions(self, principal: str) -> list[tuple[str, float]]:
        """Return id and time of login of each live session, oldest login first."""
        ...

    async def count(self, principal: str) -> int:
        """Return how many live sessions there are."""
        ...


@runtime_checkable
class LimitingRegistry(SessionRegistry, Protocol):
    """A registry that counts and registers in one step, so that a limit holds in every race."""

    async def register_limited(
        self,
        principal: str,
        session_id: str,
        created_at: float,
        *,
        max_sessions: int,
        evict_oldest: bool,
        replaces: Collection[str] = (),
    ) -> SessionRegistration:
        """Note a session if the others leave room, in one atomic step.

        With ``evict_oldest`` those with the oldest logins make room, as many as needed; never
        the new one, though its login may have begun before theirs.
        Sessions in ``replaces`` are what the new one was before and take no room.
        """
        ...


@dataclass(frozen=True, slots=True)
class ConcurrencyControlPolicy:
    """How many sessions, and what happens to one too many.

    Args:
        max_sessions: The most live sessions of one principal; -1 for no limit.
        strategy: ``evict-oldest`` ends the session with the oldest login, ``reject-new``
            refuses the new login.
        limit_of: Returns the limit of one principal, None for ``max_sessions``; a function,
            or a coroutine function.

    Raises:
        ValueError: A value is not allowed.
    """

    max_sessions: int = -1
    strategy: str = "evict-oldest"
    limit_of: LimitOf | None = None

    def __post_init__(self) -> None:
        _require_limit(self.max_sessions, "max_sessions")
        if self.strategy not in _STRATEGIES:
            raise ValueError(f"strategy must be one of {_STRATEGIES}, got {self.strategy!r}")

    async def limit_for(self, principal: str) -> int:
        """Return the limit that holds for the principal; -1 for none."""
        if self.limit_of is None:
            return self.max_sessions
        limit = self.limit_of(principal)
        if inspect.isawaitable(limit):
            limit = await limit
        if limit is None:
            return self.max_sessions
        _require_limit(limit, "what limit_of returns")
        return limit


class SessionConcurrencyController:
    """Holds every login to the policy. Shared by all requests.

    `pyfly_session.security.login` asks it; other ways to log in should go through that.

    Args:
        registry: Knows who has which sessions.
        policy: How many there may be.
        session_deleter: Ends an evicted session, where the registry does not do that itself.
    """

    def __init__(
        self,
        registry: SessionRegistry,
        policy: ConcurrencyControlPolicy,
        *,
        session_deleter: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        self.registry = registry
        self.policy = policy
        self._delete = session_deleter

    async def on_login(
        self,
        principal: str,
        session_id: str,
        created_at: float,
        *,
        replaces: Collection[str] = (),
    ) -> bool:
        """Register a session that is logging in; False if the policy refuses it.

        Args:
            principal: Who logs in.
            session_id: The id that the session is about to have.
            created_at: Unix time of the login, in seconds.
            replaces: The ids that this session had, so that logging in again in the same
                browser takes no second place.
        """
        place = await self.place_for(principal, session_id, created_at, replaces=replaces)
        accepted = await place.take()
        if accepted:
            await place(True)
        return accepted

    async def place_for(
        self,
        principal: str,
        session_id: str,
        created_at: float,
        *,
        replaces: Collection[str] = (),
    ) -> Place:
        """Return the place of a session that is logging in, which it does not take yet.

        Called with whether the login was stored, it ends those that make room, or strikes the
        session out again, which a later call with True undoes if there is still room.
        """
        return _LoginPlace(
            self.registry,
            principal,
            session_id,
            created_at,
            replaces,
            max_sessions=await self.policy.limit_for(principal),
            evict_oldest=self.policy.strategy == "evict-oldest",
            end=self._delete,
        )

    async def on_logout(self, principal: str, session_id: str) -> None:
        """Strike out a session that was logged out."""
        await self.registry.deregister(principal, session_id)


class _LoginPlace(Place):
    """The place of one login, for which others may have to make room."""

    def __init__(
        self,
        registry: SessionRegistry,
        principal: str,
        session_id: str,
        created_at: float,
        replaces: Collection[str],
        *,
        max_sessions: int,
        evict_oldest: bool,
        end: Callable[[str], Awaitable[object]] | None,
    ) -> None:
        super().__init__(registry, principal, session_id, created_at)
        self._replaces = replaces
        self._limit = max_sessions
        self._evict_oldest = evict_oldest
        self._end = end
        self._counts_itself = isinstance(registry, LimitingRegistry)
        # Those that were here before, and those that make room.
        self._earlier: dict[str, float] = {}
        self._evicted: list[str] = []
        self._is_contested = False

    async def take(self) -> bool:
        """Register the session, and end nobody's yet; False if there is no room."""
        registry, principal = self._registry, self.principal
        if isinstance(registry, LimitingRegistry):
            done = await registry.register_limited(
                principal,
                self.session_id,
                self._created_at,
                max_sessions=self._limit,
                evict_oldest=self._evict_oldest,
                replaces=self._replaces,
            )
            self.is_taken, self._evicted = done.accepted, list(done.evicted)
            return self._noted()
        # Later than all that are listed: they were counted without this one.
        self._earlier = dict(await registry.list_sessions(principal))
        self._created_at = max((self._created_at, *(at + 0.001 for at in self._earlier.values())))
        await registry.register(principal, self.session_id, self._created_at)
        # Counted after that, so that of two that meet one sees the other at least.
        self._evicted = await self._surplus()
        self._is_contested = self.session_id in self._evicted
        self.is_taken = self._evict_oldest or not self._evicted
        if not self.is_taken:
            await registry.deregister(principal, self.session_id)
        return self._noted()

    def _noted(self) -> bool:
        if not self.is_taken:
            _logger.info("a login was refused: its user has %d sessions already", self._limit)
        return self.is_taken

    async def __call__(self, stored: bool) -> None:
        """End those that make room, or give the place back; that can be undone."""
        if not stored:
            await super().__call__(False)
            return
        ended = [self.session_id]
        # If not, it is stored at a second attempt; is there room?
        if self.is_taken or await self.take():
            ended = self._evicted if self._counts_itself else await self._strike_out()
        for each in ended if self._end is not None else ():
            try:
                await self._end(each)  # type: ignore[misc]
            except Exception:
                # It lives still, so the next login is to find it, before any other.
                _logger.exception("a session that had to make room could not be ended")
                await self._registry.register(self.principal, each, self._earlier.get(each, 0.0))

    async def _strike_out(self) -> list[str]:
        """Strike out those that make room, and return them; the session itself may be one."""
        if self._is_contested:
            # Another login came in between. If it was stored already, it did not see this one.
            self._evicted = await self._surplus()
        # Before they are ended: one that is not stored yet sees that when it is.
        for each in (*self._evicted, *self._replaces):
            await self._registry.deregister(self.principal, each)
        left = dict(await self._registry.list_sessions(self.principal))
        return [*dict.fromkeys((*self._evicted, *({self.session_id} - left.keys())))]

    async def _surplus(self) -> list[str]:
        """Return the sessions that are too many, oldest login first."""
        listed = await self._registry.list_sessions(self.principal)
        # First those that were here before; those that meet are in the same order for all.
        live = sorted(
            (each == self.session_id or each not in self._earlier, at, each)
            for each, at in listed
            if each not in self._replaces
        )
        return [] if self._limit == -1 else [each for *_, each in live[: -self._limit]]


def _require_limit(limit: object, what: str) -> None:
    if type(limit) is not int or not (limit == -1 or limit >= 1):
        raise ValueError(f"{what} must be -1, for no limit, or at least 1, got {limit!r}")
