"""Fixtures of the web tests: an application with sessions over each kind of store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import BaseRoute, WebSocketRoute

from pyfly_session.web import SessionFilter, WebFilterChainMiddleware
from tests.conftest import Clock
from tests.web.driver import Answer, ask
from tests.web.pages import Page
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

    def app(self, *routes: BaseRoute, foreign: bool = False, **handlers: Any) -> Starlette:
        """Return the application; a `Page` ``cart=...`` answers under ``/cart``.

        Args:
            routes: What else there is.
            foreign: Have the filter in Starlette's own kind of middleware.
            handlers: What the pages do.
        """
        methods = ["GET", "POST", "OPTIONS"]
        made = [Page(f"/{name}", act, methods=methods) for name, act in handlers.items()]
        chain = Middleware(WebFilterChainMiddleware, filters=[self.filter])
        if foreign:
            chain = Middleware(BaseHTTPMiddleware, dispatch=self.filter.do_filter)
        return Starlette(routes=[*routes, *made], middleware=[chain])

    def socket(self, handler: Callable[..., Any]) -> Starlette:
        """Return an application whose only route is the WebSocket ``/``."""
        return self.app(WebSocketRoute("/", handler))

    async def visit(self, act: Any, *, swallow: bool = False, **attributes: Any) -> Answer:
        """Store a session with these attributes, and have a page do something to it."""
        known = await self.seed(**attributes)
        return await ask(self.app(page=act), "/page", cookie=known, swallow=swallow)

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
EACH_NATIVE_STORE = pytest.mark.parametrize("site", ["memory", "valkey"], indirect=True)
EACH_TIMED_STORE = pytest.mark.parametrize("site", ["memory", "four-verbs"], indirect=True)


@pytest.fixture
def site(request: pytest.FixtureRequest, make_store: Any, clock: Clock) -> Site:
    """Return a site over the memory store, or over each of `EACH_STORE`."""
    return Site(Probe(make_store(getattr(request, "param", "memory"))), clock)
