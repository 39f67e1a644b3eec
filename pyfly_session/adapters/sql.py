"""`SqlSessionStore`: sessions in a table of the database that an application has already.

One row is one session, or one record, or the note that a session goes on under another id. Every
change is one conditional statement, of which the database says whether it found its row; only a
change of id takes two, in one transaction. So nothing is locked while a request runs, and any
number of processes may share the table. PostgreSQL, SQLite and MariaDB take the same statements.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Double,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    exc,
    func,
    insert,
    make_url,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from pyfly_session import ids
from pyfly_session.core.codec import DEFAULT_CODEC, SessionCodec
from pyfly_session.errors import (
    SessionDecodingError,
    SessionStoreError,
    SessionStoreUnavailableError,
    StoreContractError,
)
from pyfly_session.ports import FORWARD_SECONDS, SCAN_HEAD, SCAN_STEP, Loss, Moved, Scanned

__all__ = ["TABLE", "SqlSessionStore", "schema_of", "sessions_table"]

TABLE = "pyfly_session"
_TOUCH_PART = 20
_AT_ONCE = 100
# A session that has an idle time of its own has it in front, as the codec writes it.
_FRONT = 160
_OWN_IDLE_TIME = re.compile(rb'\{[^{\[]*"_max_inactive_interval":(\d{1,10})[,}]')

_logger = logging.getLogger(__name__)
T = TypeVar("T")
Work = Callable[[Connection], T]


def sessions_table(name: str = TABLE, metadata: MetaData | None = None) -> Table:
    """Return the table of the sessions, for migrations.

    Args:
        name: Its name, with a schema in front if need be: ``web.sessions``.
        metadata: Where to add it; that of the application, for Alembic to see.
    """
    schema, _, plain = name.rpartition(".")
    # Large and small letters are different, which MariaDB has to be told.
    text = String(160).with_variant(String(160, collation="utf8mb4_bin"), "mysql", "mariadb")
    return Table(
        plain,
        MetaData() if metadata is None else metadata,
        Column("id", text, primary_key=True),
        # As long as MariaDB's longest.
        Column("payload", LargeBinary(2**32 - 1)),
        # A digest of the payload: to compare it, nobody has to send it.
        Column("version", String(32)),
        # Unix time in seconds. Expired rows are found by it.
        Column("expires_at", Double, nullable=False),
        # Where the session goes on; then there is no payload.
        Column("moved_to", text),
        Index(f"ix_{plain}_expires_at", "expires_at"),
        schema=schema or None,
    )


def schema_of(url: str, name: str = TABLE) -> str:
    """Return the statements that create the table, in the words of the database of a URL."""
    dialect = make_url(url).get_dialect()()
    table = sessions_table(name)
    statements: list[ExecutableDDLElement] = [CreateTable(table), *map(CreateIndex, table.indexes)]
    texts = (str(each.compile(dialect=dialect)).strip() for each in statements)
    return "\n".join(f"{text};" for text in texts).replace("\t", "    ").replace(" \n", "\n")


class SqlSessionStore:
    """Sessions in a table, by SQLAlchemy's asyncio engine.

    The engine is the caller's: it is neither configured nor closed here, and belongs to the event
    loop in which it was first used. Clocks of several machines have to be in step.

    Args:
        engine: An engine of PostgreSQL, SQLite or MariaDB; of SQLite one with a file.
        table: Name of the table, with a schema in front if need be.
        create_table: Create the table if it is missing; None for SQLite only.
        touch_interval: How many seconds the time of the last use may be behind; a session ends
            that much early at most. None for a twentieth of its idle time.
        cleanup_interval: Seconds between two looks for expired rows.
        codec: Encodes the sessions; the shared one unless given.
        deadline: Seconds that one operation may take in all, or None.
        clock: Unix time in seconds.

    Attributes:
        engine: As given.
        table: The table.
        creates_table: True if it is created where it is missing.
        db_system_name: What OpenTelemetry calls the database.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        table: str = TABLE,
        create_table: bool | None = None,
        touch_interval: float | None = None,
        cleanup_interval: float = 60.0,
        codec: SessionCodec = DEFAULT_CODEC,
        deadline: float | None = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.codec = codec
        self.engine = engine
        self.table = sessions_table(table)
        self.db_system_name = engine.dialect.name
        if isinstance(engine.pool, StaticPool):
            # Another task's rollback would undo what this one has done.
            raise StoreContractError(
                f"all tasks would share the one connection of {engine.url!r}; give the database a"
                " file, or use the in-memory session store"
            )
        is_sqlite = engine.dialect.name == "sqlite"
        # Whatever the application has chosen: a statement alone needs no transaction around it.
        self._alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._together = engine.execution_options(
            isolation_level="SERIALIZABLE" if is_sqlite else "READ COMMITTED"
        )
        self.creates_table = is_sqlite if create_table is None else create_table
        self._ready = not self.creates_table
        self._touch_interval = math.inf if touch_interval is None else touch_interval
        self._touch_part = _TOUCH_PART if touch_interval is None else 2
        self._cleanup_interval = cleanup_interval
        self._cleanup_at = -math.inf
        self.deadline = deadline
        # SQLite lets one write at a time, and is not fair to those that wait for it.
        self._turn: Any = asyncio.Lock() if is_sqlite else contextlib.nullcontext()
        self._clock = clock
        self._notice: Loss | None = None
        self._under_way: set[asyncio.Task[Any]] = set()
        row = self.table.c
        here = row.id == bindparam("key")
        alive = here, row.expires_at > bindparam("now")
        self._find = select(row.payload, row.moved_to, row.expires_at).where(*alive)
        self._insert = insert(self.table)
        self._replace = update(self.table).where(here)
        self._replace_expired = update(self.table).where(here, row.expires_at <= bindparam("now"))
        read = row.version.in_([bindparam("expected"), bindparam("or_else")])
        self._swap = update(self.table).where(*alive, read)
        self._slide = update(self.table).where(*alive, row.version == bindparam("expected"))
        self._delete = delete(self.table).where(here, row.moved_to.is_(None))
        head = func.substr(row.payload, 1, SCAN_HEAD, type_=LargeBinary())
        self._scan = (
            select(
                row.id, head.label("head"), func.length(row.payload).label("size"), row.expires_at
            )
            .where(row.id > bindparam("after"), alive[1], row.moved_to.is_(None))
            .where(row.id.not_like(f"%{ids.RECORD}%"))
            .order_by(row.id)
            .limit(SCAN_STEP)
        )
        expired = row.expires_at <= bindparam("now")
        self._last = (
            select(row.expires_at).where(expired).order_by(row.expires_at).offset(_AT_ONCE - 1)
        ).limit(1)
        self._delete_expired = delete(self.table).where(expired)

    keeps_life = True

    async def get(self, session_id: str) -> dict[str, Any] | None:
        """Return the session's dictionary, or None if it is absent or unreadable."""
        found = await self._run("get", lambda connection: self._found(connection, session_id))
        if not isinstance(found, bytes):
            return None
        try:
            return self.codec.loads(found)
        except SessionDecodingError as error:
            _logger.warning("session %s is unreadable: %s", ids.mask(session_id), error)
            return None

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        """Store the dictionary, to live for ``ttl`` seconds.

        Raises:
            SessionEncodingError: A value cannot be stored; nothing was.
            SessionStoreError: The backend failed.
        """
        payload = self.codec.dumps(data)

        def work(connection: Connection) -> None:
            row = self._row(payload, ttl)
            while not connection.execute(self._replace, {**row, "key": session_id}).rowcount:
                if self._inserted(connection, session_id, row):
                    return

        await self._run("save", work)

    async def delete(self, session_id: str) -> None:
        """Remove the session, if it is there."""
        where = {"key": session_id}
        await self._run("delete", lambda connection: connection.execute(self._delete, where))

    async def exists(self, session_id: str) -> bool:
        """Tell whether the session is stored and alive; its idle time goes on."""
        found = await self._run("exists", lambda connection: self._found(connection, session_id))
        return isinstance(found, bytes)

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        """Return the encoded session and let it live ``ttl`` seconds, nearly.

        That is one ``SELECT``. Only if a part of the idle time has gone since it was written last
        does an ``UPDATE`` follow.
        """
        return await self._run(
            "load", lambda connection: self._slid(connection, session_id, ttl, exactly=False)
        )

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        """Store a new session; False if the id is taken."""

        def work(connection: Connection) -> bool:
            row = self._row(value, ttl)
            if self._inserted(connection, session_id, row):
                return True
            expired = {**row, "key": session_id, "now": self._clock()}
            return bool(connection.execute(self._replace_expired, expired).rowcount)

        return await self._run("create", work)

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Replace ``expected`` by ``value``; see `pyfly_session.ports.CompareAndSwap`."""

        def work(connection: Connection) -> bytes | Moved | None:
            if value == expected:
                return self._slid(connection, session_id, ttl, exactly=True)
            read = _digest(expected)
            where = {"key": session_id, "now": self._clock(), "expected": read, "or_else": read}
            row = self._row(value, ttl)
            if not ttl:
                del row["expires_at"]
            if connection.execute(self._swap, {**row, **where}).rowcount:
                return value
            return self._found(connection, session_id)

        return await self._run("merge", work)

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Move the session to ``new_id``, in one transaction; see `pyfly_session.ports.Rename`."""

        def work(connection: Connection) -> bytes | Moved | None:
            row, now = self._row(value, ttl), self._clock()
            note: dict[str, Any] = {"payload": None, "version": None, "moved_to": new_id}
            note["expires_at"] = now + FORWARD_SECONDS
            where = {"key": session_id, "now": now}
            where |= {"expected": _digest(expected), "or_else": row["version"]}
            with connection.begin():
                if connection.execute(self._swap, {**note, **where}).rowcount:
                    connection.execute(self._insert, {**row, "id": new_id})
                    return value
                return self._found(connection, session_id)

        return await self._run("rename", work, self._together)

    async def delete_moved(self, session_id: str) -> str | None:
        """Remove the session, and return the id it was moved to, if it was."""

        def work(connection: Connection) -> str | None:
            if connection.execute(self._delete, {"key": session_id}).rowcount:
                return None
            found = self._found(connection, session_id)
            return found.new_id if isinstance(found, Moved) else None

        return await self._run("delete", work)

    def watch_losses(self, notice: Loss) -> None:
        """Have it called for each session that expires; the latest counts."""
        self._notice = notice

    async def scan_sessions(self) -> AsyncIterator[Sequence[Scanned]]:
        """Yield the stored sessions by their ids; see `pyfly_session.ports.ScanSessions`."""
        after = ""

        def work(connection: Connection) -> Sequence[Any]:
            return connection.execute(self._scan, {"after": after, "now": self._clock()}).all()

        while rows := await self._run("scan", work):
            now, after = self._clock(), rows[-1].id
            yield [Scanned(row.id, bytes(row.head), row.size, row.expires_at - now) for row in rows]

    def _found(self, connection: Connection, session_id: str) -> bytes | Moved | None:
        where = {"key": session_id, "now": self._clock()}
        return _answer(connection.execute(self._find, where).first())

    def _slid(
        self, connection: Connection, session_id: str, ttl: int, *, exactly: bool
    ) -> bytes | Moved | None:
        """Look for a session, and note its last use if that of the last note is long ago."""
        now = self._clock()
        row: Any = connection.execute(self._find, {"key": session_id, "now": now}).first()
        answer = _answer(row)
        if not isinstance(answer, bytes) or not ttl:
            return answer
        if not exactly and (own := _OWN_IDLE_TIME.match(answer[:_FRONT])):
            ttl, exactly = int(own[1]), True
        end = now + ttl
        is_late = row.expires_at < end - min(self._touch_interval, ttl / self._touch_part)
        if is_late or (exactly and row.expires_at > end):
            where = {"key": session_id, "now": now, "expected": _digest(answer)}
            connection.execute(self._slide, {**where, "expires_at": end})
        return answer

    def _row(self, value: bytes, ttl: int) -> dict[str, Any]:
        version = _digest(value)
        ends = self._clock() + ttl
        return {"payload": value, "version": version, "expires_at": ends, "moved_to": None}

    def _inserted(self, connection: Connection, session_id: str, row: dict[str, Any]) -> bool:
        try:
            connection.execute(self._insert, {**row, "id": session_id})
        except exc.IntegrityError:
            return False
        return True

    async def _run(self, operation: str, work: Work[T], engine: AsyncEngine | None = None) -> T:
        """Do one operation; to its end, even if the caller is cancelled.

        A connection that is left in the middle of something is lost to the pool.
        """
        task = asyncio.create_task(self._bounded(operation, work, engine or self._alone))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _bounded(self, operation: str, work: Work[T], engine: AsyncEngine) -> T:
        try:
            async with asyncio.timeout(self.deadline), self._turn:
                if not self._ready:
                    await self._create_table()
                if self._clock() >= self._cleanup_at:
                    await self._clean_up()
                return await self._connected(operation, work, engine)
        except TimeoutError as error:
            raise _translated(operation, error, unreached=True) from error

    async def _connected(self, operation: str, work: Work[T], engine: AsyncEngine) -> T:
        """Work with a connection; once more if the one of the pool turns out to be dead.

        Nothing is done twice by that: each operation finds what its first attempt did.
        """
        reached = retried = False
        while True:
            try:
                connection = await engine.connect()
                reached = True
                try:
                    return await connection.run_sync(work)
                finally:
                    await connection.close()
            except Exception as error:  # noqa: BLE001 - drivers connect with errors of their own
                dead = isinstance(error, exc.DBAPIError) and error.connection_invalidated
                if not dead or retried:
                    # The driver's own: SQLAlchemy's tells ids and values, too.
                    cause = getattr(error, "orig", None) or error
                    raise _translated(operation, cause, unreached=dead or not reached) from cause
                reached, retried = False, True

    async def _create_table(self) -> None:
        create = self.table.metadata.create_all
        try:
            await self._connected("create its table", create, self._alone)
        except SessionStoreError:
            # Another process may have been faster, between the look and the statement.
            await self._connected("create its table", create, self._alone)
        self._ready = True

    async def _clean_up(self) -> None:
        """End expired rows, a bounded number; of several processes one is told of each."""
        now, notice, row = self._clock(), self._notice, self.table.c
        # At once, for other tasks come by meanwhile.
        self._cleanup_at = now + self._cleanup_interval

        def work(connection: Connection) -> list[Any]:
            last = connection.scalar(self._last, {"now": now})
            if last is not None:
                self._cleanup_at = now
            statement: Any = self._delete_expired
            if notice is not None:
                statement = statement.returning(row.id, row.payload)
            ended = connection.execute(statement, {"now": now if last is None else last})
            return [] if notice is None else [*ended]

        try:
            ended = await self._connected("end expired sessions", work, self._alone)
        except SessionStoreError as error:
            _logger.warning("%s; it is tried again later", error)
            return
        for session_id, payload in ended:
            if notice is not None and payload is not None and not ids.is_record(session_id):
                notice(session_id, bytes(payload), "expired")


def _answer(row: Any) -> bytes | Moved | None:
    if row is None:
        return None
    return bytes(row.payload) if row.moved_to is None else Moved(row.moved_to)


def _digest(value: bytes) -> str:
    return hashlib.blake2b(value, digest_size=16).hexdigest()


def _translated(operation: str, error: BaseException, *, unreached: bool) -> SessionStoreError:
    told = f"{type(error).__name__}: {error}".removesuffix(": ")
    if unreached:
        return SessionStoreUnavailableError(
            f"the session store was not reached to {operation}: {told}", operation=operation
        )
    return SessionStoreError(
        f"the session store failed to {operation}: {told}", operation=operation
    )
