"""Sessions to test with: bytes, entries put into a store, requests that run side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyfly_session.core.codec import DEFAULT_CODEC
from pyfly_session.core.repository import Outcome, SessionRepository
from pyfly_session.core.session import HttpSession
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.ports import Moved
from pyfly_session.testing.clock import Clock
from pyfly_session.testing.contract.reporting import BrokenPromiseError, expect

TTL = 60


def encoded(store: Any, **attributes: Any) -> bytes:
    """Return the bytes of a session as the library makes them for this store."""
    codec = getattr(store, "codec", DEFAULT_CODEC)
    payload: bytes = codec.dumps({"_created_at": 1.0, **attributes})
    return payload


async def plant(store: Any, session_id: str, value: bytes, ttl: int = TTL) -> None:
    """Put an encoded session into the store."""
    if not await CapableStore(store).create_if_absent(session_id, value, ttl):
        raise BrokenPromiseError(
            "a fresh id was taken for one in use; mend create_if_absent or exists"
        )


async def payload_of(store: Any, session_id: str) -> bytes | None:
    """Return the encoded session that the store holds; as a request does, it slides."""
    found = await CapableStore(store).load_and_slide(session_id, TTL)
    return None if isinstance(found, Moved) else found


async def attributes_of(store: Any, session_id: str) -> dict[str, Any] | None:
    """Return the attributes that the store holds, without the metadata."""
    data: Mapping[str, Any] | None = await store.get(session_id)
    if data is None:
        return None
    return {name: value for name, value in data.items() if not name.startswith("_")}


def repository_of(store: Any, clock: Clock | None = None, *, ttl: int = TTL) -> SessionRepository:
    """Return what `SessionFilter` uses, without HTTP around it.

    Its clock is not the store's: no session ends because a request takes its time.
    """
    return SessionRepository(store, ttl=ttl, clock=clock or Clock())


async def start(repository: SessionRepository, **attributes: Any) -> str:
    """Store a session, as a visitor's first request does, and return its id."""
    session = repository.create()
    for name, value in attributes.items():
        session.set_attribute(name, value)
    expect(await repository.commit(session), Outcome.STORED, "storing a new session")
    return session.id


async def request(repository: SessionRepository, session_id: str) -> HttpSession:
    """Load a session that must be there, as the next request of its visitor does."""
    session = await repository.load(session_id)
    if session is None:
        raise BrokenPromiseError(
            "a request found no session, although it was stored and nothing ended"
        )
    return session


async def overlapping(
    repository: SessionRepository, other: SessionRepository, **attributes: Any
) -> tuple[str, HttpSession, HttpSession]:
    """Store a session, and load it for a request of each; return its id and the two."""
    session_id = await start(repository, **attributes)
    return session_id, await request(repository, session_id), await request(other, session_id)


async def expect_attributes(store: Any, session_id: str, **attributes: Any) -> None:
    """Fail unless the store holds these attributes, and no others."""
    __tracebackhide__ = True
    expect(await attributes_of(store, session_id), attributes, "attributes that are stored")


async def expect_gone(store: Any, session_id: str, what: str) -> None:
    """Fail unless the session is absent for both ways to look."""
    expect(await store.get(session_id), None, f"get, {what}")
    expect(await store.exists(session_id), False, f"exists, {what}")


def one_more(visits: int | None) -> int:
    """Count a visit, as a function for `HttpSession.update_attribute`."""
    return (visits or 0) + 1
