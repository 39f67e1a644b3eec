"""What ``doctor`` finds out from the database of the SQL store, with the container's own engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError

from pyfly_session import ids
from pyfly_session.cli.doctor.findings import Finding
from pyfly_session.cli.doctor.redis_server import try_store


async def check_database(store: Any, where: str, say: Callable[[str], None]) -> list[Finding]:
    """Look at the table, and have the store work.

    Args:
        store: The `SqlSessionStore` of the container.
        where: How to call the database, without credentials.
        say: Is told what is being done.
    """
    say(f"Connecting to {where} …")
    key = "pyfly.session.sql.url"
    try:
        async with store.engine.connect() as connection:
            found = await connection.run_sync(_table, store)
    except Exception as error:  # noqa: BLE001 - drivers connect with errors of their own
        reason = str(getattr(error, "orig", None) or error) or type(error).__name__
        remedy = "start it, or correct the address, the user or the password"
        message = f"{where} cannot be used: {reason}"
        return [Finding("error", "connection", message, remedy, key)]
    findings = [Finding("ok", "connection", f"{where} answers"), found]
    if found.level in ("ok", "warning"):
        say(f"Storing and removing a session in {where} …")
        findings += [each async for each in try_store(store, f"doctor-{ids.new_id()}")]
    return findings


def _table(connection: Connection, store: Any) -> Finding:
    table, name = store.table, str(store.table)
    inspector = inspect(connection)
    remedy = "see: pyfly-session sql schema"
    try:
        columns = {each["name"] for each in inspector.get_columns(table.name, table.schema)}
        indexed = {
            each["column_names"][0] for each in inspector.get_indexes(table.name, table.schema)
        }
    except SQLAlchemyError:
        if store.creates_table:
            message = f"the table {name} is missing; the application creates it"
            return Finding("hint", "table", message)
        return Finding("error", "table", f"the table {name} is missing", remedy)
    missing = [each.name for each in table.columns if each.name not in columns]
    if missing:
        return Finding("error", "table", f"{name} has no {', '.join(missing)}", remedy)
    if "expires_at" not in indexed:
        message = f"{name} has no index of expires_at: to end expired sessions takes long"
        return Finding("warning", "table", message, remedy)
    return Finding("ok", "table", f"the table {name} is as the store needs it")
