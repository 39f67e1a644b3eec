"""`RedisSessionStore` against a real server: what is on the wire, what it costs, what fails."""

import asyncio
import contextlib
import dataclasses
import json
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio as aioredis
from fakeredis import FakeAsyncRedis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError

from pyfly_session import (
    ConfigurationError,
    SessionCodec,
    SessionRepository,
    SessionStoreError,
    UnsupportedServerError,
)
from pyfly_session.adapters.redis import KEY_PREFIX, RedisSessionStore
from pyfly_session.adapters.redis.scripts import moved_key
from pyfly_session.config import bind_properties
from pyfly_session.core.codec import DEFAULT_CODEC
from pyfly_session.core.repository import Outcome
from pyfly_session.core.session import HttpSession
from pyfly_session.ports import Moved
from tests.support.cases import for_each
from tests.support.sessions import loaded
from tests.support.types import Log

O = "0" * 32  # noqa: E741 - the old id
N = "1" * 32
KEY = KEY_PREFIX + O
NEW_KEY = KEY_PREFIX + N
MOVED_KEY = "{" + KEY + "}:moved"
VALUE = DEFAULT_CODEC.dumps({"_created_at": 1.0})
Operation = Callable[[RedisSessionStore], Awaitable[object]]

OPERATIONS: dict[str, Operation] = {
    "get": lambda store: store.get(O),
    "save": lambda store: store.save(O, {}, 60),
    "delete": lambda store: store.delete(O),
    "exists": lambda store: store.exists(O),
    "load": lambda store: store.load_and_slide(O, 60),
    "create": lambda store: store.create_if_absent(O, VALUE, 60),
    "merge": lambda store: store.compare_and_swap(O, VALUE, VALUE, 60),
    "rename": lambda store: store.rename(O, N, VALUE, VALUE, 60),
    "delete_moved": lambda store: store.delete_moved(O),
}


@dataclasses.dataclass
class SecurityContext:
    """As the original's, under the tag that the original writes."""

    user_id: str | None = None
    roles: list[str] = dataclasses.field(default_factory=list)
    permissions: list[str] = dataclasses.field(default_factory=list)
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)


@pytest.fixture
def store(valkey: Any) -> RedisSessionStore:
    return RedisSessionStore(client=valkey)


@pytest.fixture
async def text_client(valkey: Any, valkey_url: str) -> AsyncIterator[aioredis.Redis]:
    """Return a client that decodes responses, of the same empty server."""
    client: Any = aioredis.from_url(valkey_url, decode_responses=True)
    yield client
    await client.aclose()


