"""Options that several commands have: which configuration, and what form of output."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pyfly_session.auto_configuration import SessionContainer

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
    """Tell a person what is going on, without touching what a program reads."""
    click.echo(text, err=True)
