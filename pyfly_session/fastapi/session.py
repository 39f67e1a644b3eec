"""The session, and who it belongs to, as parameters of handlers."""

# Annotations are not postponed here: FastAPI reads those of dependencies.
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from pyfly_session.core.session import HttpSession
from pyfly_session.security.context import SecurityContext
from pyfly_session.security.login import context_of, session_of


async def current_session(connection: HTTPConnection) -> HttpSession:
    """Return the session of a request or WebSocket; override it to test a handler alone.

    Raises:
        ConfigurationError: There are no sessions.
    """
    return session_of(connection)


Session = Annotated[HttpSession, Depends(current_session)]
"""The session of the request."""


async def current_visitor(session: Session) -> SecurityContext:
    """Return who is logged in; of an anonymous visitor the context is anonymous."""
    return context_of(session)


Visitor = Annotated[SecurityContext, Depends(current_visitor)]
"""Who is logged in, perhaps nobody."""
