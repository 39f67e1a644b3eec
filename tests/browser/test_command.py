"""The one command of the example's README."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from examples.oauth2_login.local_provider import FOLDER
from tests.browser.conftest import OpenShop
from tests.browser.test_tutorial import PAGE

ROOT = Path(__file__).parent.parent.parent


def test_it_starts_both_and_ends_both(open_shop: OpenShop) -> None:
    command = [sys.executable, "-W", "error", "-m", "examples.oauth2_login", "--port", "0"]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        words = ""
        while "Ctrl+C ends both." not in words:
            line = process.stdout.readline()
            assert line, words
            words += line
        shop = re.search(r"Open +(http://\S+)", words)
        provider = re.search(r"provider is at http://localhost:(\d+)", words)
        assert shop
        assert provider
        with urllib.request.urlopen(shop[1]) as answer:  # noqa: S310 - our own address
            assert b"Log in" in answer.read()
        with socket.create_connection(("127.0.0.1", int(provider[1]))):
            pass
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate()
        assert (process.returncode, rest) == (0, "\nBoth have ended.\n")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(provider[1])))


def test_the_tutorial_installs_the_provider_of_the_example() -> None:
    pinned = json.loads((FOLDER / "package.json").read_text("utf-8"))["dependencies"]
    assert f"npm install oidc-provider@{pinned['oidc-provider']}\n" in PAGE.read_text("utf-8")
