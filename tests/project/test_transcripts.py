"""The commands that the pages show: those of the library print what is shown, others are listed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner
from dependency_injector import providers
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pyfly_session import SecurityContext
from pyfly_session.auto_configuration import enable_sessions
from pyfly_session.cli.group import commands
from pyfly_session.security import login
from pyfly_session.testing import Clock
from tests.conftest import started_valkey
from tests.needs import lacks
from tests.project.pages import (
    DOCS,
    PAGES,
    ROOT,
    Step,
    blocks_of,
    check_shown,
    name_of,
    pages,
    steps_of,
)
from tests.support.cases import for_each

LIBRARY = "pyfly-session "
# Commands that are not run, and why each may be shown all the same.
NOT_RUN = {
    r"pip install 'pyfly-session\[[\w,]+\]'( uvicorn)?": "tests/wheel installs; extras: see below",
    r"pip install pyfly-session uvicorn httpx2": "tests/wheel installs",
    r"pip install websockets": "a package of others, one of the dev extra",
    r"pip install opentelemetry-distro opentelemetry-exporter-otlp": "packages of others",
    r"(OTEL_SERVICE_NAME=shop )?opentelemetry-instrument uvicorn shop:app.*": "needs those",
    r"pip install 'pyfly-session\[fastapi,redis,otel\]' opentelemetry-.*": "packages of others",
    r"pip install 'pyfly-session\[fastapi\]' uvicorn python-multipart .*": "packages of others",
    r"CSRF_SECRET=only-for-this-computer uvicorn shop:app": "serves until it is ended",
    r"mkdir shop && cd shop": "the tests have folders of their own",
    r"python -m venv \.venv && \. \.venv/bin/activate": "the tests have an environment",
    r"npm install oidc-provider@[\d.]+": "tests/browser/test_tutorial.py; version: see below",
    r"node provider\.mjs": "tests/browser/test_tutorial.py",
    r"(PYFLY_PROFILES_ACTIVE=prod )?uvicorn shop:app( --workers.*)?": "serves until it is ended",
    r"pip install 'uvicorn\[standard\]'": "a package of others",
}
FIRST_SESSION = DOCS / "tutorial" / "first-session.md"

_HANDLE = re.compile(r"\b(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{10}\b")
_CHANGING = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"), "TIME"),
    (re.compile(r"\d+\.\d ms"), "DURATION"),
    (re.compile(r"(?<=^date: ).*$", re.M), "DATE"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", re.M), "TIME"),
    (re.compile(r"'\w+ on the command line'"), "OPERATOR"),
    (re.compile(r"(?<=form  )\d{3}$", re.M), "BYTES"),
]


def steps_of_page(page: Path) -> list[Step]:
    blocks = (block for block in blocks_of(page) if block.language == "console")
    return [step for block in blocks for step in steps_of(block)]


WITH_COMMANDS = [page for page in PAGES if steps_of_page(page)]
OF_THE_LIBRARY = [
    page
    for page in WITH_COMMANDS
    if any(step.command.startswith(LIBRARY) for step in steps_of_page(page))
]


def settled(text: str) -> str:
    """Put a word in the place of whatever is another one each time."""
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return text


# Who is logged in, on the machine that the pages are about


async def enter(request: Request) -> PlainTextResponse:
    await login(request, SecurityContext(user_id="alice"))
    request.state.session.set_attribute("cart", {"lamp": 1})
    return PlainTextResponse("")


@pytest.fixture(autouse=True)
def machine_that_is_fast_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyfly_session.cli.doctor.redis_server._SLOW_SECONDS", 30)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """Return a client of a server of one's own, set up as an operator of the pages finds it."""
    for name in os.environ:
        if name.startswith("PYFLY_") or name == "WEB_CONCURRENCY":
            monkeypatch.delenv(name)
    with started_valkey() as started, redis.Redis(port=started.port) as client:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{started.port}/0")
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        yield client


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, with the shipped configuration and one mistake in it."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    production = tmp_path / "config" / "pyfly-prod.yaml"
    text = production.read_text("utf-8")
    assert "\n      secure: true\n" in text
    text = text.replace("\n      secure: true\n", "\n      secure: false\n")
    production.write_text(f"{text.rstrip()}\n    hash-ids: true\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def log_alice_in(server: redis.Redis) -> None:
    """Make two sessions of alice, and none of anybody else."""
    server.flushall()
    app = enable_sessions(Starlette(routes=[Route("/", enter)]))
    clock = Clock(time.time() - 600)
    container = app.state.session_container
    with container.clock.override(providers.Object(clock)), TestClient(app) as shop:
        for _ in range(2):
            shop.get("/")
            shop.cookies.clear()
            clock.advance(60)


def handles_of_alice() -> list[str]:
    listed = CliRunner().invoke(commands, ["sessions", "list", "--principal", "alice", "--json"])
    rows = json.loads(listed.stdout)["sessions"] if listed.exit_code == 0 else []
    return [each["handle"] for each in rows]


@pages(OF_THE_LIBRARY)
def test_a_command_of_the_library_prints_what_the_page_shows(
    page: Path, server: redis.Redis, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name_of(page) == "docs/reference/command-line.md":
        monkeypatch.setenv("PYFLY_SESSION_COOKIE_NAME", "SHOP")
    url = os.environ["REDIS_URL"]
    written = list(dict.fromkeys(_HANDLE.findall(page.read_text("utf-8"))))
    for block in blocks_of(page):
        if block.language != "console":
            continue
        log_alice_in(server)
        real = dict(zip(written, handles_of_alice(), strict=False))
        for step in steps_of(block):
            if step.command.startswith("export "):
                for name, value in (each.split("=") for each in shlex.split(step.command)[1:]):
                    monkeypatch.setenv(name, url if name == "REDIS_URL" else value)
            elif step.command.startswith(LIBRARY):
                _check(step, real, url)


def _check(step: Step, handles: dict[str, str], url: str) -> None:
    arguments = [
        next((real for shown, real in handles.items() if shown.startswith(each)), each)
        for each in shlex.split(step.command)[1:]
    ]
    result = CliRunner().invoke(commands, arguments, input="y\n")
    assert result.exception is None or isinstance(result.exception, SystemExit), step.command
    if not step.shown:
        assert result.exit_code == 0, result.output
        return
    # Of JSON a page shows what a program reads, without the progress beside it.
    printed = result.stdout if "--json" in arguments else result.output
    printed = printed.replace(url, "redis://redis.internal:6379/0")
    for shown, real in handles.items():
        printed = printed.replace(real, shown)
    check_shown(settled(step.shown), settled(printed))


# All other commands


@for_each("page", WITH_COMMANDS)
def test_what_is_not_run_is_listed_with_its_reason(page: Path) -> None:
    run = (LIBRARY, "export ", *(["curl "] if page == FIRST_SESSION else []))
    others = [step for step in steps_of_page(page) if not step.command.startswith(run)]
    unknown = [
        step.command
        for step in others
        if step.shown or not any(re.fullmatch(each, step.command) for each in NOT_RUN)
    ]
    assert unknown == [], "run it here, or add it to NOT_RUN"


def test_nothing_is_listed_that_no_page_shows() -> None:
    shown = [step.command for page in WITH_COMMANDS for step in steps_of_page(page)]
    assert [each for each in NOT_RUN if not any(re.fullmatch(each, line) for line in shown)] == []


def test_what_is_to_be_installed_exists() -> None:
    shown = "\n".join(step.command for page in WITH_COMMANDS for step in steps_of_page(page))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {
        extra
        for each in re.findall(r"pyfly-session\[([\w,]+)\]", shown)
        for extra in each.split(",")
    }
    assert named <= set(project["optional-dependencies"])
    provider = ROOT / "examples" / "oauth2_login" / "provider" / "package.json"
    [version] = re.findall(r"npm install oidc-provider@(\S+)", shown)
    assert json.loads(provider.read_text("utf-8"))["dependencies"] == {"oidc-provider": version}


def test_the_first_session_goes_as_the_tutorial_shows_it(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        lacks("curl")
    for block in blocks_of(FIRST_SESSION):
        if block.file in ("config/pyfly.yaml", "shop.py"):
            path = tmp_path / block.file
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # The socket is there already, so that whoever comes early only waits.
        port, number = listener.getsockname()[1], listener.fileno()
        command = [sys.executable, "-m", "uvicorn", "shop:app", "--fd", str(number)]
        with subprocess.Popen(  # noqa: S603 - the tutorial's command
            [*command, "--log-level", "warning"], cwd=tmp_path, pass_fds=[number]
        ) as shop:
            try:
                for step in steps_of_page(FIRST_SESSION):
                    if step.command.startswith("curl "):
                        _curl(step, port, tmp_path)
            finally:
                shop.terminate()


def _curl(step: Step, port: int, folder: Path) -> None:
    arguments = shlex.split(step.command.replace("localhost:8000", f"127.0.0.1:{port}"))
    done = subprocess.run(  # noqa: S603 - the tutorial's command
        [*arguments, "-s", "--max-time", "30"], cwd=folder, capture_output=True, check=True
    )
    check_shown(settled(step.shown), settled(done.stdout.decode().replace("\r\n", "\n")))
