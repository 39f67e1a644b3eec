"""One of several processes that count up the same attribute of a session in a database."""

import asyncio
import sys

from sqlalchemy.ext.asyncio import create_async_engine

from pyfly_session.adapters.sql import SqlSessionStore
from pyfly_session.core.repository import SessionRepository
from tests.support.sessions import loaded


async def count(url: str, session_id: str, times: str) -> None:
    """Count up so often."""
    engine = create_async_engine(url)
    # A clock that stands at the time of the tests.
    store = SqlSessionStore(engine, deadline=30, clock=lambda: 1_800_000_000.0)
    repository = SessionRepository(store)
    for _ in range(int(times)):
        session = await loaded(repository, session_id)
        session.update_attribute("visits", lambda visits: (visits or 0) + 1)
        await repository.commit(session)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(count(*sys.argv[1:]))
