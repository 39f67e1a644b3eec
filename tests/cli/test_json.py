"""``--json``: one document on the standard output, of an error too."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pyfly_session.cli.common import UNREACHED
from tests.cli.conftest import Run, write
from tests.support.cases import for_each
from tests.support.types import Patch


def error(output: str) -> dict[str, Any]:
    """Return the error that a command printed."""
    told: dict[str, Any] = json.loads(output)["error"]
    assert set(told) == {"message", "key", "remedy"}
    return told


@for_each(
    ("arguments", "status", "message", "key", "remedy"),
    [
        (["config"], 1, "pyfly.session.ttl must be at least", "pyfly.session.ttl", None),
        (["conditions"], 1, "pyfly.session.ttl must be at least", "pyfly.session.ttl", None),
        (["config", "--profiles", "x"], 1, "the profile x has", "pyfly.profiles.active", "prof"),
        (["config", "--nonsense"], 2, "No such option", None, None),
        (["nonsense"], 2, "No such command", None, None),
        (["--nonsense"], 2, "No such option", None, None),
        (["sessions", "show"], 2, "Missing argument", None, None),
        (["sessions", "list", "--principal", ""], 2, "Invalid value for '--principal'", None, None),
    ],
)  # fmt: skip
def test_an_error_is_told_to_programs_as_well_as_to_people(
    folder: Path, run: Run, arguments: list[str], status: int, message: str, key: str | None,
    remedy: str | None,
) -> None:  # fmt: skip
    write(folder, pyfly="pyfly: {session: {ttl: 0}}")
    result, plain = run(*arguments, "--json"), run(*arguments)
    told = error(result.stdout)
    assert told["message"].startswith(message)
    assert told["key"] == key
    assert (told["remedy"] or "").startswith(remedy or "")
    assert (result.exit_code, result.stderr) == (status, plain.stderr)
    assert (plain.exit_code, plain.stdout) == (status, "")


def test_an_error_of_the_store_names_the_doctor(folder: Path, run: Run) -> None:
    write(folder, pyfly="pyfly: {session: {store: redis, redis: {url: 'redis://127.0.0.1:1'}}}")
    result = run("sessions", "list", "--principal", "alice", "--json")
    assert error(result.stdout)["remedy"] == UNREACHED


def test_a_demo_that_cannot_begin_says_what_to_do(run: Run, monkeypatch: Patch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    result = run("demo", "--profile", "prod", "--json")
    assert result.exit_code == 1
    told = error(result.stdout)
    assert told["message"].startswith("Redis at redis://:***@127.0.0.1:1/0 cannot be used")
    assert told["remedy"].startswith("Start a Redis or Valkey server there")
    # What it waited for.
    assert result.stderr.startswith("Connecting to Redis at redis://:***@127.0.0.1:1/0 …\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_demo_that_is_up_is_one_line() -> None:
    command = [sys.executable, "-c", "from pyfly_session.cli import main; main()"]
    with subprocess.Popen(  # noqa: S603 - our own command line
        [*command, "demo", "--port", "0", "--json"], stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            assert (told["store"], told["profile"]) == ("memory", "dev")
            with urllib.request.urlopen(told["url"], timeout=10) as answer:  # noqa: S310 - http
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=10)[0]
        finally:
            process.kill()
    assert (process.returncode, rest) == (0, "")
