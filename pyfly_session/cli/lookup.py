"""The lookup of sessions on a command line: one session that is meant, or one sentence."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import AsyncIterator, Callable
from typing import Any

import click

from pyfly_session import ids
from pyfly_session.auto_configuration.application import close_clients
from pyfly_session.auto_configuration.store import choose_store
from pyfly_session.cli.common import store_place
from pyfly_session.management import session_lookup
from pyfly_session.management.session_lookup import Found, is_handle, shortened

# As many as the lookup asks for.
_SHORTEST_HANDLE = 4


class Lookup(session_lookup.Lookup):
    """A lookup that says what to do when it finds nothing.

    Attributes:
        place: Where it looks, without credentials.
    """

    def __init__(self, container: Any) -> None:
        super().__init__(container)
        self.place = store_place(container.properties())

    async def one(self, given: str, principal: str | None) -> Found:
        """Return the session that is meant.

        Raises:
            click.ClickException: There is none, or more than one.
        """
        if principal is None:
            return await self._by_id(given)
        several = await self.matching(given, principal)
        if not several and len(given.removeprefix("#")) < _SHORTEST_HANDLE:
            raise click.ClickException(
                f"a handle needs at least its first {_SHORTEST_HANDLE} characters, got {given!r}"
            )
        if not several:
            raise click.ClickException(
                f"{principal} has no session {shortened(given)};"
                f" see: pyfly-session sessions list --principal {shlex.quote(principal)}"
            )
        if len(several) > 1:
            handles = ", ".join(each.handle for each in several)
            handle = given.removeprefix("#")
            raise click.ClickException(f"{handle} could be any of {handles}; give more of it")
        return several[0]

    async def end_all_telling(self, principal: str, told: Callable[[], object]) -> int:
        """End all sessions of a user, telling of each; return how many there were."""
        return int(await self._principals.end_all(principal, told=told))

    async def _by_id(self, given: str) -> Found:
        if not ids.is_acceptable(given) and not is_handle(given):
            raise click.ClickException("an id consists of letters, digits and ._~-")
        found = await self.by_id(given)
        if found is None:
            hint = "; a handle needs --principal NAME" if is_handle(given) else ""
            raise click.ClickException(f"there is no session {shortened(given)}{hint}")
        return found


@contextlib.asynccontextmanager
async def open_lookup(container: Any) -> AsyncIterator[Lookup]:
    """Give a lookup over the container's store, and close what it opened.

    Raises:
        click.ClickException: The sessions are in the memory of other processes.
    """
    kind, reason = choose_store(container.properties())
    if kind == "memory":
        raise click.ClickException(
            f"{reason}, so the sessions are in the memory of each process of the application, where"
            " this command cannot look; with pyfly.session.store: redis or sql it can"
            " (is another profile meant? see --profiles)"
        )
    # The types of the application are not known here, and come back as plain dictionaries.
    logger = logging.getLogger("pyfly_session.core.type_tags")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield Lookup(container)
    finally:
        logger.setLevel(level)
        await container.session_repository().drain()
        await close_clients(container)
