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

    With these four methods alone logins that meet may all be refused; `LimitingRegistry` has
    what prevents that.
    """

    async def register(self, principal: str, session_id: str, created_at: float) -> None:
        """Note a session of the principal; ``created_at`` is the Unix time of the login."""
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

        With ``evict_oldest`` those with the oldest logins make room, as many as needed.
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
        settle = await self.admit(principal, session_id, created_at, replaces=replaces)
        if settle is not None:
            await settle(True)
        return settle is not None

    async def admit(
        self,
        principal: str,
        session_id: str,
        created_at: float,
        *,
        replaces: Collection[str] = (),
    ) -> Callable[[bool], Awaitable[None]] | None:
        """Register a session that is logging in, and end nobody's yet.

        Returns:
            To be called with whether the login was stored: ends those that make room, or strikes
            the session out again, which a later call with True undoes if there is still room.
            None if the policy refuses the login.
        """
        limit = await self.policy.limit_for(principal)
        evict_oldest = self.policy.strategy == "evict-oldest"
        register_limited = getattr(self.registry, "register_limited", None)
        struck: Collection[str] = ()
        if register_limited is not None:
            done = await register_limited(
                principal,
                session_id,
                created_at,
                max_sessions=limit,
                evict_oldest=evict_oldest,
                replaces=replaces,
            )
        else:
            await self.registry.register(principal, session_id, created_at)
            # After that, so that of two that meet one sees the other at least.
            done = await self._count(principal, session_id, limit, evict_oldest, replaces)
            struck = (*done.evicted, *replaces)
        if not done.accepted:
            _logger.info("a login was refused: its user has %d sessions already", limit)
            return None

        is_noted = True

        async def settle(stored: bool) -> None:
            nonlocal is_noted
            if not stored:
                is_noted = False
                await self.registry.deregister(principal, session_id)
                return
            if not is_noted:
                # Stored at a second attempt, so this is the latest login; is there room?
                others = await self.registry.list_sessions(principal)
                latest = max((at for _, at in others), default=0) + 0.001
                now = max(created_at, latest)
                admitted = await self.on_login(principal, session_id, now, replaces=replaces)
                if not admitted and self._delete is not None:
                    await self._delete(session_id)
                return
            # First struck out: one that is not stored yet sees that when it is.
            for former in struck:
                await self.registry.deregister(principal, former)
            ended = list(done.evicted)
            if register_limited is None:
                listed = await self.registry.list_sessions(principal)
                ended += [] if session_id in dict(listed) else [session_id]
            for each in ended if self._delete is not None else ():
                await self._delete(each)  # type: ignore[misc]

        return settle

    async def _count(
        self,
        principal: str,
        session_id: str,
        limit: int,
        evict_oldest: bool,
        replaces: Collection[str],
    ) -> SessionRegistration:
        """Return what becomes of a session that is registered already."""
        listed = await self.registry.list_sessions(principal)
        live = sorted((at, each) for each, at in listed if each not in replaces)
        excess = 0 if limit == -1 else max(0, len(live) - limit)
        if excess and not evict_oldest:
            await self.registry.deregister(principal, session_id)
            return SessionRegistration(accepted=False)
        oldest = (each for _, each in live[:excess])
        return SessionRegistration(True, tuple(each for each in oldest if each != session_id))

    async def on_logout(self, principal: str, session_id: str) -> None:
        """Strike out a session that was logged out."""
        await self.registry.deregister(principal, session_id)


def _require_limit(limit: object, what: str) -> None:
    if type(limit) is not int or not (limit == -1 or limit >= 1):
        raise ValueError(f"{what} must be -1, for no limit, or at least 1, got {limit!r}")