class Commands:
    """The commands that the server was sent, by name and number."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def forget(self) -> None:
        await self._client.config_resetstat()

    async def seen(self) -> dict[str, int]:
        stats = await self._client.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in stats.items()}
        return {name: n for name, n in calls.items() if not name.startswith(("config", "info"))}


@pytest.fixture
def commands(valkey: Any) -> Commands:
    return Commands(valkey)


# On the wire


async def test_committed_session_is_json_as_well(store: RedisSessionStore, valkey: Any) -> None:
    repository = SessionRepository(store, ttl=90, clock=lambda: 100.0)
    session = repository.create()
    session.set_attribute("user", "alice")
    await repository.commit(session)

    key = KEY_PREFIX + session.id
    assert await valkey.keys() == [key.encode()]
    stored = json.loads(await valkey.get(key))
    version = stored["_version"]
    assert isinstance(version, str)
    assert version
    # In this order: what changes with every write is in front, where a script finds it.
    assert list(stored.items()) == [
        ("_created_at", 100.0), ("_last_accessed", 100.0), ("_version", version), ("user", "alice"),
    ]  # fmt: skip
    assert 85 < await valkey.ttl(key) <= 90


async def test_what_the_original_wrote_is_read(store: RedisSessionStore, valkey: Any) -> None:
    """It formats with spaces, escapes, has words for NaN, and tags dataclasses inline."""
    codec = SessionCodec()
    codec.allow(SecurityContext, tag="pyfly.security.context:SecurityContext")
    written = json.dumps(
        {
            "_created_at": 1700000000.25,
            "_last_accessed": 1700000001.5,
            "SECURITY_CONTEXT": {
                "__pyfly_type__": "pyfly.security.context:SecurityContext",
                "user_id": "alïce",
                "roles": ["ADMIN"],
                "permissions": [],
                "attributes": {"score": float("nan"), "limit": float("inf"), "bad": "\ud800"},
            },
            "plain": {"n": 1.0},
        }
    )
    await valkey.set(KEY, written, ex=60)
    repository = SessionRepository(RedisSessionStore(client=valkey, codec=codec))

    session = await repository.load(O)

    assert session is not None
    assert session.created_at == 1700000000.25
    context = session.get_attribute("SECURITY_CONTEXT")
    assert type(context) is SecurityContext
    assert (context.user_id, context.roles) == ("alïce", ["ADMIN"])
    assert math.isnan(context.attributes["score"])
    assert await repository.commit(session) is Outcome.UNTOUCHED
    assert await valkey.get(KEY) == written.encode()

    session.set_attribute("more", 1)
    assert await repository.commit(session) is Outcome.STORED
    kept = json.loads(await valkey.get(KEY))
    assert kept["SECURITY_CONTEXT"]["user_id"] == "alïce"
    assert kept["SECURITY_CONTEXT"]["__pyfly_type__"] == "pyfly.security.context:SecurityContext"
    assert kept["more"] == 1


async def test_a_type_that_only_a_newer_node_knows_survives_a_write_of_this_one(
    store: RedisSessionStore, valkey: Any
) -> None:
    newer = '{"__pyfly_type__": "shop:Cart", "items": [1, 2.50]}'
    await valkey.set(KEY, '{"_created_at": 1.0, "cart": ' + newer + ', "n": 1}', ex=60)
    repository = SessionRepository(store)
    session = await loaded(repository, O)
    assert session.get_attribute("cart") == {"items": [1, 2.5]}
    session.set_attribute("n", 2)
    await repository.commit(session)

    assert newer.encode() in await valkey.get(KEY)


async def test_dataclass_is_inline_under_its_tag(store: RedisSessionStore, valkey: Any) -> None:
    store.codec = codec = SessionCodec()
    codec.allow(SecurityContext, tag="pyfly.security.context:SecurityContext")
    await store.save(O, {"SECURITY_CONTEXT": SecurityContext("alice", ["ADMIN"])}, 60)

    assert json.loads(await valkey.get(KEY)) == {
        "SECURITY_CONTEXT": {
            "__pyfly_type__": "pyfly.security.context:SecurityContext", "user_id": "alice",
            "roles": ["ADMIN"], "permissions": [], "attributes": {},
        }
    }  # fmt: skip


async def test_the_prefix_of_the_keys_can_be_chosen(valkey: Any) -> None:
    store = RedisSessionStore(client=valkey, key_prefix="shop:")
    await store.create_if_absent(O, VALUE, 60)
    await store.rename(O, N, VALUE, VALUE, 60)

    assert sorted(await valkey.keys()) == [
        b"shop:" + N.encode(),
        b"{shop:" + O.encode() + b"}:moved",
    ]


# A client that decodes responses


async def test_every_operation_works_with_a_client_that_decodes_responses(text_client: Any) -> None:
    store = RedisSessionStore(client=text_client)
    value, other = DEFAULT_CODEC.dumps({"name": "alïce"}), DEFAULT_CODEC.dumps({"name": "b"})

    assert await store.create_if_absent(O, value, 60)
    assert (await store.load_and_slide(O, 60), await store.get(O)) == (value, {"name": "alïce"})
    assert await store.compare_and_swap(O, other, other, 60) == value
    assert await store.compare_and_swap(O, value, other, 60) == other
    assert await store.rename(O, N, other, value, 60) == value
    assert await store.compare_and_swap(O, other, other, 60) == Moved(N)
    assert await store.rename(O, N, other, other, 60) == Moved(N)
    assert (await store.delete_moved(O), await store.load_and_slide(N, 60)) == (N, value)


@pytest.mark.parametrize("decoding", [False, True])
async def test_stored_bytes_that_are_no_text_are_an_absent_session(
    text_client: Any, valkey: Any, decoding: bool, caplog: Any
) -> None:
    await valkey.set(KEY, b"\x80abc")
    store = RedisSessionStore(client=text_client if decoding else valkey)

    assert (await store.get(O), await SessionRepository(store).load(O)) == (None, None)
    assert "unreadable" in caplog.text
    assert O not in caplog.text


async def test_decoding_client_gets_bytes_that_are_no_text(text_client: Any, valkey: Any) -> None:
    await valkey.set(KEY, b"\x80abc")
    store = RedisSessionStore(client=text_client)

    assert await store.load_and_slide(O, 60) == b"\x80abc"
    assert await store.compare_and_swap(O, VALUE, VALUE, 60) == b"\x80abc"
    assert await valkey.get(KEY) == b"\x80abc"


# Cost


@for_each("writes", [False, True])
async def test_reading_is_one_command_and_writing_one_more(
    store: RedisSessionStore, commands: Commands, writes: bool
) -> None:
    await store.save(O, {"_created_at": 1.0}, 60)
    await store.load_and_slide(O, 60)
    await store.compare_and_swap(O, b"another", VALUE, 60)  # The server knows the scripts now.
    repository = SessionRepository(store)
    await commands.forget()

    session = await loaded(repository, O)
    session.get_attribute("user")
    if writes:
        session.set_attribute("user", "alice")
    await repository.commit(session)
    await repository.commit(session)

    # All but the EVALSHA are what the scripts do on the server.
    read = {"evalsha": 1, "get": 1, "ttl": 1, "expire": 1}
    assert await commands.seen() == ({**read, "evalsha": 2, "get": 2, "set": 1} if writes else read)


async def test_a_new_session_is_one_command(store: RedisSessionStore, commands: Commands) -> None:
    repository = SessionRepository(store)
    await commands.forget()

    session = repository.create()
    session.set_attribute("user", "alice")
    await repository.commit(session)
    await repository.commit(session)

    assert await commands.seen() == {"set": 1}


async def test_a_change_of_id_is_three_commands(
    store: RedisSessionStore, commands: Commands, valkey: Any
) -> None:
    await store.create_if_absent(O, VALUE, 60)
    await store.compare_and_swap(O, VALUE, VALUE, 60)
    repository = SessionRepository(store)
    session = await loaded(repository, O)
    session.rotate_id()
    await commands.forget()

    await repository.commit(session)

    # Stored for seconds, the script (which has the rest of it), given its full time.
    assert await commands.seen() == {"set": 2, "evalsha": 1, "get": 1, "del": 1, "expire": 1}
    assert 1790 < await valkey.ttl(KEY_PREFIX + session.id) <= 1800


async def test_a_session_with_an_idle_time_of_its_own_costs_nothing_more(
    store: RedisSessionStore, commands: Commands, valkey: Any
) -> None:
    await store.load_and_slide(O, 60)  # The server knows the script now.
    await valkey.set(KEY, '{"_created_at":1.0,"_max_inactive_interval":30}', ex=60)
    await commands.forget()

    await SessionRepository(store, ttl=1800).load(O)

    assert await commands.seen() == {"evalsha": 1, "get": 1, "ttl": 1, "expire": 1}
    assert 25 < await valkey.ttl(KEY) <= 30


@pytest.mark.parametrize("elsewhere", ['"x":{},', '"_max_inactive_interval": 30,"y":'])
async def test_an_idle_time_that_the_server_cannot_read_is_applied_by_a_second_step(
    store: RedisSessionStore, valkey: Any, elsewhere: str
) -> None:
    own = '"_max_inactive_interval":30'
    value = '{"_created_at":1.0,%s}' % (elsewhere + (own if own[:-3] not in elsewhere else "1"))
    await valkey.set(KEY, value, ex=60)

    await SessionRepository(store, ttl=1800).load(O)

    assert 25 < await valkey.ttl(KEY) <= 30


@pytest.mark.parametrize("idle", [30, 3600])
async def test_the_server_slides_a_session_to_its_own_idle_time_by_itself(
    store: RedisSessionStore, valkey: Any, idle: int
) -> None:
    value = b'{"_created_at":1.0,"_last_accessed":1.0,"_max_inactive_interval":%d}' % idle
    for lives in (60, 7200):
        await valkey.set(KEY, value, ex=lives)

        assert await store.load_and_slide(O, 1800) == value

        assert idle - 5 < await valkey.ttl(KEY) <= idle


NESTED = [2, 99_999_999, 9_999_999_999_999_999_999]


@for_each(
    "more",
    [
        rb'"note":"\"_max_inactive_interval\":5,"',
        *(b'"form":{"_max_inactive_interval":%d}' % idle for idle in NESTED),
        *(b'"form":[{"_max_inactive_interval":%d}]' % idle for idle in NESTED),
        # The session's own, which the server would refuse.
        b'"_max_inactive_interval":%d' % (10**19),
    ],
)
async def test_what_is_no_idle_time_of_the_session_keeps_none_from_being_loaded(
    store: RedisSessionStore, valkey: Any, more: bytes
) -> None:
    value = b'{"_created_at":1.0,%s}' % more
    assert json.loads(value)
    await valkey.set(KEY, value, ex=60)

    assert await store.load_and_slide(O, 1800) == value

    assert 1790 < await valkey.ttl(KEY) <= 1800


@for_each("prefix", ["shop{1:", "x{}:", "}shop{:", "shop}:", "{", "}{a"])
def test_a_prefix_whose_braces_make_no_hash_tag_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="make no hash tag"):
        RedisSessionStore(FakeAsyncRedis(), key_prefix=prefix)
    session = {"redis": {"key-prefix": prefix}}
    with pytest.raises(ConfigurationError, match="make a hash tag"):
        bind_properties({"pyfly": {"session": session}})


@for_each("prefix", [KEY_PREFIX, "{shop}:", "a{b}c{:", "ü{x}}"])
def test_a_session_and_the_note_of_where_it_moved_have_one_slot(prefix: str) -> None:
    bind_properties({"pyfly": {"session": {"redis": {"key-prefix": prefix}}}})
    RedisSessionStore(FakeAsyncRedis(), key_prefix=prefix)
    key = (prefix + O).encode()
    assert key_slot(moved_key(prefix + O).encode()) == key_slot(key)


# Failures


@for_each("name", OPERATIONS)
async def test_a_refused_port_is_a_store_error_with_its_cause(name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound but not listening: connecting is refused.
        client: Any = aioredis.from_url(f"redis://127.0.0.1:{taken.getsockname()[1]}/0")
        with pytest.raises(SessionStoreError) as caught:
            await OPERATIONS[name](RedisSessionStore(client=client))
        await client.aclose()

    assert isinstance(caught.value.__cause__, RedisConnectionError | OSError)
    assert caught.value.operation == name.removesuffix("_moved")
    assert O not in str(caught.value)


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - {"create", "save", "delete", "exists"}))
async def test_an_error_of_the_server_is_a_store_error_with_its_cause(
    store: RedisSessionStore, valkey: Any, name: str
) -> None:
    for key in (KEY, NEW_KEY, MOVED_KEY):
        await valkey.rpush(key, "somebody else's list")

    with pytest.raises(SessionStoreError, match="WRONGTYPE") as caught:
        await OPERATIONS[name](store)
    assert isinstance(caught.value.__cause__, aioredis.ResponseError)


async def test_a_ttl_the_server_refuses_is_a_store_error(store: RedisSessionStore) -> None:
    for ttl in (0, -1, 10**30, 1.5, True):
        with pytest.raises(SessionStoreError):
            await store.save(O, {}, ttl)  # type: ignore[arg-type]
    assert not await store.exists(O)


async def test_a_server_that_forgot_its_scripts_learns_them_again(
    store: RedisSessionStore, valkey: Any, commands: Commands
) -> None:
    await store.create_if_absent(O, VALUE, 60)
    other = DEFAULT_CODEC.dumps({"a": 1})
    assert await store.compare_and_swap(O, VALUE, other, 60) == other

    await valkey.script_flush()
    assert await store.compare_and_swap(O, other, VALUE, 60) == VALUE
    assert await store.load_and_slide(O, 60) == VALUE

    await commands.forget()
    assert await store.compare_and_swap(O, VALUE, other, 60) == other
    assert await store.load_and_slide(O, 60) == other
    seen = await commands.seen()
    assert seen["evalsha"] == 2
    assert not seen.keys() & {"eval", "script|load"}


def lack(client: Any, *commands: str) -> None:
    """Have a client's server not know some commands."""
    execute = client.execute_command

    async def lacking(*args: Any, **options: Any) -> Any:
        name, *rest = args
        # The server itself words the refusal.
        known = f"{name}_IS_UNKNOWN" if name in commands else name
        return await execute(known, *rest, **options)

    client.execute_command = lacking


