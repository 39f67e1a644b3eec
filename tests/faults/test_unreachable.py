"""A server that refuses, hangs or crawls: an honest answer within the bounds, then recovery."""

import asyncio
import errno
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.faults.conftest import OpenShop
from tests.faults.proxy import Proxy
from tests.faults.servers import Server, refusing_port, unaccepting_port
from tests.faults.shop import PATIENCE, assert_unavailable
from tests.faults.waiting import eventually
from tests.support.types import Log

KNOWN = "a" * 32
# Every wait is some tenths of a second. Without a bound it would be minutes; with one it is over
# long before, on a busy machine too.
LONG = 600
BOUNDED = 60


@pytest.mark.parametrize("path", ["/idle", "/read", "/write", "/login", "/logout"])
async def test_server_that_refuses_gives_503(open_shop: OpenShop, path: str, caplog: Log) -> None:
    """The log says so without the id and the password."""
    with refusing_port() as port:
        shop = open_shop(f"redis://:s3cret@127.0.0.1:{port}", patience=PATIENCE)
        async with asyncio.timeout(BOUNDED):
            assert_unavailable(await shop.get(path, KNOWN))
    assert "503" in caplog.text
    assert KNOWN not in caplog.text
    assert "s3cret" not in caplog.text


async def test_server_that_accepts_and_never_answers_gives_503(
    open_shop: OpenShop, closing: AsyncExitStack
) -> None:
    deaf = await Proxy().start()
    closing.push_async_callback(deaf.close)
    deaf.silent = True
    shop = open_shop(deaf.url, patience=PATIENCE)
    async with asyncio.timeout(BOUNDED):
        assert_unavailable(await shop.get("/read", KNOWN))
    assert deaf.accepted > 0


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "unconnected"])
async def test_frozen_server_recovers(server: Server, open_shop: OpenShop, connected: bool) -> None:
    shop = open_shop(server.url, patience=PATIENCE)
    await server.seed(KNOWN, user="alice")
    if connected:
        await eventually(lambda: shop.serves(KNOWN))
    server.freeze()
    async with asyncio.timeout(BOUNDED):
        assert_unavailable(await shop.get("/write", KNOWN))
    server.thaw()
    await eventually(lambda: shop.serves(KNOWN))
    assert await server.stored(KNOWN) == {"user": "alice"}


@pytest.mark.parametrize("path", ["/write", "/login", "/logout"])
async def test_server_that_freezes_under_the_handler_gives_503(
    server: Server, open_shop: OpenShop, path: str
) -> None:
    """The commands lie in the frozen server's socket, and are done when it wakes up."""

    async def freezing(request: object) -> object:
        server.freeze()
        return await shop.handler(path[1:])(request)

    shop = open_shop(server.url, patience=PATIENCE, freezing=freezing)
    await server.seed(KNOWN, user="alice")
    async with asyncio.timeout(BOUNDED):
        assert_unavailable(await shop.get("/freezing", KNOWN))
    server.thaw()
    await eventually(lambda: shop.serves(KNOWN))
    living = [await server.stored(each) for each in await server.session_ids()]
    if path == "/logout":
        assert ((await shop.get(path, KNOWN)).status, await server.stored(KNOWN)) == (200, None)
    else:
        assert any(each and each["user"] in ("alice", "bob") for each in living)


async def test_slow_answer_within_the_bounds_is_only_slow(
    proxy: Proxy, server: Server, open_shop: OpenShop
) -> None:
    shop = open_shop(proxy.url)
    await server.seed(KNOWN, user="alice")
    proxy.delay = PATIENCE
    assert (await shop.get("/write", KNOWN)).status == 200
    assert await server.stored(KNOWN) == {"user": "alice", "cart": ["rope"]}


async def test_slow_answer_beyond_the_timeout_gives_503_and_no_reply_is_mistaken(
    proxy: Proxy, server: Server, open_shop: OpenShop
) -> None:
    """A late answer must not be taken for that to the next command."""
    shop = open_shop(proxy.url, patience=PATIENCE, redis={"max-connections": 1, "retries": 0})
    await server.seed(KNOWN, user="alice")
    await server.seed("b" * 32, user="carol")
    await eventually(lambda: shop.serves(KNOWN))
    proxy.delay = PATIENCE * 5
    assert_unavailable(await shop.get("/read", KNOWN))
    proxy.heal()
    answer = await shop.get("/read", "b" * 32)
    while answer.status == 503:
        # The machine was too busy for so short a timeout.
        answer = await shop.get("/read", "b" * 32)
    assert answer.text == '["carol",false]'


@pytest.mark.parametrize("path", ["/read", "/write"])
async def test_deadline_bounds_what_the_timeout_would_allow(
    proxy: Proxy, server: Server, open_shop: OpenShop, path: str
) -> None:
    shop = open_shop(
        proxy.url, patience=PATIENCE, redis={"timeout": LONG, "retries": 5, "deadline": PATIENCE}
    )
    await server.seed(KNOWN, user="alice")
    await eventually(lambda: shop.serves(KNOWN))
    proxy.delay = LONG
    async with asyncio.timeout(BOUNDED):
        assert_unavailable(await shop.get(path, KNOWN))
    proxy.heal()
    await eventually(lambda: shop.serves(KNOWN))


