"""How commands print: columns for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import click

from pyfly_session._masking import one_line

# What stands in a cell that is empty.
NOTHING = "-"


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: Iterable[Sequence[str]], *headings: str) -> None:
    """Print rows in columns as wide as their widest cell, below headings if there are any."""
    table = [list(headings)] if headings else []
    table += [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for index, row in enumerate(table):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        # click takes the style away where the output is no terminal.
        click.secho("  ".join(cells).rstrip(), bold=bool(headings) and index == 0)


def plain(value: object) -> str:
    """Return a value as YAML would have it: texts as they are, the rest as JSON."""
    if value is None:
        return NOTHING
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
