"""A cluster and a Sentinel set-up for all tests of this folder, and applications that use them."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.topology.cluster import Cluster, running_cluster
from tests.topology.nodes import PASSWORD
from tests.topology.sentinels import MASTER_NAME, SENTINEL_PASSWORD, Watched, running_sentinels
from tests.topology.shop import Shop

OpenShop = Callable[..., Shop]


@pytest.fixture(scope="session")
def cluster_processes() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def sentinel_processes() -> Iterator[Watched]:
    with running_sentinels() as watched:
        yield watched


@pytest.fixture
def cluster(cluster_processes: Cluster) -> Cluster:
    """Return the cluster, complete again after whatever another test did to it."""
    cluster_processes.settle()
    return cluster_processes


@pytest.fixture
def watched(sentinel_processes: Watched) -> Watched:
    """Return the Sentinel set-up, complete again after whatever another test did to it."""
    sentinel_processes.settle()
    return sentinel_processes


@pytest.fixture
def cluster_properties(cluster: Cluster) -> dict[str, Any]:
    """Return the properties under ``redis`` that lead to the cluster."""
    return {"cluster": {"nodes": cluster.addresses[:2]}, "password": PASSWORD}


@pytest.fixture
def sentinel_properties(watched: Watched) -> dict[str, Any]:
    """Return the properties under ``redis`` that lead to the master, through the Sentinels."""
    nodes = {"master": MASTER_NAME, "nodes": watched.addresses, "password": SENTINEL_PASSWORD}
    return {"sentinel": nodes, "password": PASSWORD}


@pytest.fixture(params=["cluster", "sentinel"])
def redis_properties(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the properties of each topology in turn."""
    properties: dict[str, Any] = request.getfixturevalue(f"{request.param}_properties")
    return properties


@pytest.fixture
async def open_shop(anyio_backend: str) -> AsyncIterator[OpenShop]:
    """Return a function that opens one more process of the application."""
    shops: list[Shop] = []

    def open_one(redis: dict[str, Any], **session: Any) -> Shop:
        shops.append(Shop(redis, **session))
        return shops[-1]

    yield open_one
    for shop in shops:
        await shop.close()
