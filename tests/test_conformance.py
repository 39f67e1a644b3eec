"""The bundled stores, and the least of all stores, keep the published contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.asyncio as aioredis

from pyfly_session import SessionStore
from pyfly_session.testing import SessionStoreContract
from tests.conftest import ALL_STORES


class TestMemory(SessionStoreContract):
    @pytest.fixture
    def store(self, make_store: Any) -> SessionStore:
        return make_store("memory")  # type: ignore[no-any-return]


class TestFourVerbs(SessionStoreContract):
    @pytest.fixture
    def store(self, make_store: Any) -> SessionStore:
        return make_store("four-verbs")  # type: ignore[no-any-return]


class RedisContract(SessionStoreContract):
    """Their time cannot be moved, but what is left of the life of each key can be shortened."""

    # Time goes on between two commands: too few milliseconds would be none.
    tick = 1.0

    async def advance(self, store: Any, seconds: float) -> None:
        client: aioredis.Redis = store._client
        for key in await client.keys("*"):
            left = await client.pttl(key) - round(seconds * 1000)
            await (client.pexpire(key, left) if left > 0 else client.delete(key))

    @asynccontextmanager
    async def break_backend(self, store: Any) -> AsyncIterator[None]:
        async def refuse(*args: Any, **kwargs: Any) -> None:
            raise aioredis.ConnectionError("connection refused")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store._client.connection_pool, "get_connection", refuse)
            yield


class TestValkey(RedisContract):
    @pytest.fixture
    def store(self, make_store: Any) -> SessionStore:
        return make_store("valkey")  # type: ignore[no-any-return]


class TestFakeredisWithoutScripts(RedisContract):
    @pytest.fixture
    def store(self, make_store: Any) -> SessionStore:
        return make_store("fakeredis-without-scripts")  # type: ignore[no-any-return]


def test_every_kind_of_store_has_its_class() -> None:
    kinds = {name.removeprefix("Test").lower() for name in globals() if name.startswith("Test")}
    assert {kind.replace("-", "") for kind in ALL_STORES} == kinds
