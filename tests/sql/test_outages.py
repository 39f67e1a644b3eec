"""A PostgreSQL that goes and comes back, and several processes that share one database."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyfly_session import SessionRepository, SessionStoreUnavailableError
from pyfly_session.adapters.sql import SqlSessionStore
from pyfly_session.ids import new_id
from tests.sql.conftest import DATABASES, MakeStore
from tests.sql.postgresql import Postgresql
from tests.support.sessions import loaded

pytestmark = pytest.mark.anyio
_PROCESSES, _UPDATES = 2, 12


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_connections_that_died_are_noticed_by_no_request(
    store: SqlSessionStore, postgresql: Postgresql, how: signal.Signals
) -> None:
    session_id = new_id()
    await store.create_if_absent(session_id, b"{}", 60)
    crowd = (store.load_and_slide(session_id, 60) for _ in range(5))
    assert await asyncio.gather(*crowd) == [b"{}"] * 5
    postgresql.stop(how)
    try:
        with pytest.raises(SessionStoreUnavailableError, match="not reached to load"):
            await store.load_and_slide(session_id, 60)
    finally:
        postgresql.start()
    crowd = (store.load_and_slide(session_id, 60) for _ in range(5))
    assert await asyncio.gather(*crowd) == [b"{}"] * 5
    postgresql.stop(how)
    postgresql.start()
    # All of the pool are dead now, and nothing has told so yet.
    assert await store.compare_and_swap(session_id, b"{}", b"[]", 60) == b"[]"


@pytest.mark.parametrize("database_url", DATABASES, indirect=True)
async def test_updates_of_processes_all_count(make_sql_store: MakeStore, database_url: str) -> None:
    repository = SessionRepository(make_sql_store())
    session = repository.create()
    await repository.commit(session)
    arguments = [sys.executable, "-m", "tests.sql.visits", database_url, session.id, str(_UPDATES)]
    processes = [
        subprocess.Popen(arguments, cwd=Path(__file__).parents[2])  # noqa: ASYNC220, S603
        for _ in range(_PROCESSES)
    ]
    assert [await asyncio.to_thread(each.wait) for each in processes] == [0] * _PROCESSES
    assert (await loaded(repository, session.id)).get_attribute("visits") == _PROCESSES * _UPDATES
