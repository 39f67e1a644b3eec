"""The show, run as its readers run it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from show import running_redis

EXPECTED = """\
alice logs in, one of 3 workers answers
120 wishes in one session, 12 at a time, through 3 workers: 120 are kept
logged out in one worker, while a slow request is under way in another
worker 1, asked with a copy of the cookie: nobody
worker 2, asked with a copy of the cookie: nobody
worker 3, asked with a copy of the cookie: nobody
"""


def test_no_change_is_lost_and_a_logout_holds_in_every_worker() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    done = subprocess.run(
        [sys.executable, "show.py"],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, EXPECTED), done.stderr


def test_a_server_of_ones_own_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://sessions.example:6379/0")
    with running_redis() as url:
        assert url == "redis://sessions.example:6379/0"
