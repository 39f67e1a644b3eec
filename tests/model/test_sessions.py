"""Long random histories of requests, on every kind of store, compared with a plain model."""

import logging
from typing import Any

import pytest
import redis.asyncio as aioredis
from fakeredis import FakeAsyncRedis
from hypothesis.stateful import run_state_machine_as_test

from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.adapters.redis import RedisSessionStore
from tests.conftest import FourVerbStore, effort, take_scripts_away
from tests.model.machine import SessionMachine


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep thousands of lines about ended sessions out of a report."""
    caplog.set_level(logging.ERROR, logger="pyfly_session")


class OverMemory(SessionMachine):
    async def make_store(self) -> Any:
        return InMemorySessionStore(clock=self.clock)

    async def count(self) -> int:
        return len(self.inner)


class OverFourVerbs(SessionMachine):
    keeps_notes = False
    atomic = False

    async def make_store(self) -> Any:
        return FourVerbStore(self.clock)


class OverRedis(SessionMachine):
    """Time is the server's own there: sessions are looked up for their time to live instead."""

    expires = False
    scale = 1000
    client: Any

    async def make_client(self) -> Any:
        return FakeAsyncRedis()

    async def make_store(self) -> Any:
        self.client = await self.make_client()
        return RedisSessionStore(self.client)

    async def close(self) -> None:
        await self.client.aclose()

    async def count(self) -> int:
        return len(await self.client.keys("pyfly:session:*"))

    async def seconds_left(self, key: str) -> float | None:
        return float(await self.client.pttl(f"pyfly:session:{key}")) / 1000


class OverRedisWithoutScripts(OverRedis):
    async def make_client(self) -> Any:
        client = FakeAsyncRedis()
        take_scripts_away(client)
        return client


def test_memory_store_does_what_the_model_does() -> None:
    run_state_machine_as_test(OverMemory, settings=effort(50, 20_000, steps=40))


def test_store_with_four_verbs_does_what_the_model_does() -> None:
    run_state_machine_as_test(OverFourVerbs, settings=effort(25, 5000, steps=40))


def test_fake_server_does_what_the_model_does() -> None:
    run_state_machine_as_test(OverRedis, settings=effort(10, 1000, steps=30))


def test_server_without_scripts_does_what_the_model_does() -> None:
    run_state_machine_as_test(OverRedisWithoutScripts, settings=effort(10, 1000, steps=30))


def test_real_server_does_what_the_model_does(valkey_url: str) -> None:
    class OverValkey(OverRedis):
        async def make_client(self) -> Any:
            client: aioredis.Redis = aioredis.from_url(valkey_url)
            await client.flushdb()
            return client

    run_state_machine_as_test(OverValkey, settings=effort(10, 2000, steps=30))
