"""The SQL store keeps the published contract, in a SQLite file and in a real PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import event

from pyfly_session.adapters.sql import SqlSessionStore
from pyfly_session.testing import SessionStoreContract
from tests.sql.conftest import DATABASES, MakeStore


@pytest.mark.parametrize("database_url", DATABASES, indirect=True)
class TestSql(SessionStoreContract):
    @pytest.fixture
    def store(self, make_sql_store: MakeStore) -> SqlSessionStore:
        return make_sql_store()

    @asynccontextmanager
    async def break_backend(self, store: SqlSessionStore) -> AsyncIterator[None]:
        def refuse(*args: Any) -> None:
            raise ConnectionRefusedError("connection refused")

        await store.engine.dispose()
        event.listen(store.engine.sync_engine, "do_connect", refuse)
        yield
        event.remove(store.engine.sync_engine, "do_connect", refuse)
