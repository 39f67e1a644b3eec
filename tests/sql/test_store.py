"""What the SQL store promises besides the contract of all stores."""

import asyncio
import math
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from pyfly_session import SessionStoreError, SessionStoreUnavailableError, StoreContractError
from pyfly_session.adapters.sql import SqlSessionStore, schema_of, sessions_table
from pyfly_session.core.repository import SessionRepository
from pyfly_session.ids import new_id, record_id
from pyfly_session.ports import FORWARD_SECONDS, Moved
from tests.conftest import Clock
from tests.sql.conftest import DATABASES, MakeStore
from tests.support.types import Log

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("database_url", DATABASES, indirect=True)]
TTL = 1800


@contextmanager
def statements(engine: AsyncEngine) -> Iterator[list[str]]:
    """Collect the first word of each statement that is sent."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement.split(maxsplit=1)[0])

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine.sync_engine, "before_cursor_execute", note)


async def test_a_read_is_one_select_until_a_part_of_the_idle_time_has_gone(
    make_sql_store: MakeStore, engine: AsyncEngine, clock: Clock
) -> None:
    store, session_id = make_sql_store(cleanup_interval=math.inf), new_id()
    await store.create_if_absent(session_id, b"{}", TTL)
    with statements(engine) as sent:
        for _ in range(3):
            clock.advance(TTL / 60)
            await store.load_and_slide(session_id, TTL)
        assert sent == ["SELECT"] * 3
        clock.advance(TTL / 60)
        await store.load_and_slide(session_id, TTL)
        assert sent == [*["SELECT"] * 4, "UPDATE"]


async def test_a_session_ends_a_twentieth_of_its_idle_time_early_at_most_and_never_late(
    store: SqlSessionStore, clock: Clock
) -> None:
    session_id = new_id()
    await store.create_if_absent(session_id, b"{}", TTL)
    clock.advance(TTL / 20)
    await store.load_and_slide(session_id, TTL)
    clock.advance(TTL * 19 / 20 - 0.5)
    assert await store.exists(session_id)
    clock.advance(TTL / 20)
    assert await store.exists(session_id) is False


@pytest.mark.parametrize("interval", [0.5, 60, 100_000])
async def test_the_touch_interval_never_lets_a_session_in_use_end(
    make_sql_store: MakeStore, clock: Clock, interval: float
) -> None:
    store, session_id = make_sql_store(touch_interval=interval), new_id()
    await store.create_if_absent(session_id, b"{}", 60)
    for _ in range(20):
        clock.advance(29)
        assert await store.load_and_slide(session_id, 60) == b"{}"


@pytest.mark.parametrize("own", [60, 30 * 86400])
async def test_an_idle_time_of_its_own_costs_no_write_on_a_read(
    make_sql_store: MakeStore, engine: AsyncEngine, clock: Clock, own: int
) -> None:
    store = make_sql_store(cleanup_interval=math.inf)
    repository = SessionRepository(store, ttl=TTL, clock=clock)
    session = repository.create()
    session.set_max_inactive_interval(own)
    await repository.commit(session)
    with statements(engine) as sent:
        clock.advance(own / 60)
        assert await repository.load(session.id) is not None
        assert {*sent} == {"SELECT"}
        clock.advance(own / 2)
        assert await repository.load(session.id) is not None
        assert sent.count("UPDATE") == 1
    clock.advance(own - 1)
    assert await store.exists(session.id)
    clock.advance(1)
    assert await store.exists(session.id) is False


@pytest.mark.parametrize("own", [None, 30])
async def test_what_is_no_access_sends_no_update_and_a_write_keeps_the_end(
    make_sql_store: MakeStore, engine: AsyncEngine, clock: Clock, own: int | None
) -> None:
    store = make_sql_store(cleanup_interval=math.inf)
    repository = SessionRepository(store, ttl=TTL, clock=clock)
    session = repository.create()
    session.set_max_inactive_interval(own)
    await repository.commit(session)
    clock.advance((own or TTL) - 1)
    with statements(engine) as sent:
        polled = await repository.load(session.id, slide=False)
        assert polled is not None
        assert {*sent} == {"SELECT"}
    polled.set_attribute("n", 1)
    await repository.commit(polled)
    assert (await store.get(session.id) or {})["n"] == 1
    clock.advance(1)
    assert await store.exists(session.id) is False


async def test_expired_rows_end_without_being_asked_for_and_one_process_tells_of_each(
    make_sql_store: MakeStore, engine: AsyncEngine, clock: Clock
) -> None:
    first, second = make_sql_store(), make_sql_store()
    told: list[tuple[str, bytes, str]] = []
    for each in (first, second):
        each.watch_losses(lambda *loss: told.append(loss))
    session_ids = [new_id() for _ in range(250)]
    for number, session_id in enumerate(session_ids):
        await first.create_if_absent(session_id, b"{}", 60)
        clock.advance(0.001)
        if number == 0:
            await first.create_if_absent(record_id("kind", session_id), b"{}", 60)
    renamed, survivor = new_id(), new_id()
    await first.create_if_absent(renamed, b"{}", 60)
    await first.rename(renamed, survivor, b"{}", b"{}", 2 * FORWARD_SECONDS)
    clock.advance(FORWARD_SECONDS)
    with statements(engine) as sent:
        await asyncio.gather(*(each.exists(survivor) for each in (first, second)))
        # A bounded number at once, and the rest with the next calls.
        assert len(told) <= 200
        for _ in range(3):
            await asyncio.gather(*(each.exists(survivor) for each in (first, second)))
        assert sorted(session_id for session_id, _, _ in told) == sorted(session_ids)
        assert {loss[1:] for loss in told} == {(b"{}", "expired")}
        clean_ups = sent.count("DELETE")
        await first.exists(survivor)
        assert sent.count("DELETE") == clean_ups
    async with engine.connect() as connection:
        assert [*await connection.scalars(text("SELECT id FROM pyfly_session"))] == [survivor]


async def test_a_clean_up_that_fails_fails_no_request(
    make_sql_store: MakeStore, clock: Clock, caplog: Log
) -> None:
    store, session_id = make_sql_store(), new_id()
    await store.create_if_absent(session_id, b"{}", TTL)
    clock.advance(61)

    def refuse(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE"):
            raise OSError("no")

    event.listen(store.engine.sync_engine, "before_cursor_execute", refuse)
    assert await store.load_and_slide(session_id, TTL) == b"{}"
    event.remove(store.engine.sync_engine, "before_cursor_execute", refuse)
    assert "failed to end expired sessions" in caplog.text


async def test_caller_cancelled_anywhere_leaves_store_that_works(store: SqlSessionStore) -> None:
    chance = random.Random(7)  # noqa: S311 - the same ones in every run
    session_id, value = new_id(), b'{"n":0}'
    await store.create_if_absent(session_id, value, TTL)
    written = {value}
    for number in range(40):
        new = b'{"n":%d}' % (number + 1)
        written.add(new)
        task = asyncio.create_task(store.compare_and_swap(session_id, value, new, TTL))
        for _ in range(chance.randrange(30)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        found = await store.load_and_slide(session_id, TTL)
        assert isinstance(found, bytes)
        assert found in written
        value = found
    # What was cancelled last may come to its end now.
    while (found := await store.compare_and_swap(session_id, value, b"{}", TTL)) != b"{}":
        assert isinstance(found, bytes)
        value = found
    moved_to = new_id()
    assert await store.rename(session_id, moved_to, b"{}", b"{}", TTL) == b"{}"
    assert await store.load_and_slide(session_id, TTL) == Moved(moved_to)


async def test_a_crowd_larger_than_the_pool_is_served(store: SqlSessionStore) -> None:
    numbered = {new_id(): b'{"n":%d}' % number for number in range(100)}
    created = await asyncio.gather(
        *(store.create_if_absent(each, value, TTL) for each, value in numbered.items())
    )
    assert all(created)
    loaded = await asyncio.gather(*(store.load_and_slide(each, TTL) for each in numbered))
    assert loaded == [*numbered.values()]


async def test_sqlite_is_asked_one_thing_at_a_time(
    store: SqlSessionStore, engine: AsyncEngine, database_url: str
) -> None:
    """It lets one write at a time, and others wait without a turn until they fail."""
    taken: list[int] = []

    def note(*_: Any) -> None:
        pool: Any = engine.pool
        taken.append(pool.checkedout())

    await store.exists(new_id())
    event.listen(engine.sync_engine.pool, "checkout", note)
    await asyncio.gather(*(store.create_if_absent(new_id(), b"{}", TTL) for _ in range(20)))
    assert len(taken) == 20
    assert (max(taken) == 1) is ("sqlite" in database_url)


async def test_an_error_tells_no_ids_and_no_values(make_sql_store: MakeStore) -> None:
    store = make_sql_store(table="nowhere", create_table=False)
    with pytest.raises(SessionStoreError, match="nowhere") as caught:
        await store.create_if_absent("SECRET-ID", b"SECRET-VALUE", TTL)
    error: BaseException | None = caught.value
    while error is not None:
        assert "SECRET" not in str(error)
        error = error.__cause__


async def test_the_printed_schema_is_the_one_that_the_store_uses(
    database_url: str, engine: AsyncEngine, make_sql_store: MakeStore
) -> None:
    async with engine.begin() as connection:
        for statement in schema_of(database_url, "from_migration").split(";\n"):
            await connection.execute(text(statement))
    store, session_id = make_sql_store(table="from_migration", create_table=False), new_id()
    assert await store.create_if_absent(session_id, b"{}", TTL)
    assert await store.load_and_slide(session_id, TTL) == b"{}"


async def test_many_create_the_table_once(database_url: str, make_sql_store: MakeStore) -> None:
    make_sql_store()
    engines = [create_async_engine(database_url) for _ in range(4)]
    stores = [SqlSessionStore(each, create_table=True) for each in engines for _ in range(2)]
    assert await asyncio.gather(*(each.exists(new_id()) for each in stores)) == [False] * 8
    for each in engines:
        await each.dispose()


async def test_no_statement_looks_at_every_row(
    store: SqlSessionStore, engine: AsyncEngine, clock: Clock, database_url: str
) -> None:
    """The indexes are those that the plans use."""
    session_ids = [new_id() for _ in range(4)]
    for each in session_ids:
        await store.create_if_absent(each, b"{}", TTL)
    rows = [
        {"id": new_id(), "payload": b"{}", "version": "v", "expires_at": clock() + number}
        for number in range(5000)
    ]
    sent: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith("INSERT"):
            sent[statement] = parameters

    async with engine.begin() as connection:
        await connection.execute(sessions_table().insert(), rows)
        await connection.execute(text("ANALYZE"))
    event.listen(engine.sync_engine, "before_cursor_execute", note)
    clock.advance(TTL / 2)
    first, second, third, fourth = session_ids
    await store.load_and_slide(first, TTL)
    await store.compare_and_swap(first, b"{}", b"[]", TTL)
    await store.rename(second, new_id(), b"{}", b"[]", TTL)
    await store.save(third, {}, TTL)
    await store.create_if_absent(fourth, b"{}", TTL)
    await store.delete(fourth)
    event.remove(engine.sync_engine, "before_cursor_execute", note)
    assert len(sent) == 8
    explain = "EXPLAIN QUERY PLAN " if "sqlite" in database_url else "EXPLAIN "
    async with engine.begin() as connection:
        for statement, parameters in sent.items():
            plan = await connection.exec_driver_sql(explain + statement, parameters)
            shown = "\n".join(str(row[-1]) for row in plan)
            assert re.search(r"USING (COVERING )?INDEX|Index (Only )?Scan", shown), statement
            assert not re.search(r"^SCAN pyfly_session$|Seq Scan", shown, re.MULTILINE), statement


async def test_one_connection_for_all_is_refused(database_url: str) -> None:
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    with pytest.raises(StoreContractError, match="in-memory session store"):
        SqlSessionStore(engine)


async def test_a_change_of_id_that_fails_half_way_changes_nothing(
    store: SqlSessionStore, engine: AsyncEngine
) -> None:
    former, new = new_id(), new_id()
    await store.create_if_absent(former, b"{}", TTL)

    def refuse(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT"):
            raise OSError("no")

    event.listen(engine.sync_engine, "before_cursor_execute", refuse)
    with pytest.raises(SessionStoreError):
        await store.rename(former, new, b"{}", b"[]", TTL)
    event.remove(engine.sync_engine, "before_cursor_execute", refuse)
    assert await store.load_and_slide(former, TTL) == b"{}"
    assert await store.delete_moved(former) is None


async def test_a_slow_database_is_waited_for_until_the_deadline(
    make_sql_store: MakeStore, engine: AsyncEngine, database_url: str
) -> None:
    store, session_id = make_sql_store(deadline=0.2), new_id()
    await make_sql_store().create_if_absent(session_id, b"{}", TTL)
    async with engine.connect() as connection:
        lock = "BEGIN EXCLUSIVE" if "sqlite" in database_url else "LOCK TABLE pyfly_session"
        await connection.exec_driver_sql(lock)
        with pytest.raises(SessionStoreUnavailableError, match="not reached to merge"):
            await store.compare_and_swap(session_id, b"{}", b"[]", TTL)
        await connection.exec_driver_sql("ROLLBACK")
    assert await make_sql_store().compare_and_swap(session_id, b"{}", b"[]", TTL) in (b"{}", b"[]")
