"""A backend that fails is told from a session that is absent."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from pyfly_session.errors import SessionStoreError, SessionStoreUnavailableError
from pyfly_session.ids import new_id
from pyfly_session.ports import ScanSessions
from pyfly_session.testing.contract.intercepting_store import CAPABILITY_METHODS, VERBS
from pyfly_session.testing.contract.reporting import BrokenPromiseError, promised_by
from pyfly_session.testing.contract.sessions import encoded, plant
from pyfly_session.testing.contract.store_fixtures import StoreHooks

_REMAINING_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "save": ({"a": 1}, 60),
    "load_and_slide": (60,),
    "create_if_absent": (b"{}", 60),
    "compare_and_swap": (b"{}", b'{"a":1}', 60),
    "rename": (new_id(), b"{}", b'{"a":1}', 60),
}


class Failures(StoreHooks):
    """Runs if the author says how to break the backend; see `break_backend`."""

    @promised_by(*VERBS, *CAPABILITY_METHODS)
    async def test_a_failing_backend_raises_the_error_of_the_contract(self, store: Any) -> None:
        """A failing backend raises `SessionStoreError` from the driver's error.

        None would mean that the session is absent, and log the visitor out. Any other error
        is taken for a bug.
        """
        broken = self.break_backend(store)
        if broken is None:
            pytest.skip(f"{type(self).__name__} has no break_backend(store): errors are not tested")
        session_id = new_id()
        await plant(store, session_id, encoded(store))
        faults: dict[str, str] = {}
        async with broken:
            for name in (*VERBS, *CAPABILITY_METHODS):
                if hasattr(store, name):
                    arguments = _REMAINING_ARGUMENTS.get(name, ())
                    fault = await _fault_of(getattr(store, name), session_id, *arguments)
                    faults.update({name: fault} if fault else {})
            if isinstance(store, ScanSessions):
                fault = await _fault_of(partial(anext, store.scan_sessions()))
                faults.update({"scan_sessions": fault} if fault else {})
        if faults:
            found = "; ".join(f"{name} {fault}" for name, fault in faults.items())
            raise BrokenPromiseError(found, *faults)


async def _fault_of(method: Any, *arguments: Any) -> str | None:
    """Say what is wrong with the answer of a broken store, or None if nothing is."""
    try:
        answer = await method(*arguments)
    except SessionStoreUnavailableError:
        # It may have refused by itself, without asking a driver that failed just before.
        return None
    except SessionStoreError as error:
        return None if error.__cause__ else "raised SessionStoreError without 'from error'"
    except Exception as error:  # noqa: BLE001 - whatever else it is, it is the finding
        return f"raised {type(error).__name__}: {error}"
    return f"answered {answer!r}"
