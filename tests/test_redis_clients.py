"""Redis clients made from properties: what the driver refuses is refused at start, by name."""

import asyncio
from typing import Any

import pytest
import redis
import redis.asyncio as aioredis

from pyfly_session import ConfigurationError, SessionStoreError
from pyfly_session.adapters.redis import RedisSessionStore
from pyfly_session.auto_configuration import create_container
from pyfly_session.auto_configuration.per_loop import Close, PerLoop
from pyfly_session.auto_configuration.redis_clients import create_redis_client
from pyfly_session.config import bind_properties
from tests.support.cases import for_each
from tests.support.types import Patch

# Cluster and Sentinel need a newer driver than a single server does.
several = pytest.mark.skipif(
    redis.__version__ < "8", reason="the driver is too old for several nodes"
)
KINDS = pytest.mark.parametrize(
    "kind",
    [
        pytest.param({}, id="standalone"),
        pytest.param({"cluster": {"nodes": ["a.example:6379"]}}, id="cluster", marks=several),
        pytest.param(
            {"sentinel": {"master": "m", "nodes": ["a.example:26379"]}},
            id="sentinel",
            marks=several,
        ),
    ],
)
CLUSTER = {"cluster": {"nodes": ["a.example:6379"]}}
SENTINEL = {"sentinel": {"master": "m", "nodes": ["a.example:26379"]}}


def container_of(**redis: Any) -> Any:
    session = {"enabled": True, "store": "redis", "redis": redis}
    return create_container({"pyfly": {"session": session}})


@KINDS
@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("max_connections=many", "max_connections=many"),
        ("socket_timeout=x", "socket_timeout=x"),
        ("colour=red", "colour=***"),
    ],
)
def test_an_option_of_the_url_that_the_driver_refuses_is_refused_at_start(
    kind: dict[str, Any], option: str, shown: str
) -> None:
    container = container_of(url=f"redis://user:s3cr3t@h/0?{option}", **kind)

    with pytest.raises(ConfigurationError) as caught:
        container.session_filter()

    message = str(caught.value)
    assert message.startswith("pyfly.session.redis.url has an option that the driver refuses")
    assert option.partition("=")[0] in message
    assert "s3cr3t" not in message
    assert caught.value.key == "pyfly.session.redis.url"
    assert caught.value.value == f"redis://user:***@h/0?{shown}"


@for_each("url", ["rediss://h?ssl_cert_reqs=perhaps", "redis://h?protocol=9"])
def test_a_value_of_an_option_that_the_driver_refuses_later_is_refused_at_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="has an option that the driver refuses"):
        container_of(url=url).session_filter()


@KINDS
async def test_options_that_the_driver_knows_are_allowed(kind: dict[str, Any]) -> None:
    url = "rediss://h/0?health_check_interval=5&ssl_cert_reqs=none"
    tree = {"pyfly": {"session": {"redis": {"url": url, **kind}}}}
    _, closers = create_redis_client(bind_properties(tree).redis)
    for close in closers:
        await close()


@for_each("url", ["redis://h", "rediss://h", "unix:///tmp/s"])
def test_connections_are_kept_alive_where_there_is_a_network(url: str) -> None:
    client, _ = create_redis_client(
        bind_properties({"pyfly": {"session": {"redis": {"url": url}}}}).redis
    )
    options = client.connection_pool.connection_kwargs  # type: ignore[union-attr]
    assert options["health_check_interval"] == 30
    assert options.get("socket_keepalive", False) is not url.startswith("unix")
    assert 30 in options.get("socket_keepalive_options", {0: 30}).values()


@KINDS
def test_asking_and_trying_idle_connections_can_be_switched_off(kind: dict[str, Any]) -> None:
    redis = {"keepalive": 0, "health-check-interval": 0, **kind}
    client: Any = create_redis_client(
        bind_properties({"pyfly": {"session": {"redis": redis}}}).redis
    )[0]
    options = (
        client.connection_kwargs if kind == CLUSTER else client.connection_pool.connection_kwargs
    )
    assert not options.get("socket_keepalive")
    assert not options["health_check_interval"]


@pytest.mark.parametrize("kind", [CLUSTER, SENTINEL], ids=["cluster", "sentinel"])
def test_driver_too_old_for_nodes_is_refused(kind: dict[str, Any], monkeypatch: Patch) -> None:
    monkeypatch.setattr(redis, "__version__", "6.2.0")
    container_of().session_filter()
    with pytest.raises(ConfigurationError, match=r"needs the package redis 8\.0.*found 6\.2\.0"):
        container_of(**kind).session_filter()


# Event loops


async def test_other_properties_get_a_client_of_their_own_and_both_are_closed() -> None:
    clients, closed = PerLoop(), list[str]()

    def create(name: str) -> tuple[str, list[Close]]:
        async def close() -> None:
            closed.append(name)

        return f"client of {name}", [close]

    made = [clients.get(name, create) for name in ("a", "a", "b")]
    assert made == ["client of a", "client of a", "client of b"]
    await clients.close()
    assert (closed, clients.any) == (["b", "a"], False)


@for_each("closing", [True, False])
def test_an_event_loop_a_job_leaves_nothing_behind(valkey_url: str, *, closing: bool) -> None:
    container = container_of(url=valkey_url)
    clients = container.redis_clients()

    async def job() -> int:
        if closing:
            await container.session_store().exists("a")
            await clients.close()
        return int(await container.principal_sessions().count("ann"))

    with redis.Redis.from_url(valkey_url) as admin:
        before = len(admin.client_list())
        for _ in range(5):
            assert asyncio.run(job()) == 0
        assert len(admin.client_list()) == before
    assert not clients.any


def test_an_event_loop_that_just_stops_is_forgotten_with_its_client(valkey_url: str) -> None:
    container = container_of(url=valkey_url)
    made = container.redis_clients()._made

    async def use() -> None:
        await container.session_store().exists("a")
        await container.redis_client().aclose()

    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(use())
        loop.close()
        assert len(made) == 1


def test_a_client_of_another_event_loop_is_refused_with_the_remedy(valkey_url: str) -> None:
    client: Any = aioredis.from_url(valkey_url)
    store = RedisSessionStore(client)
    with asyncio.Runner() as first, asyncio.Runner() as second:
        assert first.run(store.exists("a")) is False
        with pytest.raises(SessionStoreError, match="make one for each loop"):
            second.run(store.exists("a"))
        first.run(client.aclose())
