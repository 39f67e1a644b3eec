"""The group that all commands belong to.

A command's module imports click and nothing heavy; what it works with is imported when it
runs, so that ``--help`` stays quick.
"""

from typing import Any

import click

from pyfly_session import SessionError, SessionStoreUnavailableError, __version__
from pyfly_session.cli.common import UNREACHED, print_json, split_remedy
from pyfly_session.cli.config import conditions, config
from pyfly_session.cli.demo import demo
from pyfly_session.cli.doctor.command import doctor
from pyfly_session.cli.sessions import sessions
from pyfly_session.cli.sql import sql


class _Group(click.Group):
    _as_json = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Notice that the output is for a program, whatever else is wrong with the arguments."""
        self._as_json = "--json" in args
        try:
            return super().parse_args(ctx, args)
        except click.ClickException as error:
            self._told(error)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our own errors are sentences for its user, not tracebacks."""
        try:
            return super().invoke(ctx)
        except SessionStoreUnavailableError as error:
            cause = str(error).rstrip(".")
            raise self._told(click.ClickException(f"{cause}; {UNREACHED}")) from error
        except SessionError as error:
            key = getattr(error, "key", None)
            raise self._told(click.ClickException(str(error)), key) from error
        except click.ClickException as error:
            self._told(error)
            raise
        except click.Abort:
            self._told(click.ClickException("nobody said yes, so nothing was done; use --yes"))
            raise

    def _told(self, error: click.ClickException, key: str | None = None) -> click.ClickException:
        """Return an error, which people are told beside the output and programs in it, too."""
        if self._as_json:
            message, remedy = split_remedy(error.format_message())
            print_json({"error": {"message": message, "key": key, "remedy": remedy}})
        return error


@click.group(cls=_Group)
@click.version_option(__version__)
def commands() -> None:
    """Server-side sessions for Starlette, FastAPI and ASGI."""


for command in (config, conditions, doctor, sessions, sql, demo):
    commands.add_command(command)
