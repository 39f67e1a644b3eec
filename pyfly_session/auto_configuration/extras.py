"""Packages that only some configurations need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyfly_session.errors import ConfigurationError


@contextmanager
def needed_by(key: str, packages: str, extra: str) -> Iterator[None]:
    """Import within what a property needs.

    Args:
        key: The property.
        packages: What has to be installed, in words.
        extra: The extra that installs it.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        yield
    except ImportError as error:
        problem = f"{key} needs the {packages}; pip install 'pyfly-session[{extra}]'"
        raise ConfigurationError(problem, key=key) from error
