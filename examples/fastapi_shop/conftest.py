"""Says which application is tested; the fixtures are the library's."""

from typing import Any

import pytest
from app import create_app

pytest_plugins = ["pyfly_session.testing.plugin"]


@pytest.fixture
def session_app() -> Any:
    return create_app({})
