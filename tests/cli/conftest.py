"""A directory of one's own to run commands in, and commands run in this process."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pyfly_session.cli.group import commands

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory ``config`` below an empty working directory; no variable is set."""
    for name in os.environ:
        if name.startswith("PYFLY_") or name in ("REDIS_URL", "WEB_CONCURRENCY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config"
    path.mkdir()
    return path


def write(folder: Path, **files: str) -> None:
    """Write YAML files; ``pyfly_prod`` is ``pyfly-prod.yaml``."""
    for name, text in files.items():
        (folder / f"{name.replace('_', '-')}.yaml").write_text(text, "utf-8")


@pytest.fixture
def run() -> Run:
    """Return a function that runs a command and returns what it printed."""

    def run(*arguments: str, **options: str) -> Result:
        return CliRunner().invoke(commands, arguments, **options)  # type: ignore[arg-type]

    return run
