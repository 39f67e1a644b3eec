"""Hashed ids at rest: what is in the store opens nothing, and everything else works as before."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pyfly_session import SessionRepository, SessionStore
from pyfly_session.auto_configuration import create_container, enable_sessions
from pyfly_session.core.hashed_ids import HashedId, HashedIdStore
from pyfly_session.core.repository import Outcome
from pyfly_session.ports import Moved
from pyfly_session.web import SessionFilter, WebFilterChainMiddleware
from tests.conftest import Clock
from tests.interposed import interpose
from tests.support.sessions import begun, loaded
from tests.web.driver import Browser, ask

Contents = Callable[[], Awaitable[bytes]]


def hash_of(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()


def repository_of(store: Any, clock: Clock) -> SessionRepository:
    return SessionRepository(store, hash_ids=True, clock=clock)


@pytest.fixture(params=["memory", "valkey"])
def native(request: pytest.FixtureRequest, make_store: Any) -> Any:
    return make_store(request.param)


@pytest.fixture
def contents(native: Any, request: pytest.FixtureRequest) -> Contents:
    """Return a function that returns all that the store has, keys and values, as bytes."""

    async def dump() -> bytes:
        if hasattr(native, "_shelves"):
            return repr((native._shelves, native._moved)).encode()
        client: Any = request.getfixturevalue("valkey")
        keys = await client.keys("*")
        return b"\n".join([*keys, *[await client.get(key) for key in keys]])

    return dump


async def test_the_id_is_nowhere_in_the_store(
    native: Any, contents: Contents, clock: Clock
) -> None:
    """Neither in a key nor in a value, nor in the note that a change of id leaves."""
    repository = repository_of(native, clock)
    former = await begun(repository, user="alice")
    slow = await loaded(repository, former)
    session = await loaded(repository, former)
    session.rotate_id()
    await repository.commit(session)
    slow.set_attribute("cart", ["rope"])
    assert await repository.commit(slow) is Outcome.MOVED

    everything = await contents()

    for session_id in (former, session.id):
        assert session_id.encode() not in everything
        assert hash_of(session_id).encode() in everything
    assert b"alice" in everything


async def test_what_is_in_the_store_opens_no_session(
    native: Any, contents: Contents, clock: Clock
) -> None:
    """Whoever reads the store sends the hash as a cookie, and is a stranger."""
    repository = repository_of(native, clock)
    session_id = await begun(repository, user="alice")
    assert hash_of(session_id).encode() in await contents()

    async def user(request: Request) -> Response:
        return JSONResponse(request.state.session.get_attribute("user"))

    app = WebFilterChainMiddleware(
        _endpoint(user), [SessionFilter(native, repository=repository, clock=clock)]
    )
    thief = await ask(app, cookie=hash_of(session_id))
    assert thief.text == "null"
    assert thief.session_id not in (session_id, hash_of(session_id))
    owner = await ask(app, cookie=session_id)
    assert (owner.text, owner.session_id) == ('"alice"', session_id)


async def test_what_plain_node_stored_is_unknown_to_hashing_one(native: Any, clock: Clock) -> None:
    session_id = await begun(SessionRepository(native, clock=clock), user="alice")
    assert await repository_of(native, clock).load(session_id) is None


async def test_the_former_id_opens_nothing_after_a_rotation(native: Any, clock: Clock) -> None:
    repository = repository_of(native, clock)
    former = await begun(repository, user="alice")
    session = await loaded(repository, former)
    session.rotate_id()
    assert await repository.commit(session) is Outcome.STORED

    assert await repository.load(former) is None
    assert (await loaded(repository, session.id)).get_attribute("user") == "alice"


async def test_late_write_follows_rotation_and_stays_without_id(native: Any, clock: Clock) -> None:
    repository = repository_of(native, clock)
    former = await begun(repository)
    slow = await loaded(repository, former)
    newest = former
    for _ in range(3):
        session = await loaded(repository, newest)
        session.rotate_id()
        await repository.commit(session)
        newest = session.id
    slow.set_attribute("late", 1)

    assert await repository.commit(slow) is Outcome.MOVED
    slow.set_attribute("later", 2)
    assert await repository.commit(slow) is Outcome.MOVED

    assert slow.id == former
    session = await loaded(repository, newest)
    assert (session.get_attribute("late"), session.get_attribute("later")) == (1, 2)


@pytest.mark.parametrize("ending", ["logout", "rotation", "logout after a rotation"])
async def test_fast_reader_learns_of_end_in_process(native: Any, clock: Clock, ending: str) -> None:
    repository = repository_of(native, clock)
    session_id = await begun(repository)
    enders = [await loaded(repository, session_id) for _ in range(2)]
    if "rotation" in ending:
        enders[0].rotate_id()
        await repository.commit(enders[0])
    reader = await loaded(repository, enders[0].id)
    if "logout" in ending:
        enders[1].invalidate()
        await repository.commit(enders[1])
        assert await repository.commit(reader) is Outcome.GONE
    else:
        late = enders[1]
        assert await repository.commit(late) is Outcome.GONE
        assert await repository.commit(reader) is Outcome.UNTOUCHED


@pytest.mark.parametrize("when", ["before", "after"])
async def test_repeated_rotation_loses_nothing(native: Any, clock: Clock, when: str) -> None:
    """The note about the way holds a hash, which has to be taken for the session's own new id."""
    between = interpose(native)
    repository = repository_of(between, clock)
    former = await begun(repository, user="alice")
    session = await loaded(repository, former)
    session.rotate_id()
    between.cancel_at(0, when)
    with pytest.raises(asyncio.CancelledError):
        await repository.commit(session)

    assert await repository.commit(session) is Outcome.STORED

    assert await repository.load(former) is None
    again = await loaded(repository, session.id)
    assert again.get_attribute("user") == "alice"
    again.set_attribute("more", 1)
    assert await repository.commit(again) is Outcome.STORED


