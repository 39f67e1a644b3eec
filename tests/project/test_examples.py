"""The examples pass their own tests, and start, as their readers run them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.project.pages import ROOT, blocks_of
from tests.project.reader import run_tests
from tests.support.cases import for_each

EXAMPLES = ROOT / "examples"
FOLDERS = sorted({path.parent for path in EXAMPLES.rglob("test_*.py")})
# What the page of an example tells to install, and to run with it.
_COMMAND = re.compile(
    r"^    python3 -m venv \.venv && \.venv/bin/pip install (?P<packages>.+)"
    r" && \.venv/bin/python (?P<program>.+)$",
    re.M,
)
# They end by themselves, or need a provider: their commands are run by several_workers/test_show.py
# and by browser/test_command.py.
_RUN_ELSEWHERE = {"several_workers", "oauth2_login"}
SERVERS = [
    path.parent
    for path in sorted(EXAMPLES.glob("*/README.md"))
    if path.parent.name not in _RUN_ELSEWHERE
]


def command_of(folder: Path) -> re.Match[str]:
    """Return the only command of an example's page."""
    [command] = _COMMAND.finditer((folder / "README.md").read_text("utf-8"))
    return command


@pytest.mark.timeout(300)  # some start processes, which a busy machine takes its time for
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_example_passes_its_tests(folder: Path) -> None:
    done = run_tests(folder, "-rs", "-W", "error", "-c", os.devnull)
    assert done.returncode == 0, done.stdout
    skipped = [each for each in done.stdout.splitlines() if each.startswith("SKIPPED")]
    # A store has what it needs.
    assert [each for each in skipped if "has no capability" not in each] == []


@contextmanager
def started(folder: Path, *command: str) -> Iterator[str]:
    """Run a server in a folder until the end of the block, and give its address."""
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    with subprocess.Popen(  # noqa: S603 - the commands of our pages
        [sys.executable, "-W", "error", *command],
        cwd=folder,
        # Of the port 0 uvicorn makes a free one, and says which.
        env=environment | {"PORT": "0"},
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stderr is not None
            said, address = "", None
            while address is None and (line := process.stderr.readline()):
                said += line
                address = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert address is not None, said
            yield address[0]
        finally:
            process.terminate()
        rest = process.communicate(timeout=30)[1]
    assert "Finished server process" in rest
    assert "Traceback" not in rest


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - http, see above
        assert answer.status == 200
        return str(answer.read().decode())


@pytest.mark.parametrize("folder", SERVERS, ids=lambda folder: folder.name)
def test_the_command_of_an_example_starts_it(folder: Path, tmp_path: Path) -> None:
    # The root of the repository, as far as the command sees it; what it writes stays here.
    (tmp_path / "examples").symlink_to(EXAMPLES)
    with started(tmp_path, *shlex.split(command_of(folder)["program"])) as address:
        get(address)


def test_the_command_of_the_quick_start_starts_it(tmp_path: Path) -> None:
    page = ROOT / "README.md"
    application = next(block for block in blocks_of(page) if block.file == "app.py")
    (tmp_path / "app.py").write_text(application.text, "utf-8")
    assert "\n    uvicorn app:app\n" in page.read_text("utf-8")
    with started(tmp_path, "-m", "uvicorn", "app:app", "--port", "0") as address:
        assert get(address) == "1"


@for_each("folder", SERVERS)
def test_the_page_of_an_example_tells_the_port_that_it_has(folder: Path) -> None:
    text = (folder / "README.md").read_text("utf-8")
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", text)) == {"8000"}
    assert "`PORT`" in text
    assert 'os.environ.get("PORT", "8000")' in (folder / "app.py").read_text("utf-8")


def test_the_extras_that_examples_need_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for page in EXAMPLES.glob("*/README.md"):
        named = re.search(r"'\.\[([\w,]+)\]'", command_of(page.parent)["packages"])
        assert named is not None
        assert set(named[1].split(",")) <= set(project["optional-dependencies"])


def test_the_examples_are_found() -> None:
    servers = {"custom_store", "fastapi_shop", "starlette_minimal", "websocket"}
    assert {folder.name for folder in SERVERS} == servers
    assert {folder.name for folder in FOLDERS} == servers | {"several_workers"}
    pages = {page.parent.name for page in EXAMPLES.glob("*/README.md")}
    assert pages == servers | _RUN_ELSEWHERE
