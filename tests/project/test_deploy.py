"""The configurations of the page about deployment: nginx and uvicorn run, files are checked."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
import yaml

from tests.needs import lacks
from tests.project.pages import DOCS, blocks_of
from tests.topology.nodes import free_ports
from tests.topology.tls import make_certificate

PAGE = DOCS / "how-to" / "deploy.md"


def block(language: str, word: str = "") -> str:
    """Return the only block in a language that has the word."""
    [text] = [
        each.text for each in blocks_of(PAGE) if each.language == language and word in each.text
    ]
    return text


@contextmanager
def running(command: list[str], folder: Path, **environment: str) -> Iterator[None]:
    with subprocess.Popen(  # noqa: S603 - what the page says
        command, cwd=folder, env=os.environ | environment, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def answer_of(browser: httpx2.Client, path: str) -> httpx2.Response:
    """Return the first answer of somebody who is there, at the latest after ten seconds."""
    for _ in range(100):
        try:
            answer = browser.get(path)
        except httpx2.TransportError:
            answer = None
        if answer is not None and answer.status_code != 502:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"nobody answers {path}")


@pytest.fixture
def shop(tmp_path: Path, valkey_url: str) -> Iterator[str]:
    """Return the address of the shop behind nginx, with two workers and TLS."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        lacks("nginx")
    for each in blocks_of(PAGE):
        if each.file is not None:
            path = tmp_path / each.file
            path.parent.mkdir(exist_ok=True)
            path.write_text(each.text, "utf-8")
    make_certificate(tmp_path)
    inner, secure, plain = free_ports(3)
    text = block("nginx").replace("127.0.0.1:8000", f"127.0.0.1:{inner}")
    text = text.replace("listen 443", f"listen 127.0.0.1:{secure}")
    text = text.replace("listen 80", f"listen 127.0.0.1:{plain}")
    text = text.replace("/etc/ssl/shop.pem", f"{tmp_path}/certificate.pem")
    text = text.replace("/etc/ssl/shop.key", f"{tmp_path}/key.pem")
    places = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off;\n{places}{text}}}\n",
        "utf-8",
    )
    workers = [sys.executable, "-m", "uvicorn", "shop:app", "--port", str(inner), "--workers", "2"]
    with ExitStack() as stack:
        stack.enter_context(
            running(workers, tmp_path, PYFLY_PROFILES_ACTIVE="prod", REDIS_URL=valkey_url)
        )
        stack.enter_context(running([nginx, "-p", str(tmp_path), "-c", "nginx.conf"], tmp_path))
        yield f"https://127.0.0.1:{secure}"


def test_a_login_holds_behind_nginx_with_two_workers(shop: str) -> None:
    with httpx2.Client(base_url=shop, verify=False) as alice:
        assert "set-cookie" not in answer_of(alice, "/health").headers
        entered = alice.post("/login/alice")
        assert entered.status_code == 200, entered.text
        assert "; Secure" in entered.headers["set-cookie"]
        # Each on a connection of its own, so that both workers get some.
        seen = [
            httpx2.get(
                f"{shop}/visits",
                cookies=dict(alice.cookies),
                verify=False,
            ).json()
            for _ in range(8)
        ]
        assert seen == [1, 2, 3, 4, 5, 6, 7, 8]
        assert alice.get("/me").json() == "alice"
        # Refused if nginx passed no Host on, or one without the port.
        assert alice.post("/logout", headers={"origin": shop}).status_code == 200
        assert alice.get("/me").json() is None


def test_options_of_uvicorn_exist() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "uvicorn", "--help"],
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    text = PAGE.read_text("utf-8")
    lines = [line for line in text.splitlines() if "uvicorn" in line]
    named = {option for line in lines for option in re.findall(r"--[a-z-]+", line)}
    assert named >= {"--workers", "--timeout-graceful-shutdown", "--host"}
    assert [option for option in named if option not in shown] == []
    command = re.search(r"^CMD (.+)$", block("dockerfile"), re.M)
    assert command is not None
    assert json.loads(command[1])[0] == "uvicorn"


def test_probes_ask_what_has_no_session() -> None:
    manifest = yaml.safe_load(block("yaml", "kind: Deployment"))
    base = yaml.safe_load(block("yaml", "exclude-patterns"))
    pod = manifest["spec"]["template"]["spec"]
    [container] = pod["containers"]
    for probe in ("livenessProbe", "readinessProbe"):
        path = container[probe]["httpGet"]["path"]
        assert path in base["pyfly"]["session"]["exclude-patterns"]
    assert pod["terminationGracePeriodSeconds"] > 20 + 5


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = block("ini")
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    assert int(unit["Service"]["TimeoutStopSec"]) > 20
    if shutil.which("systemd-analyze") is None:
        lacks("systemd-analyze")
    # What it starts has to be there.
    path = tmp_path / "shop.service"
    path.write_text(re.sub(r"/srv/shop/\.venv/bin/\S+", "/bin/true", text), "utf-8")
    done = subprocess.run(  # noqa: S603
        ["systemd-analyze", "verify", "--man=no", str(path)],  # noqa: S607
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    about = [line for line in done.stderr.splitlines() if "shop.service" in line]
    assert about == []
