"""Who has which sessions: find, list and end them by principal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyfly_session.core.metadata import principal_names
from pyfly_session.core.principals.principal_index import PrincipalIndex, SessionRegistration
from pyfly_session.core.principals.records import ENDING, Entries, PrincipalSession
from pyfly_session.core.session import HttpSession

__all__ = ["PrincipalSession", "PrincipalSessions", "SessionRegistration"]


class PrincipalSessions(PrincipalIndex):
    """The sessions of each principal. Shared by all requests, in any number of event loops.

    A bean of the container, ``principal_sessions``. What is in the records is written by the
    commits of the sessions.
    """

    async def find_by_principal(self, principal: str) -> list[PrincipalSession]:
        """Return the live sessions of a principal, oldest login first. No access to any of them.

        Raises:
            SessionStoreError: The backend failed.
        """
        found: Mapping[str, PrincipalSession] = {}
        marked = False

        async def without_dead(entries: Entries) -> Entries:
            nonlocal found, marked
            marked = any(entry.state == ENDING for entry in entries.values())
            live = {name: entry for name, entry in entries.items() if entry.state != ENDING}
            found = await self._resolve(principal, live)
            # If one got a new id meanwhile, the record has changed, and all is looked at again.
            return {
                name: entry
                for name, entry in entries.items()
                if name in found or entry.state == ENDING or self._is_pending(entry)
            }

        await self._records.change(principal, without_dead)
        if marked:
            await self._finish(principal, "ended")
        sessions = {each.session_id: each for each in found.values()}
        return sorted(sessions.values(), key=lambda each: each.logged_in_at)

    async def end(self, session_id: str, *, reason: str = "ended") -> bool:
        """End one session, wherever it was moved; False if there is none.

        Raises:
            SessionStoreError: The backend failed.
        """
        data = await self._end(session_id, reason)
        if data is None:
            return False
        for name in principal_names(data):
            await self.deregister(name, session_id)
        return True

    async def end_all(
        self,
        principal: str,
        *,
        keep: HttpSession | str | None = None,
        reason: str = "ended",
        told: Callable[[], object] | None = None,
    ) -> int:
        """End every session of a principal, logins that are under way included.

        Args:
            principal: Whose sessions.
            keep: One that goes on, the current one for example.
            reason: What `pyfly_session.security.why_ended` tells.
            told: Called for each that was ended, to show how far it is.

        Returns:
            How many there were.

        Raises:
            SessionStoreError: The backend failed; some sessions may be left.
        """
        if isinstance(keep, HttpSession):
            kept = {self._key(each) for each in (keep._id, keep._stored_id) if each}
        else:
            kept = {self._key(keep)} if keep else set()
        live: Mapping[str, PrincipalSession] = {}

        async def all_ending(entries: Entries) -> Entries:
            nonlocal live
            chosen = {
                name: entry
                for name, entry in entries.items()
                if name not in kept and entry.former not in kept
            }
            live = await self._resolve(principal, chosen)
            return entries | {name: entry._replace(state=ENDING) for name, entry in chosen.items()}

        await self._records.change(principal, all_ending)
        await self._finish(principal, reason, told or bool)
        return len({each.session_id for each in live.values()})

    async def list_sessions(self, principal: str) -> list[tuple[str, float]]:
        """Return id and time of login of each live session, oldest login first."""
        found = await self.find_by_principal(principal)
        return [(each.session_id, each.logged_in_at) for each in found]

    async def count(self, principal: str) -> int:
        """Return how many live sessions there are."""
        return len(await self.find_by_principal(principal))
