"""Tests for stores: subclass `SessionStoreContract`, make your store, run pytest.

Needs pytest, and anyio's plugin for it, which comes with Starlette. Nothing has to be
configured.
"""

from pyfly_session.testing.clock import Clock
from pyfly_session.testing.contract.suite import SessionStoreContract

__all__ = ["SessionStoreContract", "Clock"]
