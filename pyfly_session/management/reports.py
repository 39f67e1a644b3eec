"""What a container tells of itself: figures, health, configuration. Plain data for JSON."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from pyfly_session import ids
from pyfly_session.auto_configuration.conditions import own_bean
from pyfly_session.auto_configuration.store import choose_store, store_warning
from pyfly_session.config.effective import effective_values
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.errors import SessionError

_logger = logging.getLogger(__name__)
# Told although they are 0 so far.
_EVENTS = (
    *("unreadable", "conflicts", "gone", "unavailable", "transient"),
    *("ended", "evicted", "provider"),
)
_PROBE_SECONDS = 1


def figures(container: Any) -> dict[str, Any]:
    """Return what this process counted."""
    repository = container.session_repository()
    store = repository.store
    told = {
        "store": type(store).__name__,
        "events": dict.fromkeys(_EVENTS, 0) | dict(repository.counts),
    }
    if hasattr(store, "dropped"):
        told["dropped"] = store.dropped
    return told


def cannot_list(container: Any) -> str:
    """Return what a store says that cannot list its sessions."""
    name = type(container.session_repository().store).__name__
    return (
        f"{name} cannot list its sessions, for it has no scan_sessions (see the docs,"
        " how-to/custom-store); look for one user by the full name"
    )


async def health(container: Any, deadline: float) -> dict[str, Any]:
    """Ask the store what requests ask it, and return how that went.

    An id that nobody has is loaded, as every request does first, and deleted, because a server
    that takes no writes, a replica for example, is down as well.

    Args:
        container: The container.
        deadline: Seconds to wait for the answer.
    """
    store: Any = None
    began = time.perf_counter()
    try:
        store = container.session_repository().store
        async with asyncio.timeout(deadline):
            nobodys = ids.new_id()
            await CapableStore(store).load_and_slide(nobodys, _PROBE_SECONDS)
            await store.delete(nobodys)
    except TimeoutError:
        reason = f"the store did not answer within {deadline:g} s"
    except SessionError as error:
        reason = str(error)
    except Exception as error:
        # A store of somebody else's may raise anything.
        _logger.warning("the health of the session store cannot be told", exc_info=True)
        # Its message is not ours to show.
        reason = f"the store raised {type(error).__name__}"
    else:
        took = (time.perf_counter() - began) * 1000
        told = {"status": "UP", "store": type(store).__name__, "milliseconds": round(took, 1)}
        warning = _store_warning(container)
        return told if warning is None else told | {"warning": warning}
    name = None if store is None else type(store).__name__
    return {"status": "DOWN", "store": name, "reason": reason}


def _store_warning(container: Any) -> str | None:
    if own_bean(container, "session_store"):
        return None
    properties = container.properties()
    return store_warning(*choose_store(properties, container.config_origins()), properties)


def configuration(container: Any) -> list[dict[str, Any]]:
    """Return every property with its value and where that came from; secrets are masked."""
    origins = container.config_origins()
    return [
        {
            "key": key,
            "value": value,
            # What is in no file and in no variable was set in Python.
            "origin": origins.get(key) or ("default" if is_default else "application"),
        }
        for key, value, is_default in effective_values(
            container.properties(), container.oauth2_properties()
        )
    ]
