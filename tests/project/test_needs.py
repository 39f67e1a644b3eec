"""What a machine lacks costs a test there, and the whole run where CI is set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import lacks

ROOT = Path(__file__).parent.parent.parent
# The browser tests as a machine sees them that has no such program.
_WITHOUT = """
import sys
from pathlib import Path
import pytest

class Without:
    def pytest_collection_finish(self):
        sys.modules["tests.browser.conftest"].CHROMIUM = Path("/nowhere/chromium")

options = ["-q", "-rs", "-x", "-p", "no:cacheprovider", "-c", "/dev/null"]
options += ["tests/browser/test_demo.py"]
sys.exit(pytest.main(options, plugins=[Without()]))
"""


def test_where_ci_is_set_nothing_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs a browser; where CI is set"):
        lacks("a browser")


def test_elsewhere_a_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs a browser"):
        lacks("a browser")


def test_the_browser_tests_do_not_vanish_where_ci_is_set() -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _WITHOUT],
        cwd=ROOT,
        env={
            **os.environ,
            "CI": "true",
            "PYTEST_ADDOPTS": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1, done.stdout
    # Without playwright that is what they need.
    assert "needs /nowhere/chromium" in done.stdout or "needs playwright" in done.stdout
