"""The sites of the web tests, for applications of other frameworks, and a database for these."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import StaticPool

from tests.web.conftest import site

__all__ = ["database", "site"]


@pytest.fixture
def database() -> Iterator[Engine]:
    """Return an empty database in memory, closed after the test."""
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    yield engine
    engine.dispose()
