"""The tutorial of the login, followed to the letter but for its ports."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from examples.oauth2_login.local_provider import FOLDER, install
from tests.browser.conftest import OpenShop
from tests.browser.shop import Shop
from tests.browser.visitor import Visitor
from tests.project.pages import DOCS, blocks_of

PAGE = DOCS / "tutorial" / "log-in-with-a-provider.md"


@contextmanager
def running(*command: str, cwd: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a program in the folder of the tutorial until the end of the block."""
    with subprocess.Popen(command, cwd=cwd, encoding="utf-8", **options) as process:  # noqa: S603 - its commands
        try:
            yield process
        finally:
            process.terminate()


@pytest.fixture
def tutorial(open_shop: OpenShop, tmp_path: Path) -> Iterator[Shop]:
    """Return the shop of the tutorial, running as its reader runs it."""
    # The package that step 1 installs, of the same version.
    install()
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports = {"9000": str(free.getsockname()[1]), "8000": str(listener.getsockname()[1])}
        for block in blocks_of(PAGE):
            if block.file is not None:
                path = tmp_path / block.file
                path.parent.mkdir(exist_ok=True)
                text = block.text
                for written, port in ports.items():
                    text = text.replace(written, port)
                path.write_text(text, encoding="utf-8")
        provider = stack.enter_context(
            running("node", "provider.mjs", cwd=tmp_path, stdout=subprocess.PIPE)
        )
        assert provider.stdout is not None
        while not (issuer := provider.stdout.readline().strip()).startswith("http://"):
            assert provider.poll() is None
        # The socket is there already, so that whoever comes early only waits.
        number = str(listener.fileno())
        command = (sys.executable, "-m", "uvicorn", "shop:app", "--log-level", "warning")
        fds = (listener.fileno(),)
        stack.enter_context(running(*command, "--fd", number, cwd=tmp_path, pass_fds=fds))
        yield Shop(f"http://127.0.0.1:{ports['8000']}", issuer, None)


def test_its_steps_lead_to_a_login(tutorial: Shop, visit: Any) -> None:
    visitor: Visitor = visit(tutorial)
    # The provider's own pages ask the network for a font.
    visitor.context.route(
        "https://fonts.googleapis.com/**",
        lambda route: route.fulfill(content_type="text/css", body=""),
    )
    visitor.go("/")
    for _ in range(2):
        visitor.press("Add a lamp")
    anonymous = visitor.cookie
    visitor.follow("Log in")
    visitor.sign_in("alice")
    visitor.press("Continue")
    assert visitor.path() == "/account"
    assert visitor.sees("Hello, alice@example.test, you are accounts:alice")
    assert visitor.sees("Lamps in the cart: 2")
    assert visitor.cookie not in (None, anonymous)
    visitor.log_out()
    assert visitor.sees("Lamps in the cart: 0")
    visitor.page.evaluate("history.go(-2)")
    visitor.page.get_by_placeholder("and password").wait_for()
    # A page without an icon makes the browser ask for one.
    visitor.console[:] = [words for words in visitor.console if "404 (Not Found)" not in words]
