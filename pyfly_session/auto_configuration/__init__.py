"""The wiring: beans that properties choose, each of which an application may override."""

from pyfly_session.auto_configuration.application import close_sessions, enable_sessions
from pyfly_session.auto_configuration.conditions import container_report
from pyfly_session.auto_configuration.container import SessionContainer, create_container
from pyfly_session.auto_configuration.store import SessionStoreAutoConfiguration
from pyfly_session.auto_configuration.web import SessionFilterAutoConfiguration

__all__ = [
    "SessionContainer",
    "SessionStoreAutoConfiguration",
    "SessionFilterAutoConfiguration",
    "create_container",
    "enable_sessions",
    "close_sessions",
    "container_report",
]
