"""Tabs of one browser that come back from a provider at once take one place, not several."""

from typing import Any

import pytest

from pyfly_session.concurrency import ConcurrencyControlPolicy, SessionConcurrencyController
from tests.security.shop import Shop, path_of
from tests.security.test_attempts import BACK, NAVIGATION, begin_tabs, follow, return_at_once
from tests.web.conftest import Site
from tests.web.driver import Browser


@pytest.mark.parametrize("strategy", ["reject-new", "evict-oldest"])
@pytest.mark.parametrize("creation", ["always", "if-required"])
@pytest.mark.parametrize("meanwhile", ["nothing", "expired", "replaced", "forgotten"])
async def test_five_tabs_that_come_back_at_once_are_all_logged_in(
    site: Site, meanwhile: str, creation: Any, strategy: str
) -> None:
    """However their session ended meanwhile, so that nothing but the browser is common to them."""
    site.configure(creation=creation)
    policy = ConcurrencyControlPolicy(max_sessions=1, strategy=strategy)
    site.filter.concurrency = SessionConcurrencyController(
        site.filter.repository.principals, policy
    )
    shop = Shop(site)
    locations = await begin_tabs(shop, 5)
    if meanwhile == "expired":
        site.clock.advance(1801)
    elif meanwhile == "replaced":
        await shop.browser.get("/rotate")
    elif meanwhile == "forgotten":
        shop.browser.cookie = None
    answers = await return_at_once(shop, locations)
    assert [each.status for each in answers] == [303] * 5
    assert [await follow(shop, each) for each in answers] == [f"/{n}" for n in range(5)]
    assert (await shop.who()).startswith("alice ")


async def test_another_browser_is_refused_after_one_more_look(site: Site) -> None:
    """And leaves nothing behind; a client that is no page is refused at once."""
    policy = ConcurrencyControlPolicy(max_sessions=1, strategy="reject-new")
    principals = site.filter.repository.principals
    site.filter.concurrency = SessionConcurrencyController(principals, policy)
    shop = Shop(site)
    await shop.log_in()
    first, shop.browser = shop.browser, Browser(shop.app)
    answer = await shop.come_back(shop.green.log_in(await shop.start()), headers=NAVIGATION)
    assert (answer.status, path_of(answer.get("location"))) == (303, BACK)
    again = await shop.browser.get(answer.get("location") or "", headers=NAVIGATION)
    assert (again.status, again.get("location"), await shop.who()) == (409, None, "None None")
    answer = await shop.come_back(shop.green.log_in(await shop.start()))
    await shop.require_failure(answer, "too_many_sessions", 409)
    assert ((await first.get("/")).text, await principals.count("alice")) == ("alice None", 1)
