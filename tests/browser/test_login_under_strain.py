"""The certified provider, below a mount, under what happens to logins in real life."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from examples.oauth2_login.local_provider import FOLDER, install
from pyfly_session.auto_configuration import enable_sessions
from tests.browser.conftest import OpenShop
from tests.browser.shop import serving

PROGRAM = Path(__file__).parent / "provider.mjs"


async def page(request: Request) -> Response:
    context = request.state.security_context
    if not context.is_authenticated:
        name = request.query_params.get("at", "first")
        target = f"{request.url.path}"
        return RedirectResponse(f"/shop/oauth2/authorization/{name}?target={target}")
    text = f"{request.path_params['name']} of {context.user_id}"
    return HTMLResponse(f'<link rel="icon" href="data:,"><p id="who">{text}</p>')


class Place:
    """A shop below a mount, with two providers, that can be stopped and started again."""

    def __init__(self, stack: ExitStack, mode: str) -> None:
        self._stack = stack
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/shop"
        self.providers = [stack.enter_context(self._provider(name)) for name in ("first", "second")]
        self._mode = mode
        self._serving = ExitStack()
        stack.callback(self.stop)

    def start(self) -> None:
        """Start a process of its own, as far as the application can tell."""
        names = ("first", "second")
        registrations = {
            name: {
                "client-id": "shop", "client-secret": "only for this test/+", "issuer-uri": issuer,
                "response-mode": self._mode,
            }
            for name, (issuer, _) in zip(names, self.providers, strict=True)
        }  # fmt: skip
        client = {"enabled": True, "registrations": registrations}
        oauth2 = {"client": client, "login": {"enabled": True}}
        config = {"pyfly": {"session": {"enabled": True}, "security": {"oauth2": oauth2}}}
        shop = enable_sessions(Starlette(routes=[Route("/page/{name}", page)]), config=config)
        listener = self._serving.enter_context(socket.create_server(("127.0.0.1", self.port)))
        self._serving.enter_context(serving(Starlette(routes=[Mount("/shop", shop)]), listener))

    def stop(self) -> None:
        """End it, with every session."""
        self._serving.close()

    def change_key(self) -> None:
        """Have the first provider sign with a key of another kind from now on."""
        process = self.providers[0][1]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline().strip() == "changed"

    @contextmanager
    def _provider(self, name: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
        uris = json.dumps([f"{self.url}/login/oauth2/code/{name}"])
        command = ["node", str(PROGRAM), str(FOLDER / "node_modules"), uris]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, encoding="utf-8", **pipes) as process:  # noqa: S603 - ours
            assert process.stdout is not None
            assert process.stdin is not None
            try:
                yield process.stdout.readline().strip(), process
            finally:
                process.stdin.close()


@pytest.fixture(params=["query", "form-post"])
def place(open_shop: OpenShop, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Return the shop, once for each way in which an answer comes back."""
    install()
    with ExitStack() as stack:
        place = Place(stack, request.param)
        place.start()
        yield place


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context()
    context.set_default_timeout(20_000)
    yield context
    context.close()


def sign_in(page: Any, name: str = "alice") -> None:
    """Say at the provider who one is, and that the shop may know it."""
    page.get_by_placeholder("Enter any login").fill(name)
    page.get_by_placeholder("and password").fill("any")
    with page.expect_navigation():
        page.get_by_role("button", name="Sign-in", exact=True).click()
    page.get_by_role("button", name="Continue", exact=True).click()


def who(page: Any) -> str:
    return str(page.locator("#who").inner_text())


def test_the_login_stays_below_the_mount(place: Place, browser: Any) -> None:
    page = browser.new_page()
    page.goto(f"{place.url}/page/orders")
    sign_in(page)
    assert (who(page), page.url) == ("orders of first:alice", f"{place.url}/page/orders")


def test_five_tabs_that_come_back_at_once_are_all_in(place: Place, browser: Any) -> None:
    """As after a restart of the browser: the provider remembers, the shop does not."""
    page = browser.new_page()
    page.goto(f"{place.url}/page/orders")
    sign_in(page)
    assert who(page)
    for _ in range(3):
        browser.clear_cookies(domain="127.0.0.1")
        pages = [browser.new_page() for _ in range(5)]
        for number, each in enumerate(pages):
            address = f"{place.url}/page/{number}"
            each.evaluate(f"void setTimeout(() => {{ location.href = '{address}' }})")
        assert [who(each) for each in pages] == [f"{number} of first:alice" for number in range(5)]
        for each in pages:
            each.reload()
            assert who(each).endswith("of first:alice")
            each.close()


def test_a_key_of_another_kind_is_not_noticed(place: Place, browser: Any) -> None:
    page = browser.new_page()
    page.goto(f"{place.url}/page/before")
    sign_in(page)
    assert who(page) == "before of first:alice"
    browser.clear_cookies(domain="127.0.0.1")
    # It has forgotten everybody with it.
    place.change_key()
    page.goto(f"{place.url}/page/after")
    sign_in(page)
    assert who(page) == "after of first:alice"


def test_a_restart_under_way_is_not_noticed(place: Place, browser: Any) -> None:
    page = browser.new_page()
    page.goto(f"{place.url}/page/orders")
    place.stop()
    place.start()
    sign_in(page)
    assert who(page) == "orders of first:alice"


def test_two_providers_at_once(place: Place, browser: Any) -> None:
    first, second = browser.new_page(), browser.new_page()
    first.goto(f"{place.url}/page/orders")
    second.goto(f"{place.url}/page/orders?at=second")
    sign_in(second)
    assert who(second) == "orders of second:alice"
    sign_in(first)
    assert who(first) == "orders of first:alice"
    second.reload()
    assert who(second) == "orders of first:alice"