@pytest.mark.parametrize("idle", [60, 3600])
async def test_server_without_scripts_loads_too(valkey: Any, commands: Commands, idle: int) -> None:
    """And never cuts a life short, not even until the next command."""
    lack(valkey, "EVALSHA", "EVAL")
    store = RedisSessionStore(client=valkey)
    await store.create_if_absent(O, VALUE, idle)
    await commands.forget()

    assert [await store.load_and_slide(O, 1800) for _ in range(2)] == [VALUE, VALUE]

    slid = {"expire": 1} if idle < 1800 else {}
    assert await commands.seen() == {"get": 4, "ttl": 2, **slid}
    assert max(idle, 1800) - 10 < await valkey.ttl(KEY) <= max(idle, 1800)


async def test_an_old_server_without_scripting_slides_too(valkey: Any) -> None:
    """Redis 6.2 knows no ``GT``."""
    lack(valkey, "EVALSHA", "EVAL")
    execute = valkey.execute_command

    async def older(*args: Any, **options: Any) -> Any:
        if "GT" in args:
            raise aioredis.ResponseError("wrong number of arguments for 'expire' command")
        return await execute(*args, **options)

    valkey.execute_command = older
    store = RedisSessionStore(client=valkey)
    await store.create_if_absent(O, VALUE, 60)

    assert await store.load_and_slide(O, 1800) == VALUE

    assert 1790 < await valkey.ttl(KEY) <= 1800


