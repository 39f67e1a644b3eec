"""Everything that sessions promise, on a cluster and behind Sentinels."""

import asyncio
import hashlib
import json
from typing import Any

from tests.support.sessions import loaded
from tests.topology.cluster import Cluster
from tests.topology.conftest import OpenShop
from tests.topology.sentinels import Watched
from tests.web.driver import Browser

KEY_PREFIX = "pyfly:session:"


async def data_of(browser: Browser) -> dict[str, Any]:
    answer = await browser.get("/read")
    assert answer.status == 200, answer.text
    data: dict[str, Any] = json.loads(answer.text)
    return data


async def test_sessions_live_on_every_master(
    open_shop: OpenShop, cluster: Cluster, cluster_properties: dict[str, Any]
) -> None:
    shop = open_shop(cluster_properties)
    browsers = [await shop.visitor(number=number) for number in range(30)]
    owners = {cluster.owner(f"{KEY_PREFIX}{each.cookie}").port for each in browsers}
    assert len(owners) == 3
    assert [await data_of(each) for each in browsers] == [{"number": str(n)} for n in range(30)]


async def test_concurrent_writers_of_two_processes_lose_nothing(
    open_shop: OpenShop, redis_properties: dict[str, Any]
) -> None:
    shops = [open_shop(redis_properties), open_shop(redis_properties)]
    browser = await shops[0].visitor(user="alice")
    answers = await asyncio.gather(
        *(shops[n % 2].browser(browser.cookie).get(f"/write?a{n}={n}") for n in range(40))
    )
    assert {each.status for each in answers} == {200}
    assert await data_of(browser) == {"user": "alice"} | {f"a{n}": str(n) for n in range(40)}


async def test_late_write_follows_a_change_of_id_across_slots(
    open_shop: OpenShop, redis_properties: dict[str, Any]
) -> None:
    slow, quick = open_shop(redis_properties), open_shop(redis_properties)
    for number in range(12):
        browser = await slow.visitor(user="alice")
        former = browser.cookie
        request = await slow.late_writer(browser, f"cart={number}")
        login = quick.browser(former)
        await login.get("/rotate?role=admin")
        answer = await slow.let_go(request)
        assert (answer.status, answer.cookie()) == (200, None)
        assert await data_of(login) == {"user": "alice", "role": "admin", "cart": str(number)}
        assert await data_of(quick.browser(former)) == {}


async def test_logout_holds_against_a_late_write(
    open_shop: OpenShop, redis_properties: dict[str, Any]
) -> None:
    slow, quick = open_shop(redis_properties), open_shop(redis_properties)
    browser = await slow.visitor(user="alice")
    request = await slow.late_writer(browser, "cart=1")
    await quick.browser(browser.cookie).get("/logout")
    answer = await slow.let_go(request)
    assert (answer.status, answer.cookie(), await data_of(browser)) == (200, None, {})


async def test_logout_follows_a_change_of_id_across_slots(
    open_shop: OpenShop, redis_properties: dict[str, Any]
) -> None:
    slow, quick = open_shop(redis_properties), open_shop(redis_properties)
    browser = await slow.visitor(user="alice")
    login = quick.browser(browser.cookie)
    await login.get("/rotate")
    # The request loaded its session before the change, as a logout in another tab would.
    session = await loaded(slow.container.session_repository(), str(login.cookie))
    await login.get("/rotate")
    session.invalidate()
    await slow.container.session_repository().commit(session)
    assert await data_of(login) == {}


async def test_hashed_ids_follow_too(open_shop: OpenShop, redis_properties: dict[str, Any]) -> None:
    shop = open_shop(redis_properties, **{"hash-ids": True})
    browser = await shop.visitor(user="alice")
    request = await shop.late_writer(browser, "cart=1")
    login = shop.browser(browser.cookie)
    await login.get("/rotate")
    assert (await shop.let_go(request)).status == 200
    assert await data_of(login) == {"user": "alice", "cart": "1"}
    client = shop.container.redis_client()
    hashed = hashlib.sha256(str(login.cookie).encode()).hexdigest()
    assert await client.exists(f"{KEY_PREFIX}{hashed}") == 1
    assert await client.exists(f"{KEY_PREFIX}{login.cookie}") == 0


async def test_many_requests_at_once_share_few_connections(
    open_shop: OpenShop, redis_properties: dict[str, Any]
) -> None:
    shop = open_shop(redis_properties | {"max-connections": 20})
    browser = await shop.visitor(user="alice")
    reading = [shop.browser(browser.cookie).get("/read") for _ in range(300)]
    answers = await asyncio.gather(
        *reading, *(shop.browser().get("/write?a=1") for _ in range(300))
    )
    assert {each.status for each in answers} == {200}


async def test_application_can_be_closed_and_used_again(
    open_shop: OpenShop, redis_properties: dict[str, Any]
) -> None:
    shop = open_shop(redis_properties)
    browser = await shop.visitor(user="alice")
    await shop.close()
    assert await data_of(browser) == {"user": "alice"}


async def test_writes_reach_the_master_that_the_sentinels_name(
    open_shop: OpenShop, watched: Watched, sentinel_properties: dict[str, Any]
) -> None:
    browser = await open_shop(sentinel_properties).visitor(user="alice")
    key = f"{KEY_PREFIX}{browser.cookie}"
    assert "alice" in watched.master().ask("GET", key)
