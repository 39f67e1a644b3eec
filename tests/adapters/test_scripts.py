"""What the scripts do for many sessions at once, and how a value is recognized."""

import asyncio
import hashlib
import json
import random
from typing import Any

import pytest

from pyfly_session import SessionRepository, SessionStoreError
from pyfly_session.adapters.redis import KEY_PREFIX, RedisSessionStore
from pyfly_session.adapters.redis.scripts import TEXTS, mark
from pyfly_session.core.codec import DEFAULT_CODEC
from pyfly_session.ports import Moved
from tests.adapters.test_redis import Commands
from tests.support.cases import for_each

SMALL, LARGE = 10, 20_000


def value(version: int, size: int = SMALL, **more: Any) -> bytes:
    """Return a session as the library writes it."""
    times = {"_created_at": 1.0, "_last_accessed": 2.5, "_version": f"{version:x}"}
    return DEFAULT_CODEC.dumps({**times, **more, "text": "x" * size})


@pytest.fixture
async def store(valkey: Any) -> RedisSessionStore:
    for text in TEXTS.values():
        await valkey.script_load(text)
    return RedisSessionStore(client=valkey)


@pytest.fixture
def commands(valkey: Any) -> Commands:
    return Commands(valkey)


def names(count: int) -> list[str]:
    return [f"{number:032x}" for number in range(count)]


async def test_all_loads_of_a_tick_are_one_command_and_so_are_all_writes(
    store: RedisSessionStore, commands: Commands
) -> None:
    await commands.forget()
    created = await asyncio.gather(*(store.create_if_absent(n, value(1), 60) for n in names(64)))
    assert (await commands.seen())["evalsha"] == 1
    await commands.forget()
    loaded = await asyncio.gather(*(store.load_and_slide(n, 60) for n in names(64)))
    assert (await commands.seen())["evalsha"] == 1
    await commands.forget()
    swaps = (store.compare_and_swap(n, value(1), value(2), 60) for n in names(64))
    swapped = await asyncio.gather(*swaps)
    assert (await commands.seen())["evalsha"] == 1
    assert (created, loaded, swapped) == ([True] * 64, [value(1)] * 64, [value(2)] * 64)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_each_gets_what_is_its_own(store: RedisSessionStore, valkey: Any, size: int) -> None:
    """Values, misses, notes of where they moved, errors, idle times, in any order."""
    all_names = names(60)
    expected: dict[str, Any] = {}
    for number, name in enumerate(all_names):
        key = KEY_PREFIX + name
        match number % 6:
            case 0 | 1:
                expected[name] = value(number, size)
                await valkey.set(key, expected[name], ex=60)
            case 2:
                own = {"_max_inactive_interval": 300 + number}
                expected[name] = value(number, size, **own)
                await valkey.set(key, expected[name], ex=60)
            case 3:
                expected[name] = None
            case 4:
                expected[name] = Moved(f"after{number}")
                await valkey.set("{" + key + "}:moved", f"after{number}")
            case 5:
                expected[name] = SessionStoreError
                await valkey.rpush(key, "somebody else's list")
    for _ in range(4):
        random.shuffle(all_names)
        found = await asyncio.gather(
            *(store.load_and_slide(each, 1800) for each in all_names), return_exceptions=True
        )
        for name, each in zip(all_names, found, strict=True):
            assert each == expected[name] or type(each) is expected[name]
    assert 1790 < await valkey.ttl(KEY_PREFIX + names(60)[0]) <= 1800
    assert 298 < await valkey.ttl(KEY_PREFIX + names(60)[2]) <= 302


async def test_large_sessions_are_loaded_without_being_copied_by_a_script(
    store: RedisSessionStore, commands: Commands
) -> None:
    """And small ones again as before, when it is these that are loaded."""
    for name in names(8):
        await store.create_if_absent(name, value(1, LARGE), 60)
    for _ in range(4):
        await asyncio.gather(*(store.load_and_slide(n, 60) for n in names(8)))
    await commands.forget()
    assert (
        await asyncio.gather(*(store.load_and_slide(n, 60) for n in names(8)))
        == [value(1, LARGE)] * 8
    )
    assert await commands.seen() == {"get": 8, "evalsha": 1, "getrange": 8, "ttl": 8}
    await store.save("f" * 32, {"a": 1}, 60)
    for _ in range(20):
        await store.load_and_slide("f" * 32, 60)
    await commands.forget()
    await store.load_and_slide("f" * 32, 60)
    assert await commands.seen() == {"get": 1, "evalsha": 1, "ttl": 1}


