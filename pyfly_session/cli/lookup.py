"""The lookup of sessions on a command line: one session that is meant, or one sentence."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import AsyncIterator
from typing import Any

import click

from pyfly_session import ids
from pyfly_session.auto_configuration.application import close_clients
from pyfly_session.auto_configuration.store import choose_store
from pyfly_session.cli.common import UNREACHED, store_place
from pyfly_session.core.overview import SessionPage
from pyfly_session.management import session_lookup
from pyfly_session.management.session_lookup import SHORTEST_HANDLE, Found, is_handle, shortened

_LENGTH_OF_ID = 32


class Lookup(session_lookup.Lookup):
    """A lookup that says what to do when it finds nothing.

    Attributes:
        place: Where it looks, without credentials.
    """

    def __init__(self, container: Any) -> None:
        super().__init__(container)
        self.place = store_place(container.properties())

    async def listed(self, prefix: str, **options: Any) -> tuple[SessionPage, list[Found]]:
        """Return a page of all sessions.

        Raises:
            click.ClickException: The store cannot tell, or failed on the way.
        """
        told = await self.page(prefix, **options)
        if told is None:
            raise click.ClickException("this store cannot list its sessions; give --principal NAME")
        if told[0].problem:
            problem = told[0].problem.rstrip(".")
            raise click.ClickException(f"{problem}; {UNREACHED}")
        return told

    async def one(self, given: str, principal: str | None) -> Found:
        """Return the session that is meant.

        Raises:
            click.ClickException: There is none, or more than one.
        """
        if principal is None:
            return await self._by_id(given)
        several = await self.matching(given, principal)
        if not several and len(given.removeprefix("#")) < SHORTEST_HANDLE:
            raise click.ClickException(
                f"a handle needs at least its first {SHORTEST_HANDLE} characters, got {given!r}"
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

    async def _by_id(self, given: str) -> Found:
        if not ids.is_acceptable(given) and not is_handle(given):
            raise click.ClickException(
                f"an id consists of letters, digits and ._~-; {_perhaps_a_name(given)}"
            )
        found = await self.by_id(given)
        if found is None:
            if is_handle(given):
                raise click.ClickException(
                    f"there is no session {shortened(given)}; a handle needs --principal NAME"
                )
            raise click.ClickException(_perhaps_a_name(given))
        return found


def _perhaps_a_name(given: str) -> str:
    """Return what to give instead, if what was given may be the name of a user."""
    if len(given) >= _LENGTH_OF_ID and given.isalnum():
        # It may be an id that opens a session, and is not repeated.
        return f"there is no session {shortened(given)}"
    return f"there is no session of that id; for those of a user: --principal {shlex.quote(given)}"


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
    audit, beside = logging.getLogger("pyfly_session.audit"), logging.StreamHandler()
    beside.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    audit.addHandler(beside)
    audit.setLevel(logging.INFO)
    try:
        yield Lookup(container)
    finally:
        logger.setLevel(level)
        audit.removeHandler(beside)
        await container.session_repository().drain()
        await close_clients(container)
