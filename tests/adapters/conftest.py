"""Fixtures of the tests of stores: the time of the event loop, moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest


@pytest.fixture
async def jump(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what lets time pass in the event loop at once.

    So a test can have long timeouts, which no slow machine meets, and does not wait for them.
    """
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, 0.0

    def jump(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + ahead)
    return jump
