"""An operator who looks for sessions, and ends those of a stolen account, in a failover."""

import asyncio
from typing import Any

from pyfly_session.errors import SessionStoreError
from pyfly_session.management.session_lookup import Lookup
from tests.topology.cluster import Cluster
from tests.topology.conftest import OpenShop
from tests.topology.nodes import wait_until
from tests.topology.shop import IMPATIENT
from tests.topology.test_failover import in_step, key_of
from tests.topology.test_principals import is_logged_in, logged_in


async def test_sessions_are_listed_whatever_node_has_them(
    open_shop: OpenShop, redis_properties: dict[str, Any]
) -> None:
    shop, elsewhere = open_shop(redis_properties), open_shop(redis_properties)
    browsers = [await logged_in(shop, f"listed{number}") for number in range(30)]
    told = await Lookup(elsewhere.container).page("listed", size=100)
    assert told is not None
    page, found = told
    assert (page.complete, page.problem) == (True, None)
    assert {each.session_id for each in found} == {each.cookie for each in browsers}


async def test_a_stolen_account_is_ended_while_a_node_fails_over(
    open_shop: OpenShop, cluster: Cluster, cluster_properties: dict[str, Any]
) -> None:
    shop = open_shop(cluster_properties | IMPATIENT)
    browsers = [await logged_in(shop, "stolen") for _ in range(12)]
    victim = cluster.owner(key_of(browsers[0]))
    replica = cluster.replica_of(victim)
    await asyncio.to_thread(in_step, victim, key_of(browsers[0]))
    operator = Lookup(shop.container)
    victim.kill()
    # Of what cannot be reached the list says that it is not complete, and shows the rest.
    told = await operator.page("stolen", size=100)
    assert told is not None
    assert told[0].complete or told[0].problem
    refused = 0
    while True:
        try:
            await operator.end_all("stolen", by="root")
            break
        except SessionStoreError:
            refused += 1
            assert refused < 1000
            await asyncio.sleep(0.05)
    await asyncio.to_thread(
        wait_until, lambda: replica.info("replication")["role"] == "master", "it took over"
    )
    assert [await is_logged_in(shop, each) for each in browsers] == [False] * 12
    told = await operator.page("stolen", size=100)
    assert told is not None
    assert (told[0].complete, told[0].matching) == (True, 0)
