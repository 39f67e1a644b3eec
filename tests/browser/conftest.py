"""A real browser in front of the example, and a real OpenID provider behind it.

Only what names this folder runs its tests: ``tox -e browser`` or ``pytest tests/browser``.
They need Chromium, Node.js and playwright, and are skipped where one of these is missing; where
``CI`` is set they fail instead.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.browser.shop import Shop, running_shop
from tests.browser.visitor import Visitor
from tests.needs import lacks

OpenShop = Callable[..., Shop]
Visit = Callable[..., Visitor]

CHROMIUM = Path("/usr/bin/chromium")
_HERE = Path(__file__).parent
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Names of sites that are not this computer itself, and are served by it.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these tests to those who ask for them."""
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    asked_for = any(path == _HERE or _HERE in path.parents for path in named)
    return None if asked_for or not collection_path.name.startswith("test_") else True


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Return Chromium, running."""
    try:
        from playwright import sync_api
    except ModuleNotFoundError:
        lacks("playwright")
    if not CHROMIUM.exists():
        lacks(str(CHROMIUM))
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=list(_OPTIONS),
            # The back button of a reader shows kept pages, so that of the tests does, too.
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def open_shop(request: pytest.FixtureRequest) -> Iterator[OpenShop]:
    """Return a function that opens a shop over a kind of store; each is opened once."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            lacks(program)
    with ExitStack() as stack:

        @cache
        def open_shop(store: str, most: int = -1, strategy: str = "evict-oldest") -> Shop:
            limit = {"enabled": True, "max-sessions": most, "strategy": strategy}
            session: dict[str, Any] = {"concurrency": limit}
            if store == "valkey":
                redis = {"url": request.getfixturevalue("valkey_server_url")}
                session |= {"store": "redis", "redis": redis}
            return stack.enter_context(running_shop(session))

        yield open_shop


@pytest.fixture
def shop(open_shop: OpenShop, request: pytest.FixtureRequest) -> Shop:
    """Return the shop over the memory store, or over those that a test names."""
    return open_shop(getattr(request, "param", "memory"))


@pytest.fixture
def visit(chromium: Any) -> Iterator[Visit]:
    """Return a function that sends somebody with a browser of their own to a shop.

    What their pages write to the console as a warning or an error fails the test.
    """
    with ExitStack() as stack:
        everybody: list[Visitor] = []

        def visit(shop: Shop) -> Visitor:
            context = stack.enter_context(chromium.new_context())
            context.set_default_timeout(20_000)
            everybody.append(Visitor(context, shop))
            return everybody[-1]

        yield visit
        assert [words for each in everybody for words in each.console] == []


@pytest.fixture
def visitor(shop: Shop, visit: Visit) -> Visitor:
    """Return somebody with a fresh browser."""
    return visit(shop)
