"""Sessions stay usable while the slot that they are in moves to another master."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.crc import key_slot

from tests.topology.cluster import Cluster, Migration
from tests.topology.conftest import OpenShop
from tests.topology.shop import IMPATIENT, Shop
from tests.web.driver import Browser

Step = Callable[[Migration], Awaitable[None]]


def slot_of(browser: Browser) -> int:
    return key_slot(f"pyfly:session:{browser.cookie}".encode())


async def begun(migration: Migration) -> None:
    """Leave every key where it is: the source still answers for what it has."""


async def moved(migration: Migration) -> None:
    """Move the keys: the source answers ASK."""
    await asyncio.to_thread(migration.move_keys)


@pytest.fixture
def shop(open_shop: OpenShop, cluster_properties: dict[str, Any]) -> Shop:
    return open_shop(cluster_properties)


@pytest.fixture(params=[1, 2, 5], ids=lambda n: f"{n} connections")
async def warm_shop(request: pytest.FixtureRequest, shop: Shop) -> Shop:
    """Return an application with so many connections to each master or more."""
    for _ in range(4):
        await asyncio.gather(*(shop.visitor(a=1) for _ in range(4 * request.param)))
    return shop


@pytest.mark.parametrize("step", [begun, moved])
async def test_session_is_read_in_transit(warm_shop: Shop, cluster: Cluster, step: Step) -> None:
    browser = await warm_shop.visitor(user="alice")
    with cluster.migration(slot_of(browser)) as migration:
        await step(migration)
        for _ in range(10):
            answer = await browser.get("/read")
            assert (answer.status, answer.text) == (200, '{"user":"alice"}')


@pytest.mark.parametrize("step", [begun, moved])
async def test_session_is_written_in_transit(warm_shop: Shop, cluster: Cluster, step: Step) -> None:
    browser = await warm_shop.visitor(user="alice")
    with cluster.migration(slot_of(browser)) as migration:
        await step(migration)
        for number in range(5):
            answer = await browser.get(f"/write?cart={number}")
            assert answer.status == 200, answer.text
    assert json.loads((await browser.get("/read")).text) == {"user": "alice", "cart": "4"}


@pytest.mark.parametrize("step", [begun, moved])
async def test_rotation_waits_for_slot_to_arrive(shop: Shop, cluster: Cluster, step: Step) -> None:
    browser = await shop.visitor(user="alice")
    former = browser.cookie
    with cluster.migration(slot_of(browser)) as migration:
        await step(migration)
        late = await shop.late_writer(browser, "cart=1")
        login = browser.open("/rotate")
        await asyncio.sleep(0.3)
        assert not login.answer.messages
    browser.take(await login.end())
    assert (await shop.let_go(late)).status == 200
    assert json.loads((await browser.get("/read")).text) == {"user": "alice", "cart": "1"}
    assert (await shop.browser(former).get("/read")).text == "{}"


async def test_change_of_id_in_a_slot_that_does_not_arrive_is_refused_and_undone(
    open_shop: OpenShop, cluster: Cluster, cluster_properties: dict[str, Any]
) -> None:
    shop = open_shop(cluster_properties | IMPATIENT)
    browser = await shop.visitor(user="alice")
    with cluster.migration(slot_of(browser)):
        answer = await browser.get("/rotate")
        assert (answer.status, answer.cookie()) == (503, None)
        assert (await browser.get("/read")).text == '{"user":"alice"}'
    assert (await browser.get("/rotate")).status == 200
    assert (await browser.get("/read")).text == '{"user":"alice"}'


@pytest.mark.parametrize("step", [begun, moved])
async def test_logout_holds_while_the_slot_moves(shop: Shop, cluster: Cluster, step: Step) -> None:
    browser = await shop.visitor(user="alice")
    former = browser.cookie
    with cluster.migration(slot_of(browser)) as migration:
        await step(migration)
        request = await shop.late_writer(browser, "cart=1")
        assert (await browser.get("/logout")).status == 200
        assert (await shop.let_go(request)).status == 200
    assert (await shop.browser(former).get("/read")).text == "{}"


async def test_nothing_is_lost_when_a_slot_moves_under_load(shop: Shop, cluster: Cluster) -> None:
    browser = await shop.visitor(user="alice")
    slot, number, stop = slot_of(browser), 0, False

    async def write_on() -> None:
        nonlocal number
        while not stop:
            number += 1
            answer = await shop.browser(browser.cookie).get(f"/write?a{number}=1")
            assert answer.status == 200, answer.text

    writers = [asyncio.ensure_future(write_on()) for _ in range(4)]
    for _ in range(4):
        with cluster.migration(slot) as migration:
            await asyncio.sleep(0.1)
            await moved(migration)
            await asyncio.sleep(0.1)
    stop = True
    await asyncio.gather(*writers)
    stored = json.loads((await browser.get("/read")).text)
    assert set(stored) == {"user"} | {f"a{each + 1}" for each in range(number)}
