"""Fixtures of the web tests: an application with sessions over each kind of store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute

from pyfly_session.web import SessionFilter, WebFilterChainMiddleware
from tests.conftest import Clock
from tests.web.stores import Probe

# One of each character: in process, over the network, and without any capability.
WEB_STORES = ["memory", "valkey", "four-verbs"]


class Site:
    """A Starlette application with sessions.

    Attributes:
        probe: The store, watched.
        clock: Time as the filter sees it.
    """

    def __init__(self, probe: Probe, clock: Clock) -> None:
        self.probe = probe
        self.clock = clock
        self.filter: SessionFilter
        self.configure()

    def configure(self, **options: Any) -> Site:
        """Make the filter anew, with these options."""
        self.filter = SessionFilter(self.probe.store, clock=self.clock, **options)
        self.ttl: int = options.get("ttl", 1800)
        return self

    def another_node(self, **options: Any) -> Site:
        """Return the same site in another process: only the store is shared."""
        return Site(Probe(self.probe.inner), self.clock).configure(**options)

    def app(self, *routes: BaseRoute, **handlers: Callable[..., Any]) -> Starlette:
        """Return the application; a handler ``cart=...`` answers under ``/cart``."""
        made = [
            Route(f"/{name}", handler, methods=["GET", "POST", "OPTIONS"])
            for name, handler in handlers.items()
        ]
        return Starlette(
            routes=[*routes, *made],
            middleware=[Middleware(WebFilterChainMiddleware, filters=[self.filter])],
        )

    def socket(self, handler: Callable[..., Any]) -> Starlette:
        """Return an application whose only route is the WebSocket ``/``."""
        return self.app(WebSocketRoute("/", handler))

    async def stored(self, session_id: str | None) -> dict[str, Any] | None:
        """Return what the store holds, metadata left out; None if there is no such session."""
        data: dict[str, Any] | None = await self.probe.inner.get(session_id)
        if data is None:
            return None
        return {name: value for name, value in data.items() if not name.startswith("_")}

    async def seed(self, session_id: str = "a" * 32, **attributes: Any) -> str:
        """Store a session and return its id."""
        data = {"_created_at": self.clock(), "_last_accessed": self.clock(), **attributes}
        await self.probe.inner.save(session_id, data, self.ttl)
        return session_id


# For tests whose promise another store could break; all others run over the memory store.
EACH_STORE = pytest.mark.parametrize("site", WEB_STORES, indirect=True)
EACH_NATIVE_STORE = pytest.mark.parametrize("native_site", ["memory", "valkey"], indirect=True)
EACH_TIMED_STORE = pytest.mark.parametrize("timed_site", ["memory", "four-verbs"], indirect=True)


@pytest.fixture
def site(request: pytest.FixtureRequest, make_store: Any, clock: Clock) -> Site:
    """Return a site over the memory store, or over each of `EACH_STORE`."""
    return Site(Probe(make_store(getattr(request, "param", "memory"))), clock)


@pytest.fixture
def native_site(request: pytest.FixtureRequest, make_store: Any, clock: Clock) -> Site:
    """Return a site over a store that keeps its promises under every race."""
    return Site(Probe(make_store(getattr(request, "param", "memory"))), clock)


@pytest.fixture
def timed_site(request: pytest.FixtureRequest, make_store: Any, clock: Clock) -> Site:
    """Return a site over a store whose entries expire by the clock that tests move."""
    return Site(Probe(make_store(getattr(request, "param", "memory"))), clock)


@pytest.fixture
def memory_site(make_store: Any, clock: Clock) -> Site:
    """Return a site over the memory store, for what no store has an influence on."""
    return Site(Probe(make_store("memory")), clock)
