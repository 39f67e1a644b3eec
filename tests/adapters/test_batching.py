"""`CommandBatcher`: what concurrent commands share, and what they must not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from pyfly_session.adapters.redis import RedisSessionStore
from pyfly_session.adapters.redis.circuit_breaker import Circuit
from pyfly_session.adapters.redis.pipelining import CommandBatcher

Answer = Callable[[tuple[Any, ...]], Awaitable[Any]]


class Pipeline:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._commands: list[tuple[Any, ...]] = []

    def execute_command(self, *command: Any, **options: Any) -> None:
        self._commands.append(command)

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        self._client.batches.append(self._commands)
        return await self._client.answers(self._commands)


class Client:
    """A client that keeps what it was asked for.

    Attributes:
        alone: Commands that were sent on their own.
        batches: Commands that were sent together.
        gates: Batches wait for these in their turn, if there are any.
        lost: The server is gone.
    """

    def __init__(self) -> None:
        self.alone: list[tuple[Any, ...]] = []
        self.batches: list[list[tuple[Any, ...]]] = []
        self.first = asyncio.Event()
        self.gates: list[asyncio.Event] = []
        self.lost = False

    async def execute_command(self, *command: Any, **options: Any) -> Any:
        self.alone.append(command)
        await self.first.wait()
        return f"{command[1]}!"

    def pipeline(self, *, transaction: bool) -> Pipeline:
        assert not transaction
        return Pipeline(self)

    async def answers(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        if self.gates:
            await self.gates.pop(0).wait()
        if self.lost:
            raise RedisConnectionError("gone")
        return [
            ResponseError("no") if command[1] == "bad" else f"{command[1]}!" for command in commands
        ]


def batcher(client: Client, **options: Any) -> CommandBatcher:
    options.setdefault("deadline", None)
    return CommandBatcher(client, circuit=Circuit(), **options)


def get(batcher: CommandBatcher, key: str) -> asyncio.Future[Any]:
    """Begin to ask for a key, as a request does."""

    async def request() -> Any:
        return await batcher.execute("get", "GET", key)

    return asyncio.ensure_future(request())


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_lone_command_goes_straight_to_the_client() -> None:
    client = Client()
    client.first.set()
    assert await batcher(client).execute("get", "GET", "a") == "a!"
    assert (client.alone, client.batches) == ([("GET", "a")], [])


async def test_commands_of_one_tick_are_sent_together() -> None:
    client = Client()
    commands = batcher(client)
    asked = [get(commands, key) for key in "abcd"]
    await turns()
    assert client.alone == [("GET", "a")]
    assert client.batches == [[("GET", "b"), ("GET", "c"), ("GET", "d")]]
    client.first.set()
    assert await asyncio.gather(*asked) == ["a!", "b!", "c!", "d!"]


async def test_switched_off_each_is_sent_on_its_own() -> None:
    client = Client()
    commands = batcher(client, enabled=False)
    asked = [get(commands, key) for key in "abc"]
    client.first.set()
    assert await asyncio.gather(*asked) == ["a!", "b!", "c!"]
    assert (len(client.alone), client.batches) == (3, [])


async def test_command_that_fails_fails_alone() -> None:
    client = Client()
    commands = batcher(client)
    asked = [get(commands, key) for key in ("a", "b", "bad", "d")]
    await turns()
    client.first.set()
    first, second, bad, last = await asyncio.gather(*asked, return_exceptions=True)
    assert (first, second, last) == ("a!", "b!", "d!")
    assert isinstance(bad, ResponseError)


async def test_key_of_another_kind_fails_its_own_request_only(valkey: Any) -> None:
    store = RedisSessionStore(valkey)
    for key in "acd":
        await store.save(key, {"user": key}, 60)
    await valkey.rpush("pyfly:session:b", "a list")
    found = await asyncio.gather(*map(store.get, "abcd"), return_exceptions=True)
    assert [found[0], found[2], found[3]] == [{"user": each} for each in "acd"]
    assert "WRONGTYPE" in str(found[1])


async def test_request_that_is_cancelled_leaves_the_others_alone() -> None:
    client, gate = Client(), asyncio.Event()
    client.gates = [gate]
    commands = batcher(client)
    first, second, cancelled, last = (get(commands, key) for key in "abcd")
    await turns()
    cancelled.cancel()
    await turns()
    assert cancelled.cancelled()
    client.first.set()
    gate.set()
    assert [await each for each in (first, second, last)] == ["a!", "b!", "d!"]


async def test_slow_batch_does_not_hold_up_the_next() -> None:
    client = Client()
    slow = asyncio.Event()
    client.gates = [slow]
    commands = batcher(client)
    held = [get(commands, key) for key in "ab"]
    await turns()
    assert await get(commands, "c") == "c!"
    assert not held[1].done()
    slow.set()
    client.first.set()
    assert await asyncio.gather(*held) == ["a!", "b!"]


async def test_batch_has_a_largest_size_and_nobody_is_forgotten() -> None:
    client = Client()
    commands = batcher(client)
    asked = [get(commands, str(number)) for number in range(1_000)]
    await turns()
    client.first.set()
    assert await asyncio.gather(*asked) == [f"{number}!" for number in range(1_000)]
    assert max(map(len, client.batches)) == 128
    assert sum(map(len, client.batches)) == 999


async def test_large_commands_make_smaller_batches() -> None:
    """Or the event loop would be busy with packing one for too long."""
    client = Client()
    commands = batcher(client)
    large = b"x" * 200 * 1024

    async def put(number: int) -> Any:
        return await commands.execute("save", "SET", str(number), large)

    asked = [asyncio.ensure_future(put(number)) for number in range(20)]
    await turns()
    client.first.set()
    assert await asyncio.gather(*asked) == [f"{number}!" for number in range(20)]
    assert max(map(len, client.batches)) == 3


async def test_so_many_batches_run_side_by_side_and_no_more() -> None:
    client = Client()
    commands = batcher(client)
    gates = [asyncio.Event() for _ in range(10)]
    client.gates = list(gates)
    asked = []
    for number in range(10):
        asked.append(get(commands, str(number)))
        await turns()
    assert len(client.batches) + len(client.alone) == 4
    client.first.set()
    for gate in gates:
        gate.set()
    assert await asyncio.gather(*asked) == [f"{number}!" for number in range(10)]


async def test_server_that_is_lost_fails_each_with_an_error_of_its_own() -> None:
    client = Client()
    client.lost = True
    commands = batcher(client)
    asked = [get(commands, key) for key in "abc"]
    await turns()
    client.first.set()
    first, *others = await asyncio.gather(*asked, return_exceptions=True)
    assert first == "a!"
    assert [type(each) for each in others] == [RedisConnectionError] * 2
    assert others[0] is not others[1]
    # And what comes after the reconnection is served again.
    client.lost = False
    assert await asyncio.gather(*(get(commands, key) for key in "de")) == ["d!", "e!"]


async def test_answer_that_does_not_come_is_given_up_at_the_deadline() -> None:
    client = Client()
    client.gates = [asyncio.Event()]
    commands = batcher(client, deadline=0.01)
    _, second = get(commands, "a"), get(commands, "b")
    with pytest.raises(TimeoutError):
        await second


def test_two_event_loops_do_not_mix() -> None:
    class Immediate(Client):
        def __init__(self) -> None:
            super().__init__()
            self.loops: set[int] = set()

        async def execute_command(self, *command: Any, **options: Any) -> Any:
            self.loops.add(id(asyncio.get_running_loop()))
            await asyncio.sleep(0)
            return f"{command[1]}!"

        async def answers(self, commands: list[tuple[Any, ...]]) -> list[Any]:
            await asyncio.sleep(0)
            return await super().answers(commands)

    client = Immediate()
    commands = batcher(client, deadline=5)
    found: list[list[Any]] = []

    async def ask(name: str) -> None:
        for _ in range(20):
            asked = [get(commands, f"{name}{number}") for number in range(20)]
            found.append(await asyncio.gather(*asked))
            assert found[-1] == [f"{name}{number}!" for number in range(20)]

    threads = [threading.Thread(target=lambda each=each: asyncio.run(ask(each))) for each in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 40
