"""Somebody who runs the tests of a page or an example, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_tests(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, with the one plugin that comes with Starlette.

    Whatever else is installed here takes two seconds to load, and no reader has it.
    """
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    plugins = ["-p", "anyio", "-p", "no:cacheprovider"]
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "pytest", "-q", *plugins, "--rootdir", str(folder), *options],
        cwd=folder,
        env=environment | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
