"""A master is lost while sessions are used: honest answers, no lost data, no restart of ours.

Replication is asynchronous. What a master acknowledged in its last moments may not have reached
its replica, so the tests look at what was acknowledged before a moment at which the replica
was known to be in step, and after the failover.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.waiting import eventually
from tests.topology.cluster import Cluster
from tests.topology.conftest import OpenShop
from tests.topology.load import recovery, writing
from tests.topology.nodes import HOST, PASSWORD, Node, free_ports, wait_until
from tests.topology.sentinels import Watched
from tests.topology.shop import IMPATIENT
from tests.web.driver import Browser

Harm = Callable[[Node], None]
# A hang, not a measure.
_BOUNDED = 60


def key_of(browser: Browser) -> str:
    return f"pyfly:session:{browser.cookie}"


def in_step(master: Node, key: str) -> None:
    """Wait until the replica has all that the master wrote before."""
    with master.client() as client:
        client.execute_command("SET", f"{{{key}}}:barrier", "1")
        assert client.execute_command("WAIT", 1, 30_000) == 1


@pytest.mark.parametrize(("harm", "retries"), [(Node.kill, 0), (Node.freeze, 1)])
async def test_cluster_fails_over_under_load(
    open_shop: OpenShop, cluster: Cluster, cluster_properties: dict[str, Any], harm: Harm,
    retries: int,
) -> None:  # fmt: skip
    shop = open_shop(cluster_properties | IMPATIENT | {"retries": retries})
    async with writing(shop, 12) as writers:
        await asyncio.sleep(0.3)
        owners = [cluster.owner(key_of(each.browser)) for each in writers]
        victim = owners[0]
        replica = cluster.replica_of(victim)
        safe = time.monotonic()
        await asyncio.to_thread(in_step, victim, key_of(writers[0].browser))
        harm(victim)
        try:
            await asyncio.to_thread(
                wait_until, lambda: replica.info("replication")["role"] == "master", "it took over"
            )
            back = await recovery(writers)
        finally:
            victim.kill()
    for writer, owner in zip(writers, owners, strict=True):
        assert await writer.lost(before=safe, after=back) == set()
        if owner is not victim:
            assert (await writer.lost(before=back, after=back), writer.refused) == (set(), [])


@pytest.mark.parametrize("harm", [Node.kill, Node.freeze])
async def test_sentinels_fail_over_under_load(
    open_shop: OpenShop, watched: Watched, sentinel_properties: dict[str, Any], harm: Harm
) -> None:
    shop = open_shop(sentinel_properties | IMPATIENT)
    async with writing(shop, 12) as writers:
        await asyncio.sleep(0.3)
        master, other = watched.master(), watched.other()
        safe = time.monotonic()
        await asyncio.to_thread(in_step, master, key_of(writers[0].browser))
        harm(master)
        try:
            await asyncio.to_thread(
                wait_until, lambda: other.info("replication")["role"] == "master", "it took over"
            )
            back = await recovery(writers)
        finally:
            master.kill()
    for writer in writers:
        assert await writer.lost(before=safe, after=back) == set()


async def test_server_that_writes_all_to_disk_is_killed_in_load(open_shop: OpenShop) -> None:
    """Nothing that it acknowledged is gone, and writes go on when it is back."""
    [port] = free_ports(1)
    settings = [("appendonly", "yes"), ("appendfsync", "always"), ("save", "")]
    with contextlib.closing(Node(port, settings)) as node:
        node.start()
        url = {"url": f"redis://{HOST}:{port}/0", "password": PASSWORD}
        async with writing(open_shop(url | IMPATIENT), 12) as writers:
            await asyncio.sleep(0.3)
            node.kill()
            killed = time.monotonic()
            await asyncio.to_thread(node.start)
            await recovery(writers)
        for writer in writers:
            assert await writer.lost(before=killed, after=killed) == set()


async def test_sentinel_that_is_gone_does_not_matter(
    open_shop: OpenShop, watched: Watched, sentinel_properties: dict[str, Any]
) -> None:
    shop = open_shop(sentinel_properties)
    browser = await shop.visitor(user="alice")
    watched.watchers[0].kill()
    again = open_shop(sentinel_properties).browser(browser.cookie)
    assert [(await each.get("/read")).status for each in (browser, again)] == [200, 200]


async def test_cluster_node_in_the_properties_may_be_gone(
    open_shop: OpenShop, cluster: Cluster, cluster_properties: dict[str, Any]
) -> None:
    """One of the nodes that are named is enough to find the others."""
    named = {"nodes": ["127.0.0.1:1", cluster.addresses[0]]}
    browser = await open_shop(cluster_properties | {"cluster": named}).visitor(user="alice")
    assert (await browser.get("/read")).text == '{"user":"alice"}'


async def test_nobody_there_is_answered_503_and_mended_without_a_restart(
    open_shop: OpenShop, watched: Watched, sentinel_properties: dict[str, Any]
) -> None:
    shop = open_shop(sentinel_properties | IMPATIENT)
    browser = await shop.visitor(user="alice")
    for node in watched.servers:
        node.freeze()
    async with asyncio.timeout(_BOUNDED):
        assert (await browser.get("/read")).status == 503
    for node in watched.servers:
        node.thaw()
    await asyncio.to_thread(watched.settle)

    async def answered() -> bool:
        return (await browser.get("/read")).text == '{"user":"alice"}'

    await eventually(answered)
