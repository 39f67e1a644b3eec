"""Fixtures: a site over the memory store and over a real server, in one process and in two."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.asyncio as aioredis

from pyfly_session import SessionStore
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.adapters.redis import RedisSessionStore
from tests.conftest import Clock
from tests.identity.site import Site

MakeSite = Callable[..., Awaitable[Site]]
# Where the store knows hashes of the ids only, so do the notes about changes of them.
HASHED = pytest.mark.parametrize("hash_ids", [False, True], ids=["plain ids", "hashed ids"])


class Backend:
    """Makes sites over one kind of store.

    Args:
        kind: ``memory`` or ``valkey``.
        clock: What all of them go by.
        url: Address of the real server.
        two: Sites have two processes.
    """

    def __init__(self, kind: str, clock: Clock, url: str, *, two: bool) -> None:
        self.kind = kind
        self._clock = clock
        self._url = url
        self._two = two
        self._clients: list[aioredis.Redis] = []
        self._sites: list[Site] = []

    async def site(self, *, watched: bool = False, **settings: Any) -> Site:
        """Return a new site whose store is empty.

        Args:
            watched: Its calls of the store can be seen and stopped, at `Process.watch`.
            **settings: Properties below ``pyfly.session``, ``_`` for ``-``.
        """
        memory = InMemorySessionStore(clock=self._clock)

        def connect() -> SessionStore:
            if self.kind == "memory":
                return memory
            client: aioredis.Redis = aioredis.from_url(self._url)
            self._clients.append(client)
            return RedisSessionStore(client)

        if self.kind == "valkey":
            client: aioredis.Redis = aioredis.from_url(self._url)
            await client.flushdb()
            await client.aclose()
        named = {name.replace("_", "-"): value for name, value in settings.items()}
        site = Site(connect, self._clock, named, two=self._two, watched=watched)
        self._sites.append(site)
        return site

    async def close(self) -> None:
        for site in self._sites:
            for process in site.processes:
                await process.close()
        for client in self._clients:
            await client.aclose()


@asynccontextmanager
async def sites(
    kind: str, clock: Clock, url: str = "", *, two: bool = False
) -> AsyncIterator[MakeSite]:
    backend = Backend(kind, clock, url, two=two)
    yield backend.site
    await backend.close()


@pytest.fixture(params=["memory", "valkey, two processes"])
async def make_site(
    request: pytest.FixtureRequest, clock: Clock, valkey_url: str
) -> AsyncIterator[MakeSite]:
    """Return what makes sites, for rules that hold within a process and between two."""
    kind, _, two = request.param.partition(", ")
    async with sites(kind, clock, valkey_url, two=bool(two)) as make:
        yield make


@pytest.fixture(params=["memory", "valkey"])
async def make_native_site(
    request: pytest.FixtureRequest, clock: Clock, valkey_url: str
) -> AsyncIterator[MakeSite]:
    """Return what makes sites of one process, for rules about faults of the store."""
    async with sites(request.param, clock, valkey_url) as make:
        yield make


@pytest.fixture
async def make_memory_site(clock: Clock) -> AsyncIterator[MakeSite]:
    """Return what makes sites over the memory store, for what no store has an influence on."""
    async with sites("memory", clock) as make:
        yield make


@pytest.fixture
async def site(make_site: MakeSite) -> Site:
    """Return a site with the default properties."""
    return await make_site()
