"""The circuit: when it refuses calls, and when it lets one through."""

import asyncio

import pytest
import redis.asyncio as aioredis

from pyfly_session import SessionStoreError, SessionStoreUnavailableError
from pyfly_session.adapters.redis import RedisSessionStore
from pyfly_session.adapters.redis.circuit_breaker import Circuit
from tests.conftest import Clock
from tests.faults.waiting import eventually
from tests.support.cases import for_each


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit(failures=3, pause=2.0, clock=clock)


def passes(circuit: Circuit) -> bool:
    """Tell whether a call may pass; like a call whose outcome is not known yet."""
    try:
        circuit.enter("load")
    except SessionStoreUnavailableError:
        return False
    return True


async def as_told(fact: bool) -> bool:
    return fact


def fail(circuit: Circuit, times: int) -> None:
    for _ in range(times):
        circuit.failed()


def test_calls_pass_while_there_is_no_failure(circuit: Circuit) -> None:
    assert all(passes(circuit) for _ in range(100))
    assert not circuit.is_open


def test_it_opens_at_failure_that_completes_row_and_not_one_earlier(circuit: Circuit) -> None:
    fail(circuit, 2)
    assert passes(circuit)
    assert not circuit.is_open
    fail(circuit, 1)
    assert circuit.is_open
    assert not passes(circuit)


def test_an_answer_in_between_begins_the_row_anew(circuit: Circuit) -> None:
    fail(circuit, 2)
    circuit.succeeded()
    fail(circuit, 2)
    assert passes(circuit)


def test_it_stays_open_until_exactly_the_end_of_the_pause(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 3)
    clock.advance(2 - 2**-10)
    assert not passes(circuit)
    clock.advance(2**-10)
    assert not circuit.is_open
    assert passes(circuit)


def test_one_call_probes_and_others_wait_for_its_outcome(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 3)
    clock.advance(2)
    assert passes(circuit)
    assert not any(passes(circuit) for _ in range(10))


def test_a_probe_that_succeeds_closes_it(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 3)
    clock.advance(2)
    assert passes(circuit)
    circuit.succeeded()
    assert all(passes(circuit) for _ in range(10))
    fail(circuit, 2)
    assert passes(circuit)


def test_a_probe_that_fails_begins_the_pause_anew(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 3)
    clock.advance(2)
    assert passes(circuit)
    clock.advance(1)
    circuit.failed()
    clock.advance(2 - 2**-10)
    assert not passes(circuit)
    clock.advance(2**-10)
    assert passes(circuit)


def test_lost_probe_does_not_block_it_for_ever(circuit: Circuit, clock: Clock) -> None:
    """Its request was cancelled."""
    fail(circuit, 3)
    clock.advance(2)
    assert passes(circuit)
    clock.advance(2)
    assert passes(circuit)


def test_zero_failures_switch_it_off(clock: Clock) -> None:
    circuit = Circuit(failures=0, clock=clock)
    fail(circuit, 1000)
    assert passes(circuit)
    assert not circuit.is_open


def test_a_refusal_says_how_often_and_how_long(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 3)
    clock.advance(0.5)
    with pytest.raises(SessionStoreUnavailableError) as caught:
        circuit.enter("merge")
    assert str(caught.value) == (
        "the session store was not reached 3 times in a row; trying again in 1.5 s"
    )
    assert caught.value.operation == "merge"


class FlakyClient:
    """A client whose server can be away; counts what reaches it."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0

    async def execute_command(self, *command: object, **options: object) -> int:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return 1


async def test_a_store_asks_a_dead_server_no_more_than_it_has_to(clock: Clock) -> None:
    client = FlakyClient()
    circuit = Circuit(failures=3, pause=2.0, clock=clock)
    store = RedisSessionStore(client, circuit=circuit, pipelining=False)  # type: ignore[arg-type]
    client.error = aioredis.ConnectionError("refused")
    for _ in range(20):
        with pytest.raises(SessionStoreUnavailableError):
            await store.exists("a")
    assert client.calls == 3

    clock.advance(2)
    client.error = None
    assert await store.exists("a")
    assert not circuit.is_open


@for_each(
    ("error", "opens"),
    [
        (aioredis.ConnectionError("refused"), True), (aioredis.TimeoutError("slow"), True),
        (TimeoutError("deadline"), True), (ConnectionResetError("reset"), True),
        (aioredis.ResponseError("LOADING"), False),
    ],
)  # fmt: skip
async def test_what_counts_as_not_reached(clock: Clock, error: Exception, opens: bool) -> None:
    """An error that the server answers does not."""
    client = FlakyClient()
    circuit = Circuit(failures=1, clock=clock)
    store = RedisSessionStore(client, circuit=circuit, pipelining=False)  # type: ignore[arg-type]
    client.error = error
    with pytest.raises(SessionStoreError) as caught:
        await store.exists("a")
    assert isinstance(caught.value, SessionStoreUnavailableError) is circuit.is_open is opens
    assert caught.value.__cause__ is error


async def test_server_that_misses_deadline_counts_as_not_reached(clock: Clock) -> None:
    class Silent(FlakyClient):
        async def execute_command(self, *command: object, **options: object) -> int:
            await asyncio.Event().wait()
            return 1

    circuit = Circuit(failures=1, clock=clock)
    store = RedisSessionStore(
        Silent(),  # type: ignore[arg-type]
        circuit=circuit,
        deadline=0.01,
        pipelining=False,
    )
    with pytest.raises(SessionStoreUnavailableError):
        await store.exists("a")
    await eventually(lambda: as_told(circuit.is_open))
