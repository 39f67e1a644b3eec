"""``pyfly-session config`` and ``conditions``: the effective values, the beans, and why each."""

from __future__ import annotations

import os
import re
from typing import Any

import click

from pyfly_session.cli.common import (
    configured,
    load_container,
    plain,
    print_json,
    print_table,
    say,
    say_missing,
)

_PLACEHOLDER = re.compile(r"(?<!\$)\$\{\s*([A-Za-z_][A-Za-z0-9_]*)")


@click.command()
@configured
@click.option("--all", "every", is_flag=True, help="Show the defaults, too.")
def config(directory: str, profiles: str | None, as_json: bool, every: bool) -> None:
    """Show the configuration and where each value came from.

    Shown are the properties that a file or an environment variable sets. Secrets are masked.
    """
    from pyfly_session.auto_configuration import create_container
    from pyfly_session.cli.doctor.findings import files_read, misplaced
    from pyfly_session.config import load_config
    from pyfly_session.management.reports import configuration

    say_missing(directory)
    loaded = load_config(directory, profiles)
    placeholders = _placeholders(directory, profiles)
    rows = [
        each | {"variables": placeholders.get((each["key"], each["origin"]), [])}
        for each in configuration(create_container(loaded))
        if every or each["key"] in loaded.origins
    ]
    files = files_read(directory, loaded)
    for key, origin in misplaced(loaded):
        say(f"{origin} has {key!r} at its top; did you mean it below 'pyfly:'?")
    if as_json:
        print_json({"profiles": list(loaded.profiles), "files": files, "properties": rows})
        return
    click.echo(f"Active profiles: {', '.join(loaded.profiles) or 'none'}\n")
    if not rows:
        click.echo(f"Files read: {', '.join(files) or 'none'}")
        click.echo("Nothing is set: every property has its default. --all shows them.")
        return
    cells = ((each["key"], plain(each["value"]), _place(each)) for each in rows)
    print_table(cells, "Property", "Value", "From")


def _place(row: dict[str, Any]) -> str:
    """Return where a value came from, with the variables that its placeholders name."""
    return " ".join((row["origin"], *(f"${{{name}}}" for name in row["variables"])))


def _placeholders(directory: str, profiles: str | None) -> dict[tuple[str, str | None], list[str]]:
    """Return the variables that each text of a file names, by its key and the file."""
    from pyfly_session.config.loader import read_sources

    tree, origins, _ = read_sources(directory, profiles, os.environ)
    found: dict[tuple[str, str | None], list[str]] = {}

    def look(value: object, key: str) -> None:
        if isinstance(value, dict):
            for name, child in value.items():
                look(child, f"{key}.{name}" if key else str(name))
        elif isinstance(value, list):
            for child in value:
                look(child, key)
        elif isinstance(value, str) and (names := _PLACEHOLDER.findall(value)):
            found.setdefault((key, origins.get(key)), []).extend(names)

    look(tree, "")
    return found


@click.command()
@configured
def conditions(directory: str, profiles: str | None, as_json: bool) -> None:
    """Show which bean the configuration chooses, and why.

    Beans that an application provides in its code are not known here; there,
    pyfly_session.auto_configuration.container_report tells the same of its
    container.
    """
    from dataclasses import asdict

    from pyfly_session.auto_configuration.conditions import conditions as explain

    rows = explain(load_container(directory, profiles))
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print_table(((row.bean, row.choice, row.reason) for row in rows), "Bean", "Choice", "Because")
