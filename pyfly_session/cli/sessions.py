"""``pyfly-session sessions``: see and end the sessions of a user."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pyfly_session.cli.common import (
    NOTHING,
    configured,
    load_container,
    operator,
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
    "login": "By",
    "last_used": "Last used",
    "last_accessed": "Last written",
    "ends_at": "Ends if not used",
    "size": "Bytes",
    "created_at": "Created",
    "address": "From",
    "browser": "Browser",
    "id": "Id",
}
_OF_ONE = ("handle", "principal", "logged_in_at", "login", "last_accessed", "created_at", "id")
_OF_ALL = ("principal", "handle", "last_used", "ends_at", "logged_in_at", "login", "size", "id")
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
@click.option("--principal", metavar="NAME", callback=_not_empty, help="Only those of this user.")
@click.option("--prefix", metavar="TEXT", help="Only those of users whose names begin so.")
@click.option("--visitors", is_flag=True, help="Those of visitors who are not logged in, too.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many."
)
@click.option("--full-ids", is_flag=True, help="Show the ids, too. Whoever has one is logged in.")
def list_command(
    directory: str,
    profiles: str | None,
    as_json: bool,
    principal: str | None,
    prefix: str | None,
    visitors: bool,
    limit: int,
    full_ids: bool,
) -> None:
    """List who is logged in, the session that was used last first.

    Looks at every session of the store, in steps that hold up nobody. With --principal it looks
    at those of one user alone, which takes no time, and lists the oldest login first.
    """
    if principal is not None and (prefix is not None or visitors):
        raise click.UsageError("--principal names one user; leave out --prefix and --visitors")

    async def of_one(lookup: Lookup) -> dict[str, Any]:
        found = await _waiting(lookup, lookup.of_principal(str(principal)))
        return {"sessions": [each.summary(full_id=full_ids) for each in found]}

    async def of_all(lookup: Lookup) -> dict[str, Any]:
        with _counting(lookup.place) as told:
            options = {"visitors": visitors, "size": limit, "told": told}
            page, found = await _waiting(lookup, lookup.listed(prefix or "", **options))
        return {
            "sessions": [each.summary(full_id=full_ids) for each in found],
            "matching": page.matching,
            "total": page.total,
            "logged_in": page.logged_in,
        }

    listed = _run(directory, profiles, of_all if principal is None else of_one)
    rows = listed["sessions"]
    if as_json:
        print_json(listed)
        return
    if rows:
        chosen = _OF_ALL if principal is None else [n for n in _OF_ONE if n != "principal"]
        columns = [name for name in chosen if any(row.get(name) for row in rows)]
        cells = ([row[name] or NOTHING for name in columns] for row in rows)
        print_table(cells, *(_LABELS[name] for name in columns))
    elif principal is not None:
        click.echo(f"{principal} has no sessions.")
    if principal is None:
        shown = f"{len(rows):,} of {listed['matching']:,}"
        total = f"{listed['total']:,} in all, {listed['logged_in']:,} of users who are logged in"
        click.echo(f"{shown} sessions; {total}.")


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
    # What was not looked at, or is not kept, has no line.
    shown = (each for each in session.items() if each[1] or each[0] in _OF_ONE)
    print_table((_LABELS[name], text or NOTHING) for name, text in shown)
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
            if not await lookup.end(found, by=operator()):
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
            ended = await lookup.end_all(principal, by=operator(), told=told)
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


@contextmanager
def _counting(place: str) -> Iterator[Callable[[int], object]]:
    """Give what says, beside the output and once a second, how many were looked at."""
    due = time.monotonic() + _WAITING_SECONDS

    def told(number: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due += _WAITING_SECONDS
            say(f"Looked at {number:,} sessions in {place} …")

    yield told


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
