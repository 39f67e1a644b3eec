"""Passwords, users with few rights, and TLS, on a cluster and behind Sentinels."""

import asyncio
import contextlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.topology.cluster import SLOTS, Cluster
from tests.topology.conftest import OpenShop
from tests.topology.nodes import HOST, PASSWORD, Node, free_ports, wait_until
from tests.topology.sentinels import MASTER_NAME, SENTINEL_PASSWORD, Watched
from tests.topology.shop import Shop
from tests.topology.tls import front, make_certificate

PAGE = Path(__file__).parents[2] / "docs/how-to/run-on-cluster-and-sentinel.md"
# What the page tells to allow: to all, for another database, in a cluster, without scripts.
LINES = re.findall("^ACL SETUSER sessions (.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
RIGHTS, OTHER_DATABASE, CLUSTER, NO_SCRIPTS = (line.split() for line in LINES)
USER = ["sessions", "reset", *RIGHTS]
CREDENTIALS = {"username": "sessions", "password": "secret"}
WITH_AND_WITHOUT_SCRIPTS = pytest.mark.parametrize("more", [[], NO_SCRIPTS], ids=["", "no scripts"])


async def use(shop: Shop) -> None:
    """Do everything that a session can do."""
    browser = await shop.visitor(user="alice")
    late = await shop.late_writer(browser, "cart=1")
    assert ((await browser.get("/rotate")).status, (await shop.let_go(late)).status) == (200, 200)
    assert (await browser.get("/read")).text == '{"user":"alice","cart":"1"}'
    assert (await browser.get("/logout")).status == 200


def with_url(properties: dict[str, Any], password: str = PASSWORD) -> dict[str, Any]:
    rest = {name: value for name, value in properties.items() if name != "password"}
    return rest | {"url": f"redis://:{quote(password, safe='')}@nobody.invalid:1/0"}


async def test_password_of_the_url_holds_for_the_nodes(
    open_shop: OpenShop, redis_properties: dict[str, Any]
) -> None:
    await use(open_shop(with_url(redis_properties)))


async def test_password_of_its_own_property_comes_before_that_of_the_url(
    open_shop: OpenShop, redis_properties: dict[str, Any]
) -> None:
    await use(open_shop(with_url(redis_properties, "wrong") | {"password": PASSWORD}))


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"username": "nobody"}])
async def test_wrong_credentials_are_answered_503(
    open_shop: OpenShop, redis_properties: dict[str, Any], wrong: dict[str, str]
) -> None:
    assert (await open_shop(redis_properties | wrong).browser().get("/write?a=1")).status == 503


async def test_wrong_password_of_the_sentinels_is_answered_503(
    open_shop: OpenShop, sentinel_properties: dict[str, Any]
) -> None:
    sentinel = sentinel_properties["sentinel"] | {"password": "wrong"}
    shop = open_shop(sentinel_properties | {"sentinel": sentinel})
    assert (await shop.browser().get("/write?a=1")).status == 503


@WITH_AND_WITHOUT_SCRIPTS
async def test_cluster_user_needs_only_the_rights_that_are_documented(
    open_shop: OpenShop, cluster: Cluster, cluster_properties: dict[str, Any], more: list[str]
) -> None:
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", *USER, *CLUSTER, *more)
    await use(open_shop(cluster_properties | CREDENTIALS))


@WITH_AND_WITHOUT_SCRIPTS
@pytest.mark.parametrize("database", [0, 3])
async def test_user_behind_sentinels_needs_only_the_rights_that_are_documented(
    open_shop: OpenShop, watched: Watched, sentinel_properties: dict[str, Any], database: int,
    more: list[str],
) -> None:  # fmt: skip
    for node in watched.servers:
        node.ask("ACL", "SETUSER", *USER, *(OTHER_DATABASE if database else []), *more)
    url = f"redis://nobody.invalid:1/{database}"
    await use(open_shop(sentinel_properties | CREDENTIALS | {"url": url}))


async def test_another_database_takes_the_right_that_is_documented_for_it(
    open_shop: OpenShop, watched: Watched, sentinel_properties: dict[str, Any]
) -> None:
    for node in watched.servers:
        node.ask("ACL", "SETUSER", *USER)
    url = "redis://nobody.invalid:1/3"
    shop = open_shop(sentinel_properties | CREDENTIALS | {"url": url})
    assert (await shop.browser().get("/write?a=1")).status == 503


async def test_cluster_is_reached_by_tls(open_shop: OpenShop, tmp_path: Path) -> None:
    certificate, context = make_certificate(tmp_path)
    port, outside, bus = free_ports(3)
    settings = [
        ("cluster-enabled", "yes"), ("cluster-port", str(bus)),
        ("cluster-announce-port", str(outside)), ("cluster-announce-ip", HOST),
    ]  # fmt: skip
    with contextlib.closing(Node(port, settings)) as node:
        node.start().ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        async with front(outside, port, context) as door:
            await asyncio.to_thread(
                wait_until, lambda: "cluster_state:ok" in node.ask("CLUSTER", "INFO"), "it is ready"
            )
            shop = open_shop(
                {
                    "cluster": {"nodes": [f"{HOST}:{outside}"]},
                    "url": f"rediss://nobody.invalid:1/0?ssl_ca_certs={certificate}",
                    "password": PASSWORD,
                }
            )
            await use(shop)
            await shop.close()
            assert door.encrypted > 0


async def test_master_and_sentinels_are_reached_by_tls(open_shop: OpenShop, tmp_path: Path) -> None:
    certificate, context = make_certificate(tmp_path)
    port, outside, watcher_port, watcher_outside = free_ports(4)
    watching = [
        ("sentinel", "monitor", MASTER_NAME, HOST, str(outside), "1"),
        ("sentinel", "auth-pass", MASTER_NAME, PASSWORD),
    ]
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(contextlib.closing(Node(port, [])))
        watcher = stack.enter_context(
            contextlib.closing(
                Node(watcher_port, watching, password=SENTINEL_PASSWORD, sentinel=True)
            )
        )
        async with (
            front(outside, port, context) as door,
            front(watcher_outside, watcher_port, context) as watcher_door,
        ):
            master.start()
            watcher.start()
            sentinel = {
                "master": MASTER_NAME,
                "nodes": [f"{HOST}:{watcher_outside}"],
                "password": SENTINEL_PASSWORD,
            }
            url = f"rediss://nobody.invalid:1/0?ssl_ca_certs={certificate}"
            shop = open_shop({"sentinel": sentinel, "url": url, "password": PASSWORD})
            await use(shop)
            await shop.close()
            assert (door.encrypted > 0, watcher_door.encrypted > 0) == (True, True)
