"""`SqliteSessionStore`: sessions in one SQLite file, with every capability."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from pyfly_session import SessionCodec, SessionStoreError
from pyfly_session.errors import SessionDecodingError
from pyfly_session.ids import mask
from pyfly_session.ports import FORWARD_SECONDS, SCAN_HEAD, SCAN_STEP, Moved, Scanned

T = TypeVar("T")

_logger = logging.getLogger(__name__)
_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, value BLOB NOT NULL, ends REAL NOT NULL);
CREATE TABLE IF NOT EXISTS ways (id TEXT PRIMARY KEY, new_id TEXT NOT NULL, ends REAL NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_ends ON sessions (ends);
CREATE INDEX IF NOT EXISTS ways_ends ON ways (ends);
"""


class SqliteSessionStore:
    """Sessions in a file that the tasks of a process, and several processes, share.

    Each method is one transaction, which waits for those of other processes.

    Args:
        path: The file; it is made if there is none.
        clock: Unix time in seconds, the same for every process.
    """

    def __init__(self, path: str, *, clock: Callable[[], float] = time.time) -> None:
        self.codec = SessionCodec()
        self._clock = clock
        self._lock = threading.Lock()
        # Transactions are begun by hand: sqlite3 would begin them too late, at the first write.
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # A session lost to a power cut is a login more; waiting for the disk is slow always.
        self._connection.executescript(
            f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;{_TABLES}"
        )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    # The four verbs.

    async def get(self, session_id: str) -> dict[str, Any] | None:
        value = await self._run("get", lambda: self._find(session_id))
        try:
            return None if value is None else self.codec.loads(value)
        except SessionDecodingError as error:
            _logger.warning("session %s is unreadable: %s", mask(session_id), error)
            return None

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        value = self.codec.dumps(data)
        await self._run("save", lambda: self._put(session_id, value, ttl))

    async def delete(self, session_id: str) -> None:
        await self._run("delete", lambda: self._remove(session_id))

    async def exists(self, session_id: str) -> bool:
        return await self._run("exists", lambda: self._find(session_id)) is not None

    # LoadAndSlide.

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        def load() -> bytes | Moved | None:
            value = self._find(session_id)
            if value is None:
                return self._way(session_id)
            self._execute(
                "UPDATE sessions SET ends = max(ends, ?) WHERE id = ?",
                self._clock() + ttl,
                session_id,
            )
            return value

        return await self._run("load", load)

    # CreateIfAbsent.

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        def create() -> bool:
            if self._find(session_id) is not None:
                return False
            self._put(session_id, value, ttl)
            return True

        return await self._run("create", create)

    # CompareAndSwap.

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        def swap() -> bytes | Moved | None:
            current = self._find(session_id)
            if current is None:
                return self._way(session_id)
            if current != expected:
                return current
            self._put(session_id, value, ttl)
            return value

        return await self._run("merge", swap)

    # Rename.

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        def move() -> bytes | Moved | None:
            current = self._find(session_id)
            if current is None:
                return self._way(session_id)
            if current not in (expected, value):
                return current
            self._put(new_id, value, ttl)
            self._remove(session_id)
            self._execute(
                "INSERT OR REPLACE INTO ways VALUES (?, ?, ?)",
                session_id,
                new_id,
                self._clock() + FORWARD_SECONDS,
            )
            return value

        return await self._run("rename", move)

    async def delete_moved(self, session_id: str) -> str | None:
        def delete() -> str | None:
            self._remove(session_id)
            way = self._way(session_id)
            return way.new_id if way else None

        return await self._run("delete", delete)

    async def scan_sessions(self) -> AsyncIterator[list[Scanned]]:
        after = ""

        def step() -> list[Scanned]:
            now = self._clock()
            rows = self._execute(
                "SELECT id, substr(value, 1, ?), length(value), ends - ? FROM sessions"
                " WHERE id > ? AND ends > ? AND id NOT LIKE '%:%' ORDER BY id LIMIT ?",
                *(SCAN_HEAD, now, after, now, SCAN_STEP),
            )
            return [Scanned(*row) for row in rows]

        while found := await self._run("scan", step):
            yield found
            after = found[-1].session_id

    # What they are made of.

    async def _run(self, operation: str, work: Callable[[], T]) -> T:
        """Run the work as one transaction, in a thread: the event loop goes on meanwhile."""
        try:
            return await asyncio.to_thread(self._transaction, work)
        except sqlite3.Error as error:
            raise SessionStoreError(
                f"the session store failed to {operation}: {error}", operation=operation
            ) from error

    def _transaction(self, work: Callable[[], T]) -> T:
        with self._lock:
            # From the first step on nobody else writes, so reading and writing are one.
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                return work()

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def _find(self, session_id: str) -> bytes | None:
        row = self._execute(
            "SELECT value FROM sessions WHERE id = ? AND ends > ?", session_id, self._clock()
        ).fetchone()
        return row and bytes(row[0])

    def _put(self, session_id: str, value: bytes, ttl: int) -> None:
        now = self._clock()
        self._execute("DELETE FROM sessions WHERE ends <= ?", now)
        self._execute("DELETE FROM ways WHERE ends <= ?", now)
        self._execute(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)", session_id, value, now + ttl
        )

    def _remove(self, session_id: str) -> None:
        self._execute("DELETE FROM sessions WHERE id = ?", session_id)

    def _way(self, session_id: str) -> Moved | None:
        row = self._execute(
            "SELECT new_id FROM ways WHERE id = ? AND ends > ?", session_id, self._clock()
        ).fetchone()
        return row and Moved(row[0])
