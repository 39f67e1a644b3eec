"""SQL engines made from properties: bounded. Imported when one is made."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from pyfly_session.auto_configuration.per_loop import Close
from pyfly_session.config import SqlProperties
from pyfly_session.config.masking import mask_url
from pyfly_session.errors import ConfigurationError

_MEMORY = re.compile(r"sqlite\+\w+://(/?(:memory:)?)?(\?.*)?")
_CONNECTIONS = 20
_POOL_TIMEOUT_SECONDS = 5


def create_sql_engine(properties: SqlProperties) -> tuple[Any, list[Close]]:
    """Return an engine that is not connected yet, and what closes it.

    Raises:
        ConfigurationError: The URL has no asyncio driver that is installed, or cannot be used.
    """
    if _MEMORY.fullmatch(properties.url):
        raise _refused(properties, "it names no file; or set pyfly.session.store to memory")
    try:
        engine = create_async_engine(
            properties.url,
            # What is logged of a statement tells no ids.
            hide_parameters=True,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_POOL_TIMEOUT_SECONDS,
        )
    except ModuleNotFoundError as error:
        problem = f"the package {error.name} is not installed; pip install {error.name}"
        raise _refused(properties, problem) from error
    except (SQLAlchemyError, ValueError, TypeError) as error:
        # What the driver says of a URL may contain it.
        raise _refused(properties, str(error).partition(" from ")[0]) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _read_while_another_writes)
    return engine, [engine.dispose]


def _refused(properties: SqlProperties, problem: str) -> ConfigurationError:
    key, url = "pyfly.session.sql.url", mask_url(properties.url)
    return ConfigurationError(f"{key} cannot be used, got {url}: {problem}", key=key, value=url)


def _read_while_another_writes(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()
