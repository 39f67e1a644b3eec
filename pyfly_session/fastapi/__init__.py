"""Sessions as dependencies of FastAPI. Nothing else of the library imports FastAPI."""

from pyfly_session.fastapi.requirements import LoginRequired, SessionRequired, User
from pyfly_session.fastapi.session import Session, Visitor, current_session, current_visitor
from pyfly_session.fastapi.stored import Stored
from pyfly_session.security.context import LoggedIn
from pyfly_session.security.navigation import local_target
from pyfly_session.web.openapi import describe_session

__all__ = [
    "LoggedIn",
    "Session",
    "Visitor",
    "User",
    "SessionRequired",
    "LoginRequired",
    "Stored",
    "current_session",
    "current_visitor",
    "local_target",
    "describe_session",
]
