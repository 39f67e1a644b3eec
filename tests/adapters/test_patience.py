"""A busy event loop must not make a server look dead; a silent server must."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from pyfly_session.adapters.redis import RedisSessionStore, connections
from pyfly_session.adapters.redis.patience import patience
from pyfly_session.auto_configuration.redis_clients import create_redis_client
from pyfly_session.config import bind_properties

# Much less than the loop is stuck for.
BRIEF = 0.05
STUCK = 0.3


async def test_answer_that_lies_in_the_socket_while_the_loop_is_stuck_is_in_time() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)

    async def answer() -> bytes:
        async with patience(BRIEF):
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
        async with patience(BRIEF):
            await asyncio.Event().wait()


async def test_time_can_begin_anew_and_be_without_end() -> None:
    async with patience(BRIEF) as begin:
        for _ in range(6):
            begin()
            await asyncio.sleep(BRIEF / 2)
    async with patience(None):
        await asyncio.sleep(0)


async def test_cancellation_is_no_timeout() -> None:
    async def waiting() -> None:
        async with patience(10):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(waiting())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("pipelining", [True, False], ids=["together", "one by one"])
async def test_crowd_on_a_stuck_loop_is_served(valkey_url: str, *, pipelining: bool) -> None:
    """The answers are there before the timers fire, and are read after them."""
    redis = {"url": valkey_url, "timeout": BRIEF, "connect-timeout": 5, "retries": 0}
    client: Any = create_redis_client(
        bind_properties({"pyfly": {"session": {"redis": redis}}}).redis
    )[0]
    store = RedisSessionStore(client, deadline=BRIEF if pipelining else 5, pipelining=pipelining)
    await RedisSessionStore(client).save("a", {"n": 1}, 60)
    asked = [asyncio.ensure_future(store.load_and_slide("a", 60)) for _ in range(40)]
    for _ in range(6):
        await asyncio.sleep(0)
    time.sleep(STUCK)  # noqa: ASYNC251
    assert await asyncio.gather(*asked) == [b'{"n":1}'] * 40
    await client.aclose()


async def test_command_that_gets_no_answer_on_an_idle_connection_is_tried_on_a_new_one(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network has forgotten the connection, and tells nobody."""
    redis = {"url": valkey_url, "timeout": BRIEF, "connect-timeout": 5, "retries": 1}
    client: Any = create_redis_client(
        bind_properties({"pyfly": {"session": {"redis": redis}}}).redis
    )[0]
    store = RedisSessionStore(client, deadline=5)
    await store.save("a", {"n": 1}, 60)
    [connection] = client.connection_pool._available_connections
    forgotten, other_end = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=forgotten)
    connection._writer.close()
    connection._reader, connection._writer = reader, writer
    connection._parser.on_connect(connection)
    monkeypatch.setattr(connections, "_IDLE_SECONDS", -1)
    assert await store.load_and_slide("a", 60) == b'{"n":1}'
    other_end.close()
    await client.aclose()


async def test_command_that_gets_no_answer_in_time_is_not_given_the_same_time_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
