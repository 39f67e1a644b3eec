"""A busy event loop must not make a server look dead; a silent server must."""

import asyncio
import gc
import select
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from pyfly_session.adapters.redis import RedisSessionStore, connections
from pyfly_session.adapters.redis.patience import Patience
from pyfly_session.auto_configuration.redis_clients import create_redis_client
from pyfly_session.config import bind_properties
from tests.support.types import Patch

# Much less than the loop is stuck for.
BRIEF = 0.05
STUCK = 0.3
# More than anything takes on a busy machine; those who want to see it end do not wait for it.
LONG = 60


async def test_answer_that_lies_in_the_socket_while_the_loop_is_stuck_is_in_time() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)

    async def answer() -> bytes:
        async with Patience(BRIEF):
            return await reader.readexactly(1)

    asked = asyncio.ensure_future(answer())
    await asyncio.sleep(0)
    time.sleep(STUCK)  # noqa: ASYNC251 - as a handler that computes does
    theirs.send(b"!")
    time.sleep(STUCK)  # noqa: ASYNC251
    assert await asked == b"!"
    writer.close()
    theirs.close()


async def test_silence_ends_with_the_time() -> None:
    with pytest.raises(TimeoutError):
        async with Patience(BRIEF):
            await asyncio.Event().wait()


async def test_time_can_begin_anew_and_be_without_end() -> None:
    async with Patience(BRIEF) as begin:
        for _ in range(6):
            begin()
            await asyncio.sleep(BRIEF / 2)
    async with Patience(None):
        await asyncio.sleep(0)


async def test_cancellation_is_no_timeout() -> None:
    async def waiting() -> None:
        async with Patience(10):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(waiting())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def client_of(url: str, **more: Any) -> Any:
    redis = {"url": url, "timeout": LONG, "connect-timeout": LONG, "retries": 0, **more}
    return create_redis_client(bind_properties({"pyfly": {"session": {"redis": redis}}}).redis)[0]


@pytest.mark.parametrize("pipelining", [True, False], ids=["together", "one by one"])
async def test_crowd_on_a_stuck_loop_is_served(
    valkey_url: str, jump: Callable[[float], None], monkeypatch: Patch, *, pipelining: bool
) -> None:
    """The answers are there before the timers fire, and are read after them."""
    client = client_of(valkey_url)
    store = RedisSessionStore(client, deadline=LONG, pipelining=pipelining)
    await RedisSessionStore(client).save("a", {"n": 1}, 60)

    async def crowd() -> list[Any]:
        return await asyncio.gather(*(store.load_and_slide("a", 60) for _ in range(40)))

    # The connections are made, and the server knows the script.
    await crowd()
    pool = client.connection_pool
    expected, asked = 1 if pipelining else 40, []
    read_response = pool.connection_class.read_response

    async def read_when_all_are_answered(connection: Any, *args: Any, **options: Any) -> Any:
        asked.append(connection)
        if len(asked) == expected:
            busy = [each._writer.get_extra_info("socket") for each in pool._in_use_connections]
            while busy:
                answered = select.select(busy, [], [], LONG)[0]
                assert answered
                busy = [each for each in busy if each not in answered]
            jump(2 * LONG)
        return await read_response(connection, *args, **options)

    monkeypatch.setattr(pool.connection_class, "read_response", read_when_all_are_answered)
    assert (await crowd(), len(asked)) == ([b'{"n":1}'] * 40, expected)
    await client.aclose()


async def test_command_that_gets_no_answer_on_an_idle_connection_is_tried_on_a_new_one(
    valkey_url: str, jump: Callable[[float], None]
) -> None:
    """The network has forgotten the connection, and tells nobody."""
    client = client_of(valkey_url, retries=1)
    store = RedisSessionStore(client)
    await store.save("a", {"n": 1}, 60)
    [connection] = client.connection_pool._available_connections
    forgotten, other_end = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=forgotten)
    connection._writer.close()
    connection._reader, connection._writer = reader, writer
    connection._parser.on_connect(connection)
    jump(connections._IDLE_SECONDS + 1)
    asked = asyncio.ensure_future(store.load_and_slide("a", 60))
    while connection._writer is writer:
        # Each part of the time on its own, and the turns of the loop that go with it.
        jump(LONG / 8)
        await turns(5)
    assert await asked == b'{"n":1}'
    other_end.close()
    await client.aclose()


async def test_command_unanswered_in_time_is_not_given_it_again(monkeypatch: Patch) -> None:
    """On a connection that was in use a moment ago the server is slow."""

    class Silent:
        is_connected = True

        def __init__(self, **_: Any) -> None: ...

        async def read_response(self, *_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

    connection: Any = connections.patient(Silent)(socket_timeout=BRIEF)  # type: ignore[type-var]
    for seconds, expected in ((10, False), (-1, True)):
        monkeypatch.setattr(connections, "_IDLE_SECONDS", seconds)
        connection._used_at = asyncio.get_running_loop().time()
        with pytest.raises(Exception, match="Timeout reading") as caught:
            await connection.read_response()
        assert isinstance(caught.value, RedisConnectionError) is expected


async def test_a_command_leaves_nothing_to_the_collector(valkey_url: str) -> None:
    client = client_of(valkey_url)
    store = RedisSessionStore(client, deadline=LONG)
    await store.load_and_slide("a", 60)
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await store.load_and_slide("a", 60)
        assert gc.collect() == 0
    finally:
        gc.enable()
    await client.aclose()
