"""A server that goes away and comes back: the application needs no restart."""

import asyncio

import pytest

from tests.faults.conftest import OpenShop, StartServer
from tests.faults.servers import Server
from tests.faults.shop import assert_unavailable
from tests.faults.waiting import eventually

KNOWN = "a" * 32
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.mark.parametrize("requests", [1, 10])
async def test_restarted_server_is_used_again(
    start_server: StartServer, open_shop: OpenShop, requests: int
) -> None:
    """Every pooled connection is dead, and none of them costs a request."""
    server = await start_server(*DURABLE)
    shop = open_shop(server.url)
    await server.seed(KNOWN, user="alice")
    for _ in range(2):
        answers = await asyncio.gather(*(shop.get("/read", KNOWN) for _ in range(requests)))
        assert [each.text for each in answers] == ['["alice",false]'] * requests
        server.kill()
        await server.start()


async def test_server_that_is_down_for_a_while_is_used_again(
    start_server: StartServer, open_shop: OpenShop
) -> None:
    server = await start_server(*DURABLE)
    shop = open_shop(server.url)
    await server.seed(KNOWN, user="alice")
    assert (await shop.get("/write", KNOWN)).status == 200
    server.kill()
    for path in ("/read", "/write", "/login", "/logout"):
        assert_unavailable(await shop.get(path, KNOWN))
    await server.start()
    assert (await shop.get("/write", KNOWN)).status == 200
    assert await server.stored(KNOWN) == {"user": "alice", "cart": ["rope"]}


async def test_application_may_start_before_server(server: Server, open_shop: OpenShop) -> None:
    server.kill()
    shop = open_shop(server.url)
    assert_unavailable(await shop.get("/write"))
    await server.start()
    assert (await shop.get("/write")).status == 200


async def test_server_that_dies_under_the_handler_gives_503(
    start_server: StartServer, open_shop: OpenShop
) -> None:
    async def killing(request: object) -> object:
        server.kill()
        return await shop.handler("write")(request)

    server = await start_server(*DURABLE)
    shop = open_shop(server.url, killing=killing)
    await server.seed(KNOWN, user="alice")
    assert_unavailable(await shop.get("/killing", KNOWN))
    await server.start()
    assert await server.stored(KNOWN) == {"user": "alice"}
    assert (await shop.get("/write", KNOWN)).status == 200


async def test_server_that_lost_data_gives_new_session(server: Server, open_shop: OpenShop) -> None:
    shop = open_shop(server.url)
    await server.seed(KNOWN, user="alice")
    assert (await shop.get("/read", KNOWN)).text == '["alice",false]'
    server.kill()
    await server.start()
    answer = await shop.get("/read", KNOWN)
    assert answer.text == "[null,false]"
    assert answer.session_id != KNOWN
    assert await server.session_ids() == {answer.session_id}


async def test_server_that_is_loading_gives_503_until_it_has_loaded(
    start_server: StartServer, open_shop: OpenShop, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start_server()
    await server.seed(KNOWN, user="alice")
    await server.admin.mset({f"filler:{number}": b"x" * 100 for number in range(20_000)})
    await server.admin.save()
    server.kill()
    slowly = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    await server.start(*slowly, wait=False)
    shop = open_shop(server.url)
    assert_unavailable(await shop.get("/read", KNOWN))
    assert "BusyLoadingError" in caplog.text
    assert (await server.admin.info("persistence"))["loading"] == 1
    await server.admin.config_set("key-load-delay", 0)
    await eventually(lambda: shop.serves(KNOWN))
    assert (await shop.get("/read", KNOWN)).text == '["alice",false]'
