"""starlette-flash keeps messages for the next page in ``request.session``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette_flash import flash, get_messages_for_template

from tests.frameworks.browser import browser_of
from tests.web.conftest import Site


async def order(request: Request) -> Response:
    flash(request).success("Ordered.").info("It takes a day.")
    return RedirectResponse("/page", 303)


async def page(request: Request) -> Response:
    return JSONResponse([each["message"] for each in get_messages_for_template(request)])


async def errors(request: Request) -> Response:
    bag = flash(request)
    return JSONResponse([len(bag), len(bag.get_by_category("success")), len(bag)])


async def test_messages_reach_the_next_page_and_no_other(site: Site) -> None:
    async with browser_of(site.app(order=order, page=page), follow_redirects=True) as browser:
        assert (await browser.post("/order")).json() == ["Ordered.", "It takes a day."]
        assert (await browser.get("/page")).json() == []


async def test_messages_of_a_category_are_taken_alone(site: Site) -> None:
    async with browser_of(site.app(order=order, page=page, errors=errors)) as browser:
        await browser.post("/order")
        assert (await browser.get("/errors")).json() == [2, 1, 1]
        assert (await browser.get("/page")).json() == ["It takes a day."]
