"""SQL stores as fixtures: in a SQLite file, and in a real PostgreSQL."""

from collections.abc import AsyncIterator, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pyfly_session.adapters.sql import SqlSessionStore
from tests.conftest import Clock
from tests.needs import lacks
from tests.sql.postgresql import Postgresql, running_postgresql

DATABASES = ["sqlite", "postgresql"]

MakeStore = Callable[..., SqlSessionStore]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    with running_postgresql() as server:
        yield server


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database; parametrize it with the kind."""
    driver = {"sqlite": "aiosqlite", "postgresql": "asyncpg"}[request.param]
    if find_spec(driver) is None:
        lacks(f"the package {driver}")
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/sessions.db"
    url: str = request.getfixturevalue("postgresql").url
    return url


@pytest.fixture
async def engine(database_url: str, anyio_backend: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def make_sql_store(engine: AsyncEngine, clock: Clock) -> AsyncIterator[MakeStore]:
    """Return a function that makes stores of one table, which is dropped in the end."""
    made: list[SqlSessionStore] = []

    def make(**options: Any) -> SqlSessionStore:
        # A machine that is busy with something else is no failure.
        patience = {"deadline": 50.0}
        given: dict[str, Any] = {"create_table": True, "clock": clock, **patience, **options}
        store = SqlSessionStore(engine, **given)
        made.append(store)
        return store

    yield make
    async with engine.begin() as connection:
        for store in made:
            await connection.run_sync(store.table.metadata.drop_all)


@pytest.fixture
def store(make_sql_store: MakeStore) -> SqlSessionStore:
    return make_sql_store()
