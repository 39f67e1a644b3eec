"""A client with four methods, as tests of applications write them, is enough for the verbs."""

import asyncio
import re
from typing import Any

import pytest

from pyfly_session import SessionFilter, SessionStore
from pyfly_session.adapters.redis import RedisSessionStore


class FourMethods:
    """Has what the four verbs need, as ``redis.asyncio.Redis`` has it."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.times: dict[str, int] = {}

    async def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    async def set(self, key: str, value: bytes, ex: int) -> bool:
        self.values[key], self.times[key] = value, ex
        return True

    async def delete(self, key: str) -> int:
        return 0 if self.values.pop(key, None) is None else 1

    async def exists(self, key: str) -> int:
        return int(key in self.values)


@pytest.fixture
def client() -> FourMethods:
    return FourMethods()


@pytest.fixture
def store(client: Any) -> RedisSessionStore:
    return RedisSessionStore(client=client)


async def test_the_four_verbs_use_the_methods_of_the_client(
    store: RedisSessionStore, client: FourMethods
) -> None:
    assert isinstance(store, SessionStore)
    await store.save("s1", {"user": "alice"}, 60)

    assert client.values == {"pyfly:session:s1": b'{"user":"alice"}'}
    assert (client.times, await store.get("s1")) == ({"pyfly:session:s1": 60}, {"user": "alice"})
    assert await store.exists("s1") is True

    await store.delete("s1")
    assert await store.get("s1") is None
    assert await store.exists("s1") is False


async def test_verbs_at_the_same_time_are_sent_one_by_one(store: RedisSessionStore) -> None:
    names = [f"s{number}" for number in range(5)]
    await asyncio.gather(*(store.save(name, {"name": name}, 60) for name in names))

    found = await asyncio.gather(*(store.get(name) for name in names))
    assert found == [{"name": name} for name in names]


async def test_a_request_is_told_which_client_it_needs(store: RedisSessionStore) -> None:
    refusal = (
        "FourMethods has no execute_command, which EVALSHA needs; give RedisSessionStore a client"
        " of redis.asyncio, or of fakeredis in a test"
    )
    with pytest.raises(TypeError, match=f"^{re.escape(refusal)}$"):
        await SessionFilter(store).repository.load("s1")
