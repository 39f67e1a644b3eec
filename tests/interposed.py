"""What the published contract puts before a store serves our own tests as well."""

from typing import Any

from pyfly_session.testing.contract.intercepting_store import Interposed as InterposedStore

__all__ = ["InterposedStore", "interpose"]


def interpose(store: Any) -> InterposedStore:
    """Return the store with something between it and its user; it keeps its capabilities."""
    return InterposedStore(store)