async def test_server_that_lacks_needed_is_called_too_old(valkey: Any, caplog: Log) -> None:
    lack(valkey, "EVALSHA", "EVAL", "EXPIRE")
    store = RedisSessionStore(client=valkey)
    await store.create_if_absent(O, VALUE, 30)

    with pytest.raises(UnsupportedServerError, match=r"6\.2") as caught:
        await store.load_and_slide(O, 60)
    assert isinstance(caught.value, SessionStoreError)
    assert isinstance(caught.value.__cause__, aioredis.ResponseError)
    assert O not in caplog.text + str(caught.value)

    await store.save(O, {"a": 1}, 60)
    assert await store.get(O) == {"a": 1}


@pytest.fixture
async def limited(valkey: Any, valkey_url: str) -> AsyncIterator[Callable[..., Any]]:
    """Return what makes a client of a user who may do everything but some commands."""
    async with contextlib.AsyncExitStack() as closing:

        async def without(*commands: str) -> Any:
            rights = ["+@all", *(f"-{each}" for each in commands)]
            await valkey.acl_setuser(
                "limited", enabled=True, nopass=True, commands=rights, keys=["*"]
            )
            closing.push_async_callback(valkey.acl_deluser, "limited")
            client: Any = aioredis.from_url(valkey_url, username="limited", password="x")
            closing.push_async_callback(client.aclose)
            return client

        yield without