@pytest.mark.parametrize("before", ["none", "small", "large"])
async def test_answers_to_one_command_are_four_megabytes_as_a_rule(
    store: RedisSessionStore, commands: Commands, before: str
) -> None:
    """A batch of more would take the memory of the connection, and the time of all behind it."""
    values = {name: value(1, 300_000) for name in names(40)}
    await asyncio.gather(*(store.create_if_absent(n, each, 60) for n, each in values.items()))
    await store.save("f" * 32, {"a": 1}, 60)
    for _ in range(0 if before == "none" else 8):
        await store.load_and_slide(names(1)[0] if before == "large" else "f" * 32, 60)
    await commands.forget()
    loaded = await asyncio.gather(*(store.load_and_slide(n, 60) for n in values))
    assert loaded == [*values.values()]
    assert 3 <= (await commands.seen())["evalsha"] <= 5


# Marks


def test_a_value_of_ours_is_known_by_how_it_begins() -> None:
    assert mark(value(0xAF)) == b'{"_created_at":1.0,"_last_accessed":2.5,"_version":"af"'
    own = b'{"_max_inactive_interval":30,"_version":"af"'
    assert mark(own + b',"a":1}') == own


@for_each(
    "other",
    [
        b'{"_created_at": 1.0, "_version": "af"}', b'{"a":1,"_version":"af"}',
        b'{"a":{"_version":"af"}}', b'{"_principal":"x","_version":"af"}', b'["_version"]',
        b"gAAAA", b"",
    ],
)  # fmt: skip
def test_any_other_value_is_known_by_its_digest(other: bytes) -> None:
    assert mark(other) == hashlib.sha1(other, usedforsecurity=False).hexdigest()


async def test_another_write_is_noticed_though_rest_is_same(store: RedisSessionStore) -> None:
    await store.create_if_absent("a", value(1), 60)
    assert await store.compare_and_swap("a", value(1), value(2), 60) == value(2)
    assert await store.compare_and_swap("a", value(1), value(3), 60) == value(2)
    assert await store.compare_and_swap("a", value(2), value(1), 60) == value(1)


@pytest.mark.parametrize("later", [value(2), b"gAAAB"])
@pytest.mark.parametrize("first", [b'{"_version": "1", "a": 1}', b"gAAAA", value(1)])
async def test_values_of_others_and_ours_replace_each_other(
    store: RedisSessionStore, first: bytes, later: bytes
) -> None:
    await store.create_if_absent("a", first, 60)
    assert await store.compare_and_swap("a", b"other", later, 60) == first
    assert await store.compare_and_swap("a", first, later, 60) == later
    # Tried again by a driver that never heard the answer.
    assert await store.compare_and_swap("a", first, later, 60) == later
    assert await store.load_and_slide("a", 60) == later


async def test_creation_that_is_tried_again_is_made_once(store: RedisSessionStore) -> None:
    """Also with the same bytes: that may be somebody else's single use of a note."""
    assert await store.create_if_absent("a", value(1), 60)
    assert not await store.create_if_absent("a", value(1), 60)
    assert not await store.create_if_absent("a", value(2), 60)


async def test_what_operator_saves_is_not_taken_for_what_was_read(store: RedisSessionStore) -> None:
    """It has the version of the session that it was made from."""
    repository = SessionRepository(store)
    session = repository.create()
    session.set_attribute("a", 1)
    await repository.commit(session)
    data = await store.get(session.id)
    assert data is not None
    await store.save(session.id, data | {"b": 2}, 60)
    session.set_attribute("a", 3)
    await repository.commit(session)
    stored = await store.get(session.id)
    assert stored is not None
    assert (stored["a"], stored["b"], json.loads(DEFAULT_CODEC.dumps(data))) == (3, 2, data)
