"""Connections that are cut and scripts that are forgotten while sessions are used."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.topology.cluster import Cluster
from tests.topology.conftest import OpenShop
from tests.topology.load import recovery, writing
from tests.topology.sentinels import Watched

Ask = Callable[..., Any]
HARMS = [
    pytest.param([("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")], id="client kill"),
    pytest.param([("SCRIPT", "FLUSH")], id="script flush"),
    pytest.param(
        [("SCRIPT", "FLUSH"), ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")], id="both"
    ),
]


def asking(url: str) -> Ask:
    def ask(*command: str) -> Any:
        with redis.Redis.from_url(url) as client:
            return client.execute_command(*command)

    return ask


@pytest.fixture(params=["single", "cluster", "sentinel"])
def place(request: pytest.FixtureRequest) -> tuple[dict[str, Any], list[Ask]]:
    """Return the properties that lead to each topology in turn, and what asks its masters."""
    if request.param == "single":
        url = request.getfixturevalue("valkey_url")
        return {"url": url}, [asking(url)]
    properties = request.getfixturevalue(f"{request.param}_properties")
    if request.param == "sentinel":
        watched: Watched = request.getfixturevalue("watched")
        return properties, [watched.master().ask]
    cluster: Cluster = request.getfixturevalue("cluster")
    masters = [each for each in cluster.nodes if each.info("replication")["role"] == "master"]
    return properties, [each.ask for each in masters]


@pytest.mark.parametrize("harm", HARMS)
async def test_nothing_that_was_acknowledged_is_lost(
    open_shop: OpenShop, place: tuple[dict[str, Any], list[Ask]], harm: list[tuple[str, ...]]
) -> None:
    """At whatever moment of a command it happens; and every visitor is served again."""
    properties, masters = place
    async with writing(open_shop(properties), 12) as writers:
        for _ in range(10):
            for ask in masters:
                for command in harm:
                    await asyncio.to_thread(ask, *command)
            await asyncio.sleep(0.02)
        back = await recovery(writers)
    for writer in writers:
        assert await writer.lost(before=back, after=back) == set()
