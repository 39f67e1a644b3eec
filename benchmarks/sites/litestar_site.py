"""litestar: bare, and with its own server-side sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import Litestar, Request, get
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.base import Store
from litestar.stores.memory import MemoryStore
from litestar.stores.redis import RedisStore

from benchmarks import work


def _site(session_of: Callable[[Any], Any], **options: Any) -> Litestar:
    def handler(name: str, action: Callable[[Any], str]) -> Any:
        async def handle(request: Any) -> str:
            return action(session_of(request))

        return _route(f"/{name}", handle)

    async def untouched() -> str:
        return work.USER

    async def mark(request: Any, name: str) -> str:
        session = session_of(request)
        await work.gate.wait()
        return work.mark(session, name)

    mark.__annotations__["name"] = str
    handlers = [_route("/untouched", untouched), _route("/mark/{name:str}", mark)]
    actions = {**work.ACTIONS, **options.pop("actions", {})}
    handlers += [handler(name, action) for name, action in actions.items()]
    return Litestar(handlers, openapi_config=None, **options)


def _route(path: str, handle: Any) -> Any:
    # litestar looks at the types, which are texts in this file.
    handle.__annotations__["return"] = str
    if "request" in handle.__annotations__:
        handle.__annotations__["request"] = Request
    return get(path, media_type="text/plain")(handle)


def bare(url: str, lifetime: int | None = None) -> Litestar:
    """Return the site without sessions."""
    data = work.session_data("small")
    return _site(lambda request: data, actions={"logout": lambda session: work.USER})


def _with_sessions(store: Store, lifetime: int | None) -> Litestar:
    options: dict[str, Any] = {} if lifetime is None else {"max_age": lifetime}
    return _site(
        lambda request: request.session,
        middleware=[ServerSideSessionConfig(**options).middleware],
        stores={"sessions": store},
    )


def memory(url: str, lifetime: int | None = None) -> Litestar:
    """Return the site with sessions in memory."""
    return _with_sessions(MemoryStore(), lifetime)


def redis(url: str, lifetime: int | None = None) -> Litestar:
    """Return the site with sessions in Redis."""
    return _with_sessions(RedisStore.with_client(url), lifetime)
