"""``pyfly-session sessions``: see and end the sessions of a user."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pyfly_session.cli.common import (
    NOTHING,
    configured,
    load_container,
    print_json,
    print_table,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from pyfly_session.cli.lookup import Lookup

T = TypeVar("T")

_LABELS = {
    "handle": "Handle",
    "principal": "User",
    "logged_in_at": "Logged in",
    "last_accessed": "Last written",
    "created_at": "Created",
    "id": "Id",
}
_WAITING_SECONDS = 1.0


def _not_empty(ctx: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if value == "":
        raise click.BadParameter("a name is not empty", ctx, option)
    return value


_PRINCIPAL = click.option(
    "--principal",
    metavar="NAME",
    callback=_not_empty,
    help="Whose session it is; then a part of its handle is enough.",
)


@click.group()
def sessions() -> None:
    """See and end the sessions of a user.

    Sessions are shown by a handle, a hash that opens nothing. It is the one of log lines.
    """


@sessions.command("list")
@configured
@click.option(
    "--principal", metavar="NAME", required=True, callback=_not_empty, help="Whose sessions."
)
@click.option("--full-ids", is_flag=True, help="Show the ids, too. Whoever has one is logged in.")
def list_command(
    directory: str, profiles: str | None, as_json: bool, principal: str, full_ids: bool
) -> None:
    """List the sessions of a user, the oldest login first."""

    async def work(lookup: Lookup) -> list[dict[str, str]]:
        found = await _waiting(lookup, lookup.of_principal(principal))
        return [each.summary(full_id=full_ids) for each in found]

    rows = _run(directory, profiles, work)
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(f"{principal} has no sessions.")
    else:
        columns = {name: label for name, label in _LABELS.items() if name in rows[0]}
        del columns["principal"]
        cells = ([row[name] for name in columns] for row in rows)
        print_table(cells, *columns.values())


@sessions.command()
@configured
@click.argument("session_id", metavar="ID")
@_PRINCIPAL
@click.option("--values", is_flag=True, help="Show what the attributes hold, not only their types.")
@click.option("--full-ids", is_flag=True, help="Show the id, too. Whoever has it is logged in.")
def show(
    directory: str,
    profiles: str | None,
    as_json: bool,
    session_id: str,
    principal: str | None,
    values: bool,
    full_ids: bool,
) -> None:
    """Show one session, by its id, by its handle and the user, or by - for a line of input."""
    given = _given(session_id)

    async def work(lookup: Lookup) -> dict[str, Any]:
        found = await _waiting(lookup, lookup.one(given, principal))
        return {**found.summary(full_id=full_ids), "attributes": found.contents(values=values)}

    session = _run(directory, profiles, work)
    if as_json:
        print_json(session)
        return
    attributes = session.pop("attributes")
    print_table((_LABELS[name], text or NOTHING) for name, text in session.items())
    if attributes:
        click.echo()
        rows = ((name, _text(value)) for name, value in attributes.items())
        print_table(rows, "Attribute", "Value" if values else "Type")


@sessions.command()
@configured
@click.argument("session_id", metavar="[ID]", required=False)
@_PRINCIPAL
@click.option("--yes", is_flag=True, help="Do not ask.")
def end(
    directory: str,
    profiles: str | None,
    as_json: bool,
    session_id: str | None,
    principal: str | None,
    yes: bool,
) -> None:
    """End one session, or all of a user if only --principal is given.

    ID is an id, a handle together with --principal, or - for a line of input. Whoever used
    the session is logged out with the next request.
    """
    if session_id is None and principal is None:
        raise click.UsageError("say which: an ID, --principal NAME, or both")
    if session_id == "-" and not yes:
        raise click.UsageError("an id from the input needs --yes, for nobody can be asked then")
    given = None if session_id is None else _given(session_id)

    async def work(lookup: Lookup) -> tuple[list[str], int]:
        if given is not None:
            found = await _waiting(lookup, lookup.one(given, principal))
            of = f" of {found.principal}" if found.principal else ""
            _confirm(f"End the session {found.handle}{of}?", yes=yes)
            if not await lookup.end(found):
                raise click.ClickException(f"the session {found.handle} has ended by itself")
            return [found.handle], 1
        assert principal is not None  # noqa: S101 - checked above, for mypy
        several = await _waiting(lookup, lookup.of_principal(principal))
        if several:
            number = f"{len(several)} sessions" if len(several) > 1 else "the session"
            _confirm(f"End {number} of {principal}?", yes=yes)
            say(f"Ending {number} of {principal} …")
        with _bar(len(several), hidden=as_json) as told:
            # Also if there seem to be none: a login may be under way.
            ended = await lookup.end_all_telling(principal, told)
        return [each.handle for each in several], ended

    handles, number = _run(directory, profiles, work)
    if as_json:
        print_json({"ended": number, "handles": handles})
    elif number:
        click.echo(f"Ended {number} {'session' if number == 1 else 'sessions'}.")
    else:
        click.echo(f"{principal} has no sessions.")


def _given(session_id: str) -> str:
    """Return the id that is meant; from the input it is in no list of processes."""
    if session_id == "-":
        session_id = sys.stdin.readline()
    return session_id.strip()


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True, err=True)


async def _waiting(lookup: Lookup, asked: Awaitable[T]) -> T:
    """Return what is asked for, and say what is waited for if that takes long."""
    said = asyncio.get_running_loop().call_later(
        _WAITING_SECONDS, say, f"Waiting for {lookup.place} …"
    )
    try:
        return await asked
    finally:
        said.cancel()


@contextmanager
def _bar(length: int, *, hidden: bool) -> Iterator[Callable[[], object]]:
    """Give what moves a bar by one, beside the output; there is one on a terminal only."""
    if hidden or length < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    with click.progressbar(length=length, file=sys.stderr) as bar:
        yield lambda: bar.update(1)


def _text(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _run(directory: str, profiles: str | None, work: Callable[[Lookup], Awaitable[Any]]) -> Any:
    from pyfly_session.cli.lookup import open_lookup

    container = load_container(directory, profiles)

    async def run() -> Any:
        async with open_lookup(container) as lookup:
            return await work(lookup)

    return asyncio.run(run())