async def test_deadline_bounds_retries_and_their_pauses(open_shop: OpenShop) -> None:
    with refusing_port() as port:
        shop = open_shop(
            f"redis://127.0.0.1:{port}",
            patience=PATIENCE,
            redis={"retries": 100, "deadline": PATIENCE},
        )
        async with asyncio.timeout(BOUNDED):
            assert_unavailable(await shop.get("/read", KNOWN))


async def test_deadline_bounds_a_change_of_id_as_a_whole(
    proxy: Proxy, server: Server, open_shop: OpenShop
) -> None:
    """It takes two commands; each of them alone would be quick enough."""
    shop = open_shop(
        proxy.url, patience=PATIENCE, redis={"timeout": LONG, "deadline": 4 * PATIENCE}
    )
    await server.seed(KNOWN, user="alice")
    await eventually(lambda: shop.serves(KNOWN))
    proxy.delay = 3 * PATIENCE
    assert_unavailable(await shop.get("/login", KNOWN))
    proxy.heal()
    await eventually(lambda: shop.serves(KNOWN))


@pytest.mark.parametrize("pipelining", [True, False], ids=["together", "one by one"])
async def test_deadline_bounds_a_crowd_as_it_bounds_one(
    proxy: Proxy, server: Server, open_shop: OpenShop, pipelining: bool
) -> None:
    """None waits for those before it to fail, one after the other.

    A timeout of its own is there for Python 3.11, whose asyncio.wait_for loses a cancellation
    that comes when it is about to return. The driver sends commands through it.
    """
    redis = {
        "timeout": 1, "connect-timeout": 1, "retries": 0, "pool-timeout": LONG,
        "deadline": PATIENCE,
    }  # fmt: skip
    shop = open_shop(
        proxy.url,
        patience=PATIENCE,
        redis={**redis, "max-connections": 2, "pipelining": pipelining},
    )
    await server.seed(KNOWN, user="alice")
    proxy.delay = LONG
    async with asyncio.timeout(BOUNDED):
        for answer in await asyncio.gather(*(shop.get("/read", KNOWN) for _ in range(300))):
            assert_unavailable(answer)
    proxy.heal()
    await eventually(lambda: shop.serves(KNOWN))


async def test_pipeline_that_is_not_answered_ends_with_the_timeout(
    proxy: Proxy, server: Server, open_shop: OpenShop
) -> None:
    redis = {"timeout": PATIENCE, "deadline": LONG, "retries": 0}
    shop = open_shop(proxy.url, redis=redis)
    await server.seed(KNOWN, user="alice")
    await eventually(lambda: shop.serves(KNOWN))
    proxy.delay = LONG
    async with asyncio.timeout(BOUNDED):
        for answer in await asyncio.gather(*(shop.get("/read", KNOWN) for _ in range(20))):
            assert_unavailable(answer)
    proxy.heal()
    await eventually(lambda: shop.serves(KNOWN))


async def test_timeout_of_the_network_is_no_empty_answer(
    proxy: Proxy, server: Server, open_shop: OpenShop
) -> None:
    """The kernel gives up on a connection: nobody may take that for an absent session."""
    shop = open_shop(proxy.url, redis={"retries": 0}, session={"creation": "if-required"})
    await server.seed(KNOWN, user="alice")
    # So that there are connections, and no handshake is waited for.
    await asyncio.gather(*(shop.get("/read", KNOWN) for _ in range(4)))
    proxy.delay = LONG
    asked = [asyncio.ensure_future(shop.get("/read", KNOWN)) for _ in range(4)]
    client: Any = shop.container.redis_client()
    pool = client.connection_pool
    await eventually(lambda: _true_of(len(pool._in_use_connections) == 1))
    await asyncio.sleep(PATIENCE)
    for connection in list(pool._in_use_connections):
        gave_up = TimeoutError(errno.ETIMEDOUT, "Connection timed out")
        connection._writer.transport._fatal_error(gave_up)
    for answer in await asyncio.gather(*asked):
        assert_unavailable(answer)
    proxy.heal()
    await eventually(lambda: shop.serves(KNOWN))


async def _true_of(fact: bool) -> bool:
    return fact


async def test_others_who_use_the_client_have_its_timeout(
    proxy: Proxy, server: Server, open_shop: OpenShop
) -> None:
    redis = {"timeout": PATIENCE, "connect-timeout": PATIENCE, "retries": 0}
    shop = open_shop(proxy.url, redis=redis)
    client: Any = shop.container.redis_client()

    async def alone() -> None:
        await client.get("a")

    async def together() -> None:
        async with client.pipeline(transaction=False) as pipeline:
            await pipeline.get("a").get("b").execute()

    await client.ping()
    proxy.delay = LONG
    for work in (alone, together):
        async with asyncio.timeout(BOUNDED):
            with pytest.raises(RedisTimeoutError):
                await work()


async def test_requests_that_wait_together_fail_together(open_shop: OpenShop) -> None:
    with unaccepting_port() as port:
        shop = open_shop(
            f"redis://127.0.0.1:{port}", patience=PATIENCE, redis={"max-connections": 50}
        )
        async with asyncio.timeout(BOUNDED):
            for answer in await asyncio.gather(*(shop.get("/read", KNOWN) for _ in range(20))):
                assert_unavailable(answer)
