"""Who may write: what was loaded for one user never reaches a session that is another's by now."""

from __future__ import annotations

from functools import partial
from typing import Any

from pyfly_session.core.repository import Outcome, SessionRepository
from pyfly_session.core.session import HttpSession
from pyfly_session.ports import CompareAndSwap, Rename
from pyfly_session.testing.contract.intercepting_store import Interposed
from pyfly_session.testing.contract.reporting import expect, promised_by
from pyfly_session.testing.contract.sessions import (
    expect_attributes,
    expect_gone,
    repository_of,
    request,
    start,
)
from pyfly_session.testing.contract.store_fixtures import StoreHooks

_SAFE = (Rename, CompareAndSwap)
_WRITTEN = (Outcome.STORED, Outcome.MOVED)


async def _session_of(repository: SessionRepository, user: str | None) -> str:
    """Store a session of a user, or of a visitor, and return its id."""
    session_id = await start(repository, cart=[1])
    if user is not None:
        await _log_in(repository, await request(repository, session_id), user)
    return session_id


async def _log_in(
    repository: SessionRepository, session: HttpSession, user: str | None, *, rotate: bool = False
) -> None:
    """Have the session belong to a user from now on, as a login or a logout does."""
    session.authenticate(user)
    if rotate:
        session.rotate_id()
    expect(await repository.commit(session), Outcome.STORED, "the login")


class Identity(StoreHooks):
    """A slow request and the login of somebody else, in every order."""

    @promised_by("compare_and_swap", "rename", "get", "save")
    async def test_a_late_write_never_reaches_the_session_of_the_next_user(
        self, store: Any
    ) -> None:
        """A request that was loaded for one user writes nothing into the session of another."""
        for user, rotate in (("bob", False), ("bob", True), (None, False), (None, True)):
            repository, elsewhere = repository_of(store), repository_of(store)
            former = await _session_of(repository, "alice")
            slow, login = await request(repository, former), await request(elsewhere, former)
            await _log_in(elsewhere, login, user, rotate=rotate)
            slow.set_attribute("statement", "of alice")
            slow.remove_attribute("cart")

            outcome = await repository.commit(slow)
            expect(outcome in _WRITTEN, False, "the slow commit says that it was stored")
            await expect_attributes(store, login.id, cart=[1])

    @promised_by("rename", "compare_and_swap", "get", "save")
    async def test_a_late_change_of_id_does_not_take_the_session_of_the_next_user(
        self, store: Any
    ) -> None:
        """A request that was loaded for one user does not give another's session a new id."""
        repository, elsewhere = repository_of(store), repository_of(store)
        former = await _session_of(repository, "alice")
        slow, login = await request(repository, former), await request(elsewhere, former)
        await _log_in(elsewhere, login, "bob")
        slow.rotate_id()
        wanted = slow.id

        outcome = await repository.commit(slow)
        expect(outcome in _WRITTEN, False, "the slow commit says that it was stored")
        expect(await store.exists(login.id), True, "exists, the next user's session")
        await expect_gone(store, wanted, "the id that the slow request wanted")

    @promised_by("compare_and_swap", "rename", needs=_SAFE)
    async def test_a_write_that_a_login_overtakes_does_not_reach_the_next_user(
        self, store: Any
    ) -> None:
        """A write that the login of somebody else overtakes does not reach their session."""
        for rotate in (False, True):
            between = Interposed(store)
            repository, elsewhere = repository_of(between), repository_of(store)
            former = await _session_of(repository, "alice")
            slow, login = await request(repository, former), await request(elsewhere, former)
            slow.set_attribute("statement", "of alice")
            log_in = partial(_log_in, elsewhere, login, "bob", rotate=rotate)
            between.before("compare_and_swap", log_in)

            outcome = await repository.commit(slow)
            expect(outcome in _WRITTEN, False, "the slow commit says that it was stored")
            await expect_attributes(store, login.id, cart=[1])

    @promised_by("compare_and_swap", "rename", needs=_SAFE)
    async def test_what_a_visitor_does_while_logging_in_is_kept(self, store: Any) -> None:
        """A late write of a visitor, or of the same user, follows the login."""
        for user in (None, "alice"):
            repository, elsewhere = repository_of(store), repository_of(store)
            former = await _session_of(repository, user)
            slow, login = await request(repository, former), await request(elsewhere, former)
            await _log_in(elsewhere, login, "alice", rotate=True)
            slow.set_attribute("cart", [1, 2])

            expect(await repository.commit(slow), Outcome.MOVED, "the slow commit")
            await expect_attributes(store, login.id, cart=[1, 2])
