"""What a machine may lack: a test is skipped for it there, and fails where CI is set."""

import os
from typing import NoReturn

import pytest


def lacks(what: str) -> NoReturn:
    """Skip the test, or fail it where the variable ``CI`` says that everything has to run."""
    message = f"needs {what}"
    if os.environ.get("CI"):
        pytest.fail(f"{message}; where CI is set nothing is skipped for it", pytrace=False)
    pytest.skip(message)
