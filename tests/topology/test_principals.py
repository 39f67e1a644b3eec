"""The sessions of a user on a cluster, whose records and sessions are on different nodes."""

import asyncio
from typing import Any

import pytest

from tests.topology.conftest import OpenShop
from tests.topology.shop import Shop
from tests.web.driver import Browser


async def logged_in(shop: Shop, user: str = "alice") -> Browser:
    browser = shop.browser()
    assert (await browser.get(f"/enter?user={user}")).status == 200
    return browser


async def is_logged_in(shop: Shop, browser: Browser) -> bool:
    return "SECURITY_CONTEXT" in (await shop.browser(browser.cookie).get("/names")).text


async def test_sessions_of_a_user_are_found_and_ended_wherever_they_are(
    open_shop: OpenShop, redis_properties: dict[str, Any]
) -> None:
    shop, elsewhere = open_shop(redis_properties), open_shop(redis_properties)
    browsers = [await logged_in(shop) for _ in range(12)]
    bob = await logged_in(shop, "bob")
    await browsers[0].get("/rotate")
    principals = elsewhere.container.principal_sessions()
    found = await principals.find_by_principal("alice")
    assert {each.session_id for each in found} == {each.cookie for each in browsers}
    assert await principals.end_all("alice", keep=browsers[0].cookie) == 11
    assert [await is_logged_in(elsewhere, each) for each in browsers] == [True] + [False] * 11
    assert await is_logged_in(shop, bob)


@pytest.mark.parametrize("strategy", ["evict-oldest", "reject-new"])
async def test_limit_holds_for_parallel_logins_in_two_processes(
    open_shop: OpenShop, redis_properties: dict[str, Any], strategy: str
) -> None:
    limit = {"enabled": True, "max-sessions": 3, "strategy": strategy}
    shops = [open_shop(redis_properties, concurrency=limit) for _ in range(2)]
    browsers = [shops[n % 2].browser() for n in range(20)]
    answers = await asyncio.gather(*(each.get(f"/enter?user={strategy}") for each in browsers))
    assert {each.status for each in answers} <= {200, 409}
    assert sum([await is_logged_in(shops[0], each) for each in browsers if each.cookie]) == 3
    assert await shops[1].container.principal_sessions().count(strategy) == 3
