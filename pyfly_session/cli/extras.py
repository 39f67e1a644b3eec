"""Packages that only some commands need."""

from importlib.util import find_spec

import click


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
