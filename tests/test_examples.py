"""The examples pass their own tests, run as their readers run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
FOLDERS = sorted({path.parent for path in EXAMPLES.rglob("test_*.py")})


@pytest.mark.timeout(300)  # some start processes, which a busy machine takes its time for
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_example_passes_its_tests(folder: Path) -> None:
    options = ["-q", "-rs", "-W", "error", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "pytest", *options, "-c", os.devnull],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def test_the_examples_are_found() -> None:
    assert {"custom_store", "several_workers", "starlette_minimal"} <= {
        folder.name for folder in FOLDERS
    }
