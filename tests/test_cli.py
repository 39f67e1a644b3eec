"""The command line: what it says, how it ends, and one real server."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from pyfly_session import __version__, cli
from pyfly_session.cli import demo as demo_command
from pyfly_session.cli.group import commands
from tests.support.types import Patch


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: Patch) -> None:
    for name in ("REDIS_URL", "PYFLY_PROFILES_ACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Return a port that somebody listens on and nobody ever answers at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments)


def test_help_lists_the_commands() -> None:
    listed = dict(re.findall(r"^  (\w+) +(\w.+)$", run("--help").output, re.M))
    assert listed["demo"].startswith("Show one session at work")
    assert set(listed) == {"config", "conditions", "demo", "doctor", "sessions", "sql"}


def test_version_is_that_of_the_package() -> None:
    assert __version__ in run("--version").output


def test_help_imports_nothing_that_is_slow() -> None:
    code = (
        "import sys; from pyfly_session.cli.group import commands\n"
        "for name in commands.commands: commands([name, '--help'], standalone_mode=False)\n"
        "sys.exit(bool({'uvicorn', 'jinja2', 'redis', 'dependency_injector'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)  # noqa: S603
    assert done.returncode == 0


def test_the_package_runs_as_a_module_and_completes_what_is_typed() -> None:
    environ = {"_PYFLY_SESSION_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "pyfly_session"],
        env={**os.environ, **environ, "COMP_WORDS": "pyfly-session sessions "},
        capture_output=True,
        encoding="utf-8",
        timeout=30,
    )
    assert done.stdout.split() == ["plain,end", "plain,list", "plain,show"]


def test_missing_click_is_one_sentence_with_the_remedy(monkeypatch: Patch) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    monkeypatch.delitem(sys.modules, "pyfly_session.cli.group")
    with pytest.raises(SystemExit, match=r"pip install 'pyfly-session\[cli\]'"):
        cli.main()


def test_another_missing_module_is_not_blamed_on_click(monkeypatch: Patch) -> None:
    monkeypatch.setitem(sys.modules, "pyfly_session.cli.demo", None)
    monkeypatch.delitem(sys.modules, "pyfly_session.cli.group")
    with pytest.raises(ModuleNotFoundError):
        cli.main()


@pytest.mark.parametrize("module", ["uvicorn", "jinja2", "python_multipart"])
def test_missing_package_of_the_demo_is_named(monkeypatch: Patch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    result = run("demo")
    assert result.exit_code == 1
    assert result.output == (
        f"Error: this command needs {module}: pip install 'pyfly-session[demo]'\n"
    )


def test_wrong_property_is_a_sentence(monkeypatch: Patch) -> None:
    monkeypatch.setenv("PYFLY_SESSION_TTL", "0")
    result = run("demo")
    assert result.exit_code == 1
    assert result.output.startswith("Error: pyfly.session.ttl must be at least 1 second, got 0")


def test_taken_port_is_named_and_another_proposed(taken_port: int) -> None:
    result = run("demo", "--port", str(taken_port))
    assert result.exit_code == 1
    assert f"port {taken_port} on 127.0.0.1 is taken" in result.output
    assert f"--port {taken_port + 1}" in result.output
    assert "--port 0" in result.output


def test_host_of_another_computer_is_refused() -> None:
    result = run("demo", "--host", "192.0.2.1", "--port", "0")
    assert result.exit_code == 1
    assert "Error: cannot listen on --host 192.0.2.1 --port 0" in result.output


def test_dead_redis_is_named_without_its_password(monkeypatch: Patch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://shop:hunter2@127.0.0.1:1/0")
    result = run("demo", "--profile", "prod")
    assert result.exit_code == 1
    assert "Error: Redis at redis://shop:***@127.0.0.1:1/0 cannot be used" in result.output
    assert "set REDIS_URL" in result.output
    assert "hunter2" not in result.output


def test_redis_that_never_answers_is_given_up(monkeypatch: Patch, taken_port: int) -> None:
    monkeypatch.setattr(demo_command, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{taken_port}/0")
    result = run("demo", "--profile", "prod")
    assert result.exit_code == 1
    assert "cannot be used: no answer within 0.05 seconds" in result.output


@pytest.fixture
def no_serving(monkeypatch: Patch) -> None:
    """Have the server end at once, as by Ctrl+C."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("uvicorn.Server.run", interrupted)


@pytest.mark.usefixtures("no_serving")
def test_ctrl_c_is_a_good_end() -> None:
    result = run("demo", "--port", "0")
    assert result.exit_code == 0
    assert result.output.endswith("The demo has ended.\n")


@pytest.mark.usefixtures("no_serving")
@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", r"http://127\.0\.0\.1:\d+\n"),
        ("0.0.0.0", r"http://127\.0\.0\.1:\d+\n"),  # noqa: S104 - asked for by the user
        ("::1", r"http://\[::1\]:\d+\n"),
        ("::", r"http://\[::1\]:\d+\n"),
    ],
)
def test_printed_url_works_on_this_computer(host: str, url: str) -> None:
    result = run("demo", "--host", host, "--port", "0")
    if "Address family not supported" in result.output:
        pytest.skip("no IPv6 here")
    assert re.search(url, result.output)
    assert ("Other computers" in result.output) == (host in ("0.0.0.0", "::"))  # noqa: S104


@pytest.mark.usefixtures("no_serving")
def test_prod_says_where_the_sessions_are_and_that_the_cookie_is_open(
    monkeypatch: Patch, valkey_url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", valkey_url)
    result = run("demo", "--profile", "prod", "--port", "0")
    assert result.exit_code == 0
    assert f"Profile prod, sessions in Redis at {valkey_url}." in result.output
    assert "cookie.secure is off" in result.output


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_demo_serves_the_page_until_it_is_interrupted() -> None:
    command = [sys.executable, "-c", "from pyfly_session.cli import main; main()"]
    with subprocess.Popen(  # noqa: S603 - our own command line
        [*command, "demo", "--port", "0"], stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None
            url = next(line.split()[1] for line in process.stdout if "http://" in line)
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - http, see above
                assert "Who are you?" in answer.read().decode()
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=10)[0]
        finally:
            process.kill()
    assert process.returncode == 0
    assert rest.endswith("The demo has ended.\n")
