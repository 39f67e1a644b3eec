"""Sessions of a repository, as requests have them."""

from typing import Any

from pyfly_session import HttpSession, SessionRepository


async def begun(repository: SessionRepository, **attributes: Any) -> str:
    """Store a session, as a visitor's first request does, and return its id."""
    session = repository.create()
    for name, value in attributes.items():
        session.set_attribute(name, value)
    await repository.commit(session)
    return session.id


async def loaded(
    repository: SessionRepository, session_id: str | None, **changes: Any
) -> HttpSession:
    """Load a session that must be there, and change it."""
    session = await repository.load(session_id or "")
    assert session is not None, "there is no such session"
    for name, value in changes.items():
        session.set_attribute(name, value)
    return session
