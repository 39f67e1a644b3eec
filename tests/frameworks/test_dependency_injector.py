"""Handlers that dependency-injector injects into have the session as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dependency_injector import containers, providers
from fastapi import FastAPI

from pyfly_session.web import WebFilterChainMiddleware
from tests.frameworks import injected, injected_postponed
from tests.web.conftest import Site
from tests.web.driver import Browser


class Prices(containers.DeclarativeContainer):
    currency = providers.Object("EUR")


@pytest.fixture(params=[injected, injected_postponed], ids=["plain", "postponed"])
def browser(request: pytest.FixtureRequest, site: Site) -> Iterator[Browser]:
    """Return a browser on an application whose annotations are evaluated at once, or later."""
    container = Prices()
    container.wire(modules=[request.param])
    app = FastAPI()
    app.include_router(request.param.router)
    app.add_middleware(WebFilterChainMiddleware, filters=[site.filter])
    yield Browser(app)
    container.unwire()


@pytest.mark.parametrize("path", ["/coroutine", "/function", "/default"])
async def test_both_are_injected(browser: Browser, path: str) -> None:
    assert (await browser.get(path)).text == '"1 EUR"'
    assert (await browser.get(path)).text == '"2 EUR"'


async def test_a_requirement_holds(browser: Browser) -> None:
    assert (await browser.get("/required")).status == 401
    await browser.get("/login", method="POST")
    assert (await browser.get("/required")).text == '"alice EUR"'


async def test_a_stored_model_is_saved(browser: Browser) -> None:
    assert ((await browser.get("/cart")).text, (await browser.get("/cart")).text) == ("1", "2")
