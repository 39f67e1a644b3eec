"""The command line, ``pyfly-session``: a group of commands, each in a module of its own."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say what to install for it."""
    try:
        from pyfly_session.cli.group import commands
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit(
            "pyfly-session needs the package click: pip install 'pyfly-session[cli]',"
            " or 'pyfly-session[demo]' for the demo"
        )
    commands(prog_name="pyfly-session")
