"""What is checked, and said, when sessions are put under an application."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pyfly_session.config import SessionProperties
from pyfly_session.config.oauth2_properties import PREFIX
from pyfly_session.errors import ConfigurationError

_logger = logging.getLogger(__name__)
_LOGIN = f"{PREFIX}.login.enabled"


def check_login(container: Any) -> None:
    """Refuse, at start, a login that is enabled and could not work.

    Raises:
        ConfigurationError: It has no sessions, or a property of it is wrong.
    """
    if not container.oauth2.properties().login.enabled:
        return
    if container.session_filter() is None:
        raise ConfigurationError(
            f"{_LOGIN} needs sessions; set pyfly.session.enabled to true",
            key="pyfly.session.enabled",
        )
    container.web_filters()


def say_disabled(properties: SessionProperties, config: object) -> None:
    """Say in the log that there are no sessions, and why."""
    if properties.enabled is None:
        _logger.warning(
            "sessions are off: pyfly.session.enabled is not set; set it to true to have them%s",
            f", in {Path(config, 'pyfly.yaml').absolute()}"
            if isinstance(config, str | Path)
            else "",
        )
    else:
        _logger.info("sessions are off: pyfly.session.enabled is false")