async def test_store_with_four_verbs_can_have_hashed_ids_too(make_store: Any, clock: Clock) -> None:
    store = make_store("four-verbs")
    repository = repository_of(store, clock)
    former = await begun(repository, user="alice")
    assert store.entries.keys() == {hash_of(former)}
    session = await loaded(repository, former)
    session.rotate_id()
    assert await repository.commit(session) is Outcome.STORED
    assert store.entries.keys() == {hash_of(session.id)}
    session.invalidate()
    assert await repository.commit(session) is Outcome.ENDED
    assert store.entries == {}


async def test_what_the_store_tells_of_other_ids_is_not_hashed_again(native: SessionStore) -> None:
    capable = HashedIdStore(native)
    value = b"{}"
    assert await capable.create_if_absent("a", value, 60)
    assert await capable.rename("a", "b", value, value, 60) == value

    moved = await capable.compare_and_swap("a", value, value, 60)

    assert moved == Moved(hash_of("b"))
    assert isinstance(moved, Moved)
    assert isinstance(moved.new_id, HashedId)
    assert capable.key_of(moved.new_id) == capable.key_of("b")
    assert await capable.delete_moved("a") == hash_of("b")
    assert await capable.delete_moved(moved.new_id) is None
    assert not await capable.exists("b")


async def test_the_property_reaches_the_store(native: Any, contents: Contents) -> None:
    container = create_container({"pyfly": {"session": {"enabled": True, "hash-ids": True}}})
    container.session_store.override(native)

    async def act(request: Request) -> Response:
        session = request.state.session
        if request.url.path == "/login":
            session.set_attribute("user", "alice")
            session.rotate_id()
        if request.url.path == "/logout":
            session.invalidate()
        return PlainTextResponse(str(not session.invalidated and session.get_attribute("user")))

    browser = Browser(enable_sessions(_endpoint(act), container))
    await browser.get("/")
    former = browser.cookie
    await browser.get("/login")
    newest = browser.cookie
    assert (await browser.get("/")).text == "alice"
    assert former
    assert newest
    assert former.encode() not in await contents()
    assert newest.encode() not in await contents()
    await browser.get("/logout")
    assert browser.cookie is None
    assert b"alice" not in await contents()


def _endpoint(handler: Callable[[Request], Awaitable[Response]]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)

    return app
