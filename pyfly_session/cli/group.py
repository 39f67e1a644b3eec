"""The group that all commands belong to.

A command's module imports click and nothing heavy; what it works with is imported when it
runs, so that ``--help`` stays quick.
"""

from typing import Any

import click

from pyfly_session import SessionError, SessionStoreUnavailableError, __version__
from pyfly_session.cli.conditions import conditions
from pyfly_session.cli.config import config
from pyfly_session.cli.demo import demo
from pyfly_session.cli.doctor import doctor
from pyfly_session.cli.sessions import sessions


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our own errors are sentences for its user, not tracebacks."""
        try:
            return super().invoke(ctx)
        except SessionStoreUnavailableError as error:
            cause = str(error).rstrip(".")
            raise click.ClickException(f"{cause}; see: pyfly-session doctor") from error
        except SessionError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
@click.version_option(__version__)
def commands() -> None:
    """Server-side sessions for Starlette, FastAPI and ASGI."""


for command in (config, conditions, doctor, sessions, demo):
    commands.add_command(command)
