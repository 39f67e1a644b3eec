"""The reference page names every command and option, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from pyfly_session.cli.group import commands

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "command-line.md"


def options_of(command: click.Command) -> Iterator[str]:
    for option in command.params:
        if isinstance(option, click.Option):
            yield max(option.opts, key=len)
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from options_of(each)


def test_every_command_and_option_is_named_and_no_other() -> None:
    text = PAGE.read_text("utf-8")
    documented = {name: each for name, each in commands.commands.items() if name != "demo"}
    assert set(re.findall(r"^## (\w+)$", text, re.M)) == set(documented)
    options = {name for each in documented.values() for name in options_of(each)}
    # Of those that stand for themselves; --profiles prod is an example.
    assert set(re.findall(r"^\| `(--[a-z-]+)", text, re.M)) == options | {"--help"}
    sessions = commands.commands["sessions"]
    assert isinstance(sessions, click.Group)
    assert set(re.findall(r"^\| `sessions (\w+) ", text, re.M)) == set(sessions.commands)
