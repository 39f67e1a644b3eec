"""`CommandBatcher`: what concurrent commands share, and what they must not."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from pyfly_session.adapters.redis.batching import CommandBatcher
from pyfly_session.adapters.redis.circuit_breaker import Circuit
from pyfly_session.adapters.redis.scripts import LOAD

Answer = Callable[[tuple[Any, ...]], Awaitable[Any]]

# More than anything takes on a busy machine.
LONG = 60


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
        sent: All commands.
        batches: Commands that were sent together.
        gates: Batches wait for these in their turn, if there are any.
        lost: The server is gone.
    """

    def __init__(self) -> None:
        self.alone: list[tuple[Any, ...]] = []
        self.sent: list[tuple[Any, ...]] = []
        self.batches: list[list[tuple[Any, ...]]] = []
        self.gates: list[asyncio.Event] = []
        self.lost = False

    async def execute_command(self, *command: Any, **options: Any) -> Any:
        self.alone.append(command)
        [answer] = await self.answers([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pipeline(self, *, transaction: bool) -> Pipeline:
        assert not transaction
        return Pipeline(self)

    async def answers(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        self.sent += commands
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
        return await batcher.ask("get", key, None, ("GET", key))

    return asyncio.ensure_future(request())


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def kept_busy(
    client: Client, commands: CommandBatcher, *, more_gates: int = 0
) -> tuple[list[asyncio.Event], list[asyncio.Future[Any]]]:
    """Have as many batches under way as may be; return what they wait for, and themselves."""
    gates = [asyncio.Event() for _ in range(4 + more_gates)]
    client.gates = list(gates)
    held = []
    for number in range(4):
        held.append(get(commands, str(number)))
        await turns()
    return gates, held


async def test_lone_command_needs_no_pipeline() -> None:
    client = Client()
    assert await batcher(client).ask("get", "a", None, ("GET", "a")) == "a!"
    assert (client.alone, client.batches) == ([("GET", "a")], [])


async def test_commands_of_one_tick_are_sent_together() -> None:
    client = Client()
    commands = batcher(client)
    asked = [get(commands, key) for key in "abcd"]
    assert await asyncio.gather(*asked) == ["a!", "b!", "c!", "d!"]
    assert (client.alone, client.batches) == ([], [[("GET", key) for key in "abcd"]])


async def test_several_commands_of_one_are_answered_together() -> None:
    client = Client()
    commands = batcher(client)
    both = commands.ask("delete", "b", None, ("DEL", "b"), ("GET", "c"))
    assert [await get(commands, "a"), await both] == ["a!", ["b!", "c!"]]


async def test_switched_off_each_is_sent_on_its_own() -> None:
    client = Client()
    commands = batcher(client, enabled=False)
    asked = [get(commands, key) for key in "abc"]
    assert await asyncio.gather(*asked) == ["a!", "b!", "c!"]
    assert (len(client.alone), client.batches) == (3, [])


async def test_command_that_fails_fails_alone() -> None:
    client = Client()
    commands = batcher(client)
    asked = [get(commands, key) for key in ("a", "b", "bad", "d")]
    first, second, bad, last = await asyncio.gather(*asked, return_exceptions=True)
    assert (first, second, last) == ("a!", "b!", "d!")
    assert isinstance(bad, ResponseError)


async def test_request_that_is_cancelled_leaves_the_others_alone() -> None:
    client, gate = Client(), asyncio.Event()
    client.gates = [gate]
    commands = batcher(client)
    first, second, cancelled, last = (get(commands, key) for key in "abcd")
    await turns()
    cancelled.cancel()
    await turns()
    assert cancelled.cancelled()
    gate.set()
    assert [await each for each in (first, second, last)] == ["a!", "b!", "d!"]


async def test_request_that_is_cancelled_before_its_turn_is_not_sent() -> None:
    client = Client()
    commands = batcher(client)
    gates, held = await kept_busy(client, commands)
    late = [get(commands, key) for key in "ab"]
    await turns()
    late[0].cancel()
    for gate in gates:
        gate.set()
    await asyncio.gather(*held)
    assert await late[1] == "b!"
    assert ("GET", "a") not in client.sent


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
    assert await asyncio.gather(*held) == ["a!", "b!"]


async def test_batch_has_a_largest_size_and_nobody_is_forgotten() -> None:
    client = Client()
    commands = batcher(client)
    asked = [get(commands, str(number)) for number in range(1_000)]
    assert await asyncio.gather(*asked) == [f"{number}!" for number in range(1_000)]
    assert (max(map(len, client.batches)), len(client.sent)) == (128, 1_000)


async def test_large_commands_make_smaller_batches() -> None:
    """Or the event loop would be busy with packing one for too long."""
    client = Client()
    commands = batcher(client)
    large = b"x" * 200 * 1024

    async def put(number: int) -> Any:
        return await commands.ask("save", str(number), None, ("SET", str(number), large))

    asked = [asyncio.ensure_future(put(number)) for number in range(20)]
    assert await asyncio.gather(*asked) == [f"{number}!" for number in range(20)]
    assert max(map(len, client.batches)) == 3


async def test_answers_are_not_kept_for_the_sake_of_one_that_takes_long() -> None:
    client = Client()
    slow = asyncio.Event()
    client.gates = [slow]
    commands = batcher(client, deadline=LONG)
    held = get(commands, "slow")
    await turns()
    answers = []
    for number in range(200):
        asked = commands.ask("get", str(number), None, ("GET", str(number)))
        answers.append(weakref.ref(asked))
        await asked
        del asked
    assert sum(each() is not None for each in answers) < 100
    slow.set()
    assert await held == "slow!"


async def test_half_as_many_are_loaded_at_once_after_a_batch_that_failed() -> None:
    """They may be so large that no answer comes in time, and never one to learn that from."""
    client = Client()
    commands = batcher(client)

    async def load() -> None:
        asked = (commands.ask("load", str(number), LOAD, 60) for number in range(100))
        await asyncio.gather(*asked, return_exceptions=True)

    client.lost = True
    await load()
    client.lost = False
    await load()
    assert max(sum(command[0] == "GET" for command in batch) for batch in client.batches) == 50


async def test_so_many_batches_run_side_by_side_and_no_more() -> None:
    client = Client()
    commands = batcher(client)
    gates = [asyncio.Event() for _ in range(10)]
    client.gates = list(gates)
    asked = []
    for number in range(10):
        asked.append(get(commands, str(number)))
        await turns()
    assert len(client.sent) == 4
    for gate in gates:
        gate.set()
    assert await asyncio.gather(*asked) == [f"{number}!" for number in range(10)]


async def test_the_youngest_go_first_when_not_all_can_be_sent() -> None:
    client = Client()
    commands = batcher(client)
    gates, held = await kept_busy(client, commands)
    late = [get(commands, f"late{number}") for number in range(300)]
    await turns()
    del client.batches[:]
    gates[0].set()
    await asyncio.gather(*late)
    numbers = [[int(key.removeprefix("late")) for _, key in batch] for batch in client.batches]
    assert [(each[0], each[-1]) for each in numbers] == [(172, 299), (44, 171), (0, 43)]
    for gate in gates:
        gate.set()
    await asyncio.gather(*held)


async def test_server_that_is_lost_fails_each_with_an_error_of_its_own() -> None:
    client = Client()
    client.lost = True
    commands = batcher(client)
    asked = [get(commands, key) for key in "abc"]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in found] == [RedisConnectionError] * 3
    assert len({id(each) for each in found}) == 3
    # And what comes after the reconnection is served again.
    client.lost = False
    assert await asyncio.gather(*(get(commands, key) for key in "de")) == ["d!", "e!"]


async def test_each_deadline_counts_from_its_own_caller(jump: Callable[[float], None]) -> None:
    """One that has waited for long takes none along that has come a moment ago."""
    client = Client()
    commands = batcher(client, deadline=LONG)
    gates, held = await kept_busy(client, commands, more_gates=1)
    old = get(commands, "old")
    await turns()
    jump(LONG * 0.75)
    fresh = get(commands, "fresh")
    gates[0].set()
    await turns()
    jump(LONG * 0.5)
    await asyncio.wait({old})
    assert isinstance(old.exception(), TimeoutError)
    assert not fresh.done()
    gates[4].set()
    assert await fresh == "fresh!"
    await asyncio.gather(*held, return_exceptions=True)


async def test_server_that_answers_never_opens_circuit(jump: Callable[[float], None]) -> None:
    client, circuit = Client(), Circuit(failures=1)
    client.gates = [asyncio.Event()]
    commands = CommandBatcher(client, deadline=LONG, circuit=circuit)
    slow = get(commands, "slow")
    await turns()
    assert await get(commands, "quick") == "quick!"
    jump(2 * LONG)
    with pytest.raises(TimeoutError):
        await slow
    await turns()  # Until the batch has ended as well.
    assert not circuit.is_open


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
    commands = batcher(client, deadline=LONG)
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