async def test_forbidden_command_is_not_taken_for_old_server(valkey: Any, limited: Any) -> None:
    await valkey.set(KEY, VALUE, ex=30)
    with pytest.raises(SessionStoreError, match="'expire'") as caught:
        await RedisSessionStore(client=await limited("expire")).load_and_slide(O, 60)
    assert not isinstance(caught.value, UnsupportedServerError)


@pytest.mark.parametrize("forbidden", ["evalsha", "eval"])
async def test_scripts_that_are_forbidden_are_done_without_and_the_log_says_so_once(
    valkey: Any, limited: Any, forbidden: str, caplog: Log
) -> None:
    await valkey.script_flush()
    store = RedisSessionStore(client=await limited(forbidden))
    other = DEFAULT_CODEC.dumps({"a": 1})
    for _ in range(2):
        assert await store.create_if_absent(O, VALUE, 60)
        assert await store.load_and_slide(O, 60) == VALUE
        assert await store.compare_and_swap(O, VALUE, other, 60) == other
        assert await store.rename(O, N, other, VALUE, 60) == VALUE
        assert (await store.load_and_slide(O, 60), await store.delete_moved(O)) == (Moved(N), N)
        await valkey.flushdb()
    [line] = [each.getMessage() for each in caplog.records if "runs no scripts" in each.message]
    assert f"'{forbidden}'" in line


@pytest.mark.parametrize(
    "refusal",
    [
        ReadOnlyError("You can't write against a read only replica. script: 1, on @user_script:6."),
        aioredis.ResponseError(
            "Error running script (call to f_1): @user_script:6: @user_script: 6: -READONLY You"
            " can't write against a read only replica."
        ),
        aioredis.ResponseError("NOREPLICAS Not enough good replicas to write."),
    ],
    ids=["Redis 7", "Redis 6", "no replicas"],
)
async def test_connections_to_what_is_only_a_replica_by_now_are_closed(
    store: RedisSessionStore, valkey: Any, refusal: Exception
) -> None:
    await store.load_and_slide(O, 60)
    [idle] = valkey.connection_pool._available_connections
    execute = valkey.execute_command

    async def refuse(*_: Any, **__: Any) -> None:
        raise refusal

    valkey.execute_command = refuse
    with pytest.raises(SessionStoreError):
        await store.load_and_slide(O, 60)
    assert not idle.is_connected
    valkey.execute_command = execute
    assert await store.load_and_slide(O, 60) is None


