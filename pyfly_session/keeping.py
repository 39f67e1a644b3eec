"""Whether a session lives on while somebody works with it for longer than a request."""

from __future__ import annotations

from pyfly_session.metadata import PRINCIPAL
from pyfly_session.ports import Moved
from pyfly_session.repository import SessionRepository
from pyfly_session.session import HttpSession


async def keep(repository: SessionRepository, session: HttpSession, *, slide: bool) -> bool:
    """Tell whether a session is still there under its id.

    Under another id it is not: whoever does not have the new one has no right to it.

    Args:
        repository: The session's.
        session: As it was loaded, maybe long ago; a new idle time is taken over.
        slide: Count this as an access.

    Raises:
        SessionStoreError: The backend failed.
    """
    store = repository._capable
    if repository._clock() >= repository._latest_end(session):
        return False
    if not slide:
        return await store.exists(session._id)
    ttl = repository.seconds_to_live(session)
    payload = await store.load_and_slide(session._id, ttl)
    if payload is None or isinstance(payload, Moved):
        return False
    repository._merger.adopt_idle_time(session, payload)
    if repository.seconds_to_live(session) != ttl:
        # Another request gave it an idle time of its own.
        await store.load_and_slide(session._id, repository.seconds_to_live(session))
    if PRINCIPAL in session._metadata:
        repository.principals.note_use(session, repository._idle(session))
    return True
