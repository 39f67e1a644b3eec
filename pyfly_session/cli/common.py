"""What several commands share: options, columns for people, JSON for programs, words for places."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pyfly_session.config.masking import one_line

if TYPE_CHECKING:
    from pyfly_session.auto_configuration import SessionContainer
    from pyfly_session.config import SessionProperties

# Where a message of ours goes on with what to do about it.
_TO_DO = re.compile(
    r"\n|: (?=pip install )|; (?=(?:pip install|did you mean|allowed here|known are|profiles in"
    r"|it looks like|for another|to share|or choose|add|choose|close|give|make|quote|remove|rename"
    r"|see|set|use)\b)"
)
UNREACHED = "see: pyfly-session doctor; after a failover repeat the command"
"""What to do about a store that was not reached."""
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


F = TypeVar("F", bound=Callable[..., Any])

_DIRECTORY = "config"
_OPTIONS = (
    click.option(
        "--config",
        "directory",
        metavar="DIR",
        default=_DIRECTORY,
        show_default=True,
        help="Directory with pyfly.yaml and the files of the profiles.",
    ),
    click.option(
        "--profiles",
        metavar="NAMES",
        help="Active profiles, such as dev or prod,eu; without it PYFLY_PROFILES_ACTIVE counts.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs."),
)


def configured(command: F) -> F:
    """Give a command the arguments ``directory``, ``profiles`` and ``as_json``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def load_container(directory: str, profiles: str | None) -> SessionContainer:
    """Return a container of the chosen configuration.

    Raises:
        ConfigurationError: A file or a value in it is wrong.
    """
    from pyfly_session.auto_configuration import create_container

    say_missing(directory)
    return create_container(directory, profiles=profiles)


def say_missing(directory: str) -> None:
    """Tell, beside the output, that there are no files; another directory must be there."""
    from pathlib import Path

    if directory == _DIRECTORY and not Path(directory).is_dir():
        say(f"There is no directory {directory} here: defaults and variables only.")


def say(text: str) -> None:
    """Print for a person what is going on, without touching what a program reads."""
    click.echo(text, err=True)


def operator() -> str:
    """Return who runs the command, for the audit."""
    try:
        return f"{getpass.getuser()} on the command line"
    except (KeyError, OSError):
        # A container need not know the name of its user.
        return "somebody on the command line"


def store_place(properties: SessionProperties) -> str:
    """Return the place of the Redis or SQL store, without credentials."""
    from pyfly_session.config.masking import mask_url

    if properties.store_kind == "sql":
        return mask_url(properties.sql.url)
    redis = properties.redis
    if redis.cluster.nodes:
        return f"the cluster of {', '.join(redis.cluster.nodes)}"
    if redis.sentinel.master:
        nodes = ", ".join(redis.sentinel.nodes)
        return f"the master {redis.sentinel.master} of the Sentinels {nodes}"
    return mask_url(redis.url)


def require_extra(extra: str, *modules: str) -> None:
    """End the command with one sentence if a module of an extra is not installed.

    Raises:
        click.ClickException: It names what is missing and the command that installs it.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise click.ClickException(
            f"this command needs {', '.join(missing)}: pip install 'pyfly-session[{extra}]'"
        )