async def test_an_error_that_is_not_the_servers_passes(valkey: Any) -> None:
    """A bug in the application's own client must not look like an outage."""

    async def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    valkey.execute_command = broken
    with pytest.raises(ZeroDivisionError):
        await RedisSessionStore(client=valkey).exists(O)


# A server without scripting


async def test_without_scripting_a_write_in_between_is_noticed(valkey: Any) -> None:
    """WATCH fails the transaction; the value is read again and returned."""
    other = DEFAULT_CODEC.dumps({"a": 1})
    client: Any = FakeAsyncRedis()
    store = RedisSessionStore(client=client)
    await store.create_if_absent(O, VALUE, 60)
    intruded: list[Any] = []
    make_pipeline = client.pipeline

    def pipeline(**options: Any) -> Any:
        made = make_pipeline(**options)
        execute = made.execute

        async def intrude() -> Any:
            if not intruded:
                intruded.append(await client.set(KEY, other))
            return await execute()

        made.execute = intrude
        return made

    client.pipeline = pipeline
    assert await store.compare_and_swap(O, VALUE, DEFAULT_CODEC.dumps({"b": 2}), 60) == other
    assert intruded
    assert await client.get(KEY) == other
    await client.aclose()


# Interrupted between two commands


async def half_rotated(valkey: Any, valkey_url: str) -> tuple[SessionRepository, HttpSession]:
    """Rotate a session; the commit is cancelled when its copy is stored under the new id."""
    await valkey.set(KEY, VALUE, ex=60)
    repository = SessionRepository(RedisSessionStore(client=valkey))
    session = await loaded(repository, O, role="admin")
    session.rotate_id()
    client: Any = aioredis.from_url(valkey_url)
    execute = client.execute_command

    async def once(*args: Any, **options: Any) -> Any:
        await execute(*args, **options)
        raise asyncio.CancelledError

    client.execute_command = once
    with pytest.raises(asyncio.CancelledError):
        await SessionRepository(RedisSessionStore(client=client)).commit(session)
    await client.aclose()
    assert await valkey.exists(KEY_PREFIX + session.id)
    return repository, session


async def test_a_logout_after_an_interrupted_rotation_leaves_nothing(
    valkey: Any, valkey_url: str
) -> None:
    repository, session = await half_rotated(valkey, valkey_url)
    session.invalidate()

    assert await repository.commit(session) is Outcome.ENDED

    assert await valkey.keys("pyfly:session:*") == []


async def test_an_interrupted_rotation_is_repeated_with_what_was_changed_since(
    valkey: Any, valkey_url: str
) -> None:
    repository, session = await half_rotated(valkey, valkey_url)
    session.set_attribute("role", "owner")

    assert await repository.commit(session) is Outcome.STORED

    assert json.loads(await valkey.get(KEY_PREFIX + session.id))["role"] == "owner"
    assert not await valkey.exists(KEY)


async def test_an_interrupted_rotation_that_another_write_overtook_takes_it_along(
    valkey: Any, valkey_url: str
) -> None:
    """The copy that the first attempt left under the new id is out of date."""
    repository, session = await half_rotated(valkey, valkey_url)
    await repository.commit(await loaded(repository, O, note="meanwhile"))

    assert await repository.commit(session) is Outcome.STORED

    stored = json.loads(await valkey.get(KEY_PREFIX + session.id))
    assert (stored["role"], stored["note"]) == ("admin", "meanwhile")
    assert not await valkey.exists(KEY)
    assert await valkey.get(MOVED_KEY) == session.id.encode()


async def test_a_first_attempt_that_reaches_the_server_late_does_not_cost_the_session(
    store: RedisSessionStore, valkey: Any
) -> None:
    """Its script runs while the second attempt is under way already."""
    await valkey.set(KEY, VALUE, ex=60)
    await valkey.set(NEW_KEY, VALUE, ex=60)
    execute = valkey.execute_command

    async def late(*args: Any, **options: Any) -> Any:
        if args[0] == "EVALSHA":
            await execute("DEL", KEY)
            await execute("SET", MOVED_KEY, N)
        return await execute(*args, **options)

    valkey.execute_command = late

    assert await store.rename(O, N, VALUE, VALUE, 60) == Moved(N)
    assert await store.load_and_slide(N, 60) == VALUE
