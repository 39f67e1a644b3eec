"""The circuit, seen from the socket: who is tried, how often, and how it closes again."""

import asyncio
from typing import Any

from tests.faults.conftest import OpenShop
from tests.faults.proxy import Proxy
from tests.faults.servers import Server
from tests.faults.shop import PATIENCE, Shop, assert_unavailable
from tests.faults.waiting import eventually

KNOWN = "a" * 32
LONG = 60


def with_circuit(failures: int = 3, pause: float = LONG, patience: float = 10) -> dict[str, Any]:
    """Return properties; a new connection is given ``patience`` seconds."""
    circuit = {"circuit-failures": failures, "circuit-pause": pause}
    return {**circuit, "retries": 0, "connect-timeout": patience}


async def fail(shop: Shop, times: int) -> None:
    for _ in range(times):
        assert_unavailable(await shop.get("/read", KNOWN))


async def test_good_probe_closes_circuit(server: Server, proxy: Proxy, open_shop: OpenShop) -> None:
    shop = open_shop(proxy.url, redis=with_circuit(pause=PATIENCE))
    await server.seed(KNOWN, user="alice")
    proxy.fault(times=1000)
    await fail(shop, 10)
    proxy.heal()
    await eventually(lambda: shop.serves(KNOWN))
    answers = await asyncio.gather(*(shop.get("/write", KNOWN) for _ in range(10)))
    assert [each.status for each in answers] == [200] * 10


async def test_cancelled_requests_do_not_open_the_circuit(
    server: Server, proxy: Proxy, open_shop: OpenShop
) -> None:
    shop = open_shop(proxy.url, redis=with_circuit())
    await server.seed(KNOWN, user="alice")
    for _ in range(3):
        arrived = asyncio.Event()
        proxy.fault("LOAD", reply=b"", notice=arrived.set)
        task = asyncio.ensure_future(shop.get("/read", KNOWN))
        await arrived.wait()
        task.cancel()
        await asyncio.wait({task})
    assert (await shop.get("/read", KNOWN)).status == 200
