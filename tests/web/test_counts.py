"""What operators want to count is counted."""

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from pyfly_session import SessionFilter, SessionStoreError, WebFilterChainMiddleware
from pyfly_session.adapters.memory import InMemorySessionStore
from tests.support.sessions import loaded
from tests.web.pages import Page

KNOWN = "a" * 32


class Failing(InMemorySessionStore):
    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | None:
        raise SessionStoreError("the server is gone")


def client_of(session_filter: SessionFilter) -> TestClient:
    async def page(session: Any) -> PlainTextResponse:
        return PlainTextResponse(str(session.get_attribute("user")))

    app = Starlette(routes=[Page("/", page)])
    app.add_middleware(WebFilterChainMiddleware, filters=[session_filter])
    return TestClient(app, cookies={"PYFLY_SESSION": KNOWN})


def test_a_request_whose_handler_meets_a_dead_store_is_counted() -> None:
    async def handler(request: Request) -> PlainTextResponse:
        raise SessionStoreError("the server is gone")

    session_filter = SessionFilter(InMemorySessionStore())
    app = Starlette(routes=[Page("/", handler)])
    app.add_middleware(WebFilterChainMiddleware, filters=[session_filter])
    assert TestClient(app).get("/").status_code == 503
    assert session_filter.repository.counts == {"unavailable": 1}


def test_a_request_that_goes_on_without_its_session_is_counted() -> None:
    session_filter = SessionFilter(Failing(), on_store_error="anonymous")
    assert client_of(session_filter).get("/").status_code == 200
    assert session_filter.repository.counts == {"transient": 1}


async def test_an_unreadable_session_is_counted() -> None:
    store = InMemorySessionStore()
    await store.create_if_absent(KNOWN, b"no session", 60)
    session_filter = SessionFilter(store)
    assert await session_filter.repository.load(KNOWN) is None
    assert session_filter.repository.counts == {"unreadable": 1}


async def test_conflicts_and_commits_onto_an_ended_session_are_counted() -> None:
    repository = SessionFilter(InMemorySessionStore()).repository
    session = repository.create()
    await repository.commit(session)
    one, other = await loaded(repository, session.id), await loaded(repository, session.id)
    one.set_attribute("a", 1)
    other.set_attribute("b", 1)
    await repository.commit(one)
    await repository.commit(other)
    assert repository.counts == {"conflicts": 1}
    one.invalidate()
    await repository.commit(one)
    other.set_attribute("b", 2)
    await repository.commit(other)
    assert repository.counts == {"conflicts": 1, "gone": 1}
