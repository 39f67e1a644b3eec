"""How commands print: columns for people, JSON for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

import click

from pyfly_session.config.masking import one_line

# Where a message of ours goes on with what to do about it.
_TO_DO = re.compile(
    r"\n|: (?=pip install )|; (?=(?:pip install|did you mean|allowed here|known are|profiles in"
    r"|it looks like|for another|to share|or choose|add|choose|close|give|make|quote|remove|rename"
    r"|see|set|use)\b)"
)
# What stands in a cell that is empty.
NOTHING = "-"


def split_remedy(text: str) -> tuple[str, str | None]:
    """Return what a message says is wrong, and what it says to do about it, or None."""
    problem, *remedy = _TO_DO.split(text, maxsplit=1)
    return problem, remedy[0] if remedy else None


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
