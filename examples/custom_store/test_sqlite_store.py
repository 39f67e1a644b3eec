"""The store keeps the contract, and the application its sessions."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from app import create_app
from sqlite_store import SqliteSessionStore
from starlette.testclient import TestClient

from pyfly_session.testing import Clock, SessionStoreContract


class TestSqliteSessionStore(SessionStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path, clock: Clock) -> Iterator[SqliteSessionStore]:
        store = SqliteSessionStore(str(tmp_path / "sessions.db"), clock=clock)
        yield store
        store.close()

    @asynccontextmanager
    async def break_backend(self, store: SqliteSessionStore) -> AsyncIterator[None]:
        store.close()
        yield


def test_sessions_outlive_the_process(tmp_path: Path) -> None:
    cookies: dict[str, str] = {}
    for number in range(1, 4):
        with TestClient(create_app(tmp_path / "sessions.db"), cookies=cookies) as browser:
            assert browser.get("/").text == f"visit {number}\n"
            cookies = {cookie.name: cookie.value or "" for cookie in browser.cookies.jar}


def test_what_has_expired_is_cleaned_up(tmp_path: Path) -> None:
    async def fill() -> None:
        for number in range(3):
            await store.save(f"s{number}", {}, 60)
        clock.advance(60)
        await store.save("s3", {}, 60)

    clock = Clock()
    store = SqliteSessionStore(str(tmp_path / "sessions.db"), clock=clock)
    asyncio.run(fill())
    store.close()

    with closing(sqlite3.connect(tmp_path / "sessions.db")) as connection:
        assert connection.execute("SELECT id FROM sessions").fetchall() == [("s3",)]
