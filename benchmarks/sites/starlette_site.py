"""Starlette: bare, with its own middleware, with starsessions, and with ours."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks import work
from benchmarks.contestants import POSTGRESQL_URL, SQLITE_DIRECTORY

# As ours sends them with a session: what they cost belongs to no library.
_SENT = [
    (
        b"set-cookie",
        b"PYFLY_SESSION=0123456789abcdef0123456789abcdef;"
        b" HttpOnly; Max-Age=1800; Path=/; SameSite=lax",
    ),
    (b"cache-control", b"no-store"),
    (b"vary", b"Cookie"),
]

Action = Callable[[Any], str]
Load = Callable[[Request], Awaitable[Any]]


def site(
    load: Load,
    middleware: list[Middleware],
    actions: dict[str, Action] | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> Starlette:
    """Return the site.

    Args:
        load: Gives a handler the session.
        middleware: What keeps the sessions.
        actions: Those that a library has in another way than a dictionary.
        headers: Sent with each answer, but for those of handlers that want no session.
    """

    def handler(action: Action) -> Callable[[Request], Awaitable[PlainTextResponse]]:
        async def handle(request: Request) -> PlainTextResponse:
            response = PlainTextResponse(action(await load(request)))
            response.raw_headers += headers
            return response

        return handle

    async def untouched(request: Request) -> PlainTextResponse:
        return PlainTextResponse(work.USER)

    async def mark(request: Request) -> PlainTextResponse:
        session = await load(request)
        name = request.path_params["name"]
        await work.gate.wait()
        return PlainTextResponse(work.mark(session, name))

    everything = {**work.ACTIONS, **(actions or {})}
    routes = [Route("/untouched", untouched)]
    routes += [Route(f"/{name}", handler(action)) for name, action in everything.items()]
    return Starlette(routes=[*routes, Route("/mark/{name}", mark)], middleware=middleware)


def bare(
    url: str, lifetime: int | None = None, headers: Sequence[tuple[bytes, bytes]] = ()
) -> Starlette:
    """Return the site without sessions; its data is one dictionary, for everybody."""
    data = work.session_data("small")

    async def load(request: Request) -> Any:
        return data

    # An ended session would end for everybody.
    return site(load, [], {"logout": lambda session: work.USER}, headers=headers)


def floor(url: str, lifetime: int | None = None) -> Starlette:
    """Return the same, with answers as long as those with a session."""
    return bare(url, lifetime, _SENT)


async def _loaded(request: Request) -> Any:
    return request.session


def cookie(url: str, lifetime: int | None = None) -> Starlette:
    """Return the site with Starlette's own sessions, in a signed cookie."""
    return site(_loaded, [Middleware(SessionMiddleware, secret_key="s" * 32)])


def _starsessions(store: Any, lifetime: int | None) -> Starlette:
    from starsessions import SessionMiddleware as Sessions
    from starsessions import load_session

    async def load(request: Request) -> Any:
        await load_session(request)
        return request.session

    options: dict[str, Any] = {} if lifetime is None else {"lifetime": lifetime}
    return site(load, [Middleware(Sessions, store=store, **options)])


def others_memory(url: str, lifetime: int | None = None) -> Starlette:
    """Return the site with starsessions in memory."""
    from starsessions import InMemoryStore

    return _starsessions(InMemoryStore(), lifetime)


def others_redis(url: str, lifetime: int | None = None) -> Starlette:
    """Return the site with starsessions in Redis."""
    from redis.asyncio import Redis
    from starsessions.stores.redis import RedisStore

    return _starsessions(RedisStore(connection=Redis.from_url(url)), lifetime)


def _our_read(session: Any) -> str:
    return str(session.get_attribute("user") or work.NOBODY)


def _our_write(session: Any) -> str:
    count = (session.get_attribute("count") or 0) + 1
    session.set_attribute("count", count)
    return f"{count:>{work.WIDTH}}"


def _our_update(session: Any) -> str:
    session.update_attribute("updates", lambda count: (count or 0) + 1)
    return work.USER


def _our_updates(session: Any) -> str:
    return f"{session.get_attribute('updates') or 0:>{work.WIDTH}}"


def _our_logout(session: Any) -> str:
    session.invalidate()
    return work.USER


# All else as with a dictionary.
_OURS: dict[str, Action] = {
    "read": _our_read,
    "write": _our_write,
    "update": _our_update,
    "updates": _our_updates,
    "logout": _our_logout,
}


def _ours(lifetime: int | None, **properties: Any) -> Starlette:
    from pyfly_session.auto_configuration import enable_sessions

    async def load(request: Request) -> Any:
        return request.state.session

    given = {"enabled": True, "creation": "if-required", **properties}
    if lifetime is not None:
        given["ttl"] = lifetime
    return enable_sessions(site(load, [], _OURS), config={"pyfly": {"session": given}})


def ours_memory(url: str, lifetime: int | None = None) -> Starlette:
    """Return the site with our sessions in memory."""
    return _ours(lifetime, store="memory")


def ours_unbounded(url: str, lifetime: int | None = None) -> Starlette:
    """Return the same, for more sessions than the default bound allows."""
    return _ours(lifetime, store="memory", memory={"max-sessions": ""})


def ours_sqlite(url: str, lifetime: int | None = None) -> Starlette:
    """Return the site with our sessions in a SQLite file of this process."""
    database = f"sqlite+aiosqlite:///{os.environ[SQLITE_DIRECTORY]}/{os.getpid()}.db"
    return _ours(lifetime, store="sql", sql={"url": database})


def ours_postgres(url: str, lifetime: int | None = None) -> Starlette:
    """Return the site with our sessions in the PostgreSQL that the environment names."""
    database = os.environ[POSTGRESQL_URL]
    return _ours(lifetime, store="sql", sql={"url": database, "create-table": True})


def ours_redis(url: str, lifetime: int | None = None) -> Starlette:
    """Return the site with our sessions in Redis."""
    return _ours(lifetime, store="redis", redis={"url": url})


def ours_counted(url: str, lifetime: int | None = None) -> Starlette:
    """Return the same, with a store that counts how often it swaps."""
    from pyfly_session.adapters.redis import RedisSessionStore

    counting: Any = RedisSessionStore
    swap = counting.compare_and_swap

    async def counted(store: Any, *args: Any) -> Any:
        work.swaps += 1
        return await swap(store, *args)

    # Whoever is given a store may keep its methods from the beginning.
    counting.compare_and_swap = counted
    return ours_redis(url, lifetime)


def ours_single(url: str, lifetime: int | None = None) -> Starlette:
    """Return the same, each command sent on its own."""
    return _ours(lifetime, store="redis", redis={"url": url, "pipelining": False})


def ours_tuned(url: str, lifetime: int | None = None) -> Starlette:
    """Return the same, with the garbage collector set as the performance page advises."""
    import gc

    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    return ours_redis(url, lifetime)


def ours_always(url: str, lifetime: int | None = None) -> Starlette:
    """Return the same, with a session for every visitor, which is the default."""
    return _ours(lifetime, store="redis", redis={"url": url}, creation="always")
