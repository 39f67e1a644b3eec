"""More requests than connections: they wait, and who waits too long gets the honest answer."""

import asyncio

import pytest

from tests.faults.conftest import OpenShop
from tests.faults.proxy import Proxy
from tests.faults.servers import Server
from tests.faults.shop import PATIENCE, assert_unavailable

KNOWN = "a" * 32
BOTH = pytest.mark.parametrize("pipelining", [True, False], ids=["together", "one by one"])


@BOTH
async def test_requests_wait_for_a_connection(
    server: Server, proxy: Proxy, open_shop: OpenShop, pipelining: bool
) -> None:
    shop = open_shop(proxy.url, redis={"max-connections": 2, "pipelining": pipelining})
    await server.seed(KNOWN, user="alice")
    proxy.delay = PATIENCE / 20
    answers = await asyncio.gather(*(shop.get("/read", KNOWN) for _ in range(10)))
    assert [each.text for each in answers] == ['["alice",false]'] * 10
    assert proxy.accepted <= 2


@BOTH
async def test_exhausted_pool_gives_503_and_nothing_else(
    server: Server, proxy: Proxy, open_shop: OpenShop, pipelining: bool
) -> None:
    redis = {"max-connections": 2, "pool-timeout": PATIENCE / 4, "pipelining": pipelining}
    shop = open_shop(proxy.url, redis=redis)
    await server.seed(KNOWN, user="alice")
    warm = await asyncio.gather(*(shop.get("/read", KNOWN) for _ in range(2)))
    assert [each.status for each in warm] == [200, 200]
    proxy.delay = PATIENCE / 2
    answers = await asyncio.gather(*(shop.get("/write", KNOWN) for _ in range(20)))
    assert proxy.accepted <= 2
    served = [each for each in answers if each.status == 200]
    for answer in answers:
        if answer not in served:
            assert_unavailable(answer)
    if not pipelining:
        assert len(served) < 20
    proxy.heal()
    for _ in range(4):
        assert (await shop.get("/read", KNOWN)).text == '["alice",false]'


@BOTH
async def test_cancelled_requests_give_their_connections_back(
    server: Server, proxy: Proxy, open_shop: OpenShop, pipelining: bool
) -> None:
    """Among them are some that were still waiting for one."""
    shop = open_shop(proxy.url, redis={"max-connections": 2, "pipelining": pipelining})
    await server.seed(KNOWN, user="alice")
    for step in range(12):
        proxy.delay = PATIENCE / 20
        tasks = [asyncio.ensure_future(shop.get("/write", KNOWN)) for _ in range(8)]
        await asyncio.sleep(step * PATIENCE / 100)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        proxy.heal()
        await shop.drain()
    answers = await asyncio.gather(*(shop.get("/read", KNOWN) for _ in range(10)))
    assert [each.text for each in answers] == ['["alice",false]'] * 10
