"""``pyfly.session.max-size``: what is too large is named, and nothing of it is written."""

import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pyfly_session import EncryptedSessionCodec, Outcome, SessionRepository, SessionTooLargeError
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration import create_container, enable_sessions
from tests.conftest import Clock
from tests.support.cases import for_each
from tests.support.sessions import loaded
from tests.support.types import Log
from tests.web.driver import ask

LIMIT = 1000
KEY = "A" * 43 + "="


@pytest.fixture(params=["memory", "encrypted"])
def store(request: pytest.FixtureRequest, make_store: Any, clock: Clock) -> Any:
    if request.param == "encrypted":
        return InMemorySessionStore(codec=EncryptedSessionCodec([KEY]), clock=clock)
    return make_store(request.param)


async def stored(store: Any, clock: Clock, **attributes: Any) -> str:
    """Store a session as large as it likes, as before there was a limit."""
    repository = SessionRepository(store, clock=clock)
    session = repository.create()
    for name, value in attributes.items():
        session.set_attribute(name, value)
    assert await repository.commit(session) is Outcome.STORED
    return session.id


def limited(store: Any, clock: Clock, limit: int = LIMIT) -> SessionRepository:
    return SessionRepository(store, max_size=limit, clock=clock)


async def test_error_names_sizes_limit_and_the_largest_attribute(store: Any, clock: Clock) -> None:
    repository = limited(store, clock)
    session = repository.create()
    session.set_attribute("small", "s")
    session.set_attribute("cart", "x" * 5000)

    with pytest.raises(SessionTooLargeError) as caught:
        await repository.commit(session)

    error = caught.value
    assert (error.limit, error.attribute) == (LIMIT, "cart")
    assert 5000 < error.size < 8000
    for part in (f"{error.size} bytes", "allows 1000", "'cart'", "5002 bytes"):
        assert part in str(error)
    assert "xxx" not in str(error)


@pytest.mark.parametrize("rotate", [False, True])
async def test_a_session_that_would_become_too_large_stays_as_it_was(
    store: Any, clock: Clock, rotate: bool
) -> None:
    former = await stored(store, clock, user="alice")
    repository = limited(store, clock)
    session = await loaded(repository, former)
    session.set_attribute("user", "bob")
    session.set_attribute("cart", "x" * LIMIT)
    if rotate:
        session.rotate_id()

    with pytest.raises(SessionTooLargeError):
        await repository.commit(session)

    data = await store.get(former)
    assert (data["user"], "cart" in data) == ("alice", False)
    assert not rotate or not await store.exists(session.id)


async def test_exactly_the_limit_is_allowed_and_one_byte_more_is_not(clock: Clock) -> None:
    store = InMemorySessionStore(clock=clock)
    for extra, fits in ((0, True), (1, False)):
        repository = SessionRepository(store, clock=clock)
        session = repository.create()
        session.set_attribute("x", "")
        await repository.commit(session)
        payload = await store.load_and_slide(session.id, 60)
        assert isinstance(payload, bytes)
        empty = len(payload)
        session = limited(store, clock).create()
        session.set_attribute("x", "y" * (LIMIT - empty + extra))
        if fits:
            assert await limited(store, clock).commit(session) is Outcome.STORED
            payload = await store.load_and_slide(session.id, 60)
            assert isinstance(payload, bytes)
            assert len(payload) == LIMIT
        else:
            with pytest.raises(SessionTooLargeError):
                await limited(store, clock).commit(session)


async def test_older_session_above_limit_can_be_read_shrunk_ended(store: Any, clock: Clock) -> None:
    session_id = await stored(store, clock, cart="x" * 5000, user="alice")
    repository = limited(store, clock)
    session = await loaded(repository, session_id)
    assert session.get_attribute("user") == "alice"
    assert await repository.commit(session) is Outcome.UNTOUCHED
    session.set_attribute("cart", "x" * 4000)
    assert await repository.commit(session) is Outcome.STORED
    session.rotate_id()
    assert await repository.commit(session) is Outcome.STORED
    session.invalidate()
    assert await repository.commit(session) is Outcome.ENDED


async def test_older_session_above_limit_may_stay_as_large(store: Any, clock: Clock) -> None:
    """However many digits the time of the write has, which is kept in the session."""
    clock.now = 1_800_000_000.0
    session_id = await stored(store, clock, cart="x" * 5000, user="alice")
    clock.now = 1_800_000_000.1234567
    repository = limited(store, clock)
    session = await loaded(repository, session_id)
    session.set_attribute("user", "carol")

    assert await repository.commit(session) is Outcome.STORED

    assert (await store.get(session_id))["user"] == "carol"


async def test_an_older_session_above_the_limit_cannot_grow(store: Any, clock: Clock) -> None:
    session_id = await stored(store, clock, cart="x" * 5000)
    repository = limited(store, clock)
    session = await loaded(repository, session_id)
    session.set_attribute("more", "y" * 100)

    with pytest.raises(SessionTooLargeError) as caught:
        await repository.commit(session)

    assert caught.value.attribute == "cart"
    assert "more" not in await store.get(session_id)


async def test_two_that_fit_alone_but_not_together_are_told(store: Any, clock: Clock) -> None:
    session_id = await stored(store, clock)
    repository = limited(store, clock)
    first, second = await loaded(repository, session_id), await loaded(repository, session_id)
    first.set_attribute("a", "x" * 500)
    second.set_attribute("b", "y" * 500)
    assert await repository.commit(first) is Outcome.STORED
    with pytest.raises(SessionTooLargeError):
        await repository.commit(second)
    data = await store.get(session_id)
    assert ("a" in data, "b" in data) == (True, False)


@for_each("known", [True, False])
async def test_it_is_a_500_that_names_the_attribute_in_the_log_not_a_503(
    clock: Clock, known: bool, caplog: Log
) -> None:
    async def fill(request: Request) -> Response:
        request.state.session.set_attribute("user", "bob")
        request.state.session.set_attribute("cart", "x" * 5000)
        return PlainTextResponse("filled")

    container = create_container({"pyfly": {"session": {"enabled": True, "max-size": LIMIT}}})
    session_id = "a" * 32
    store = container.session_store()
    await store.save(session_id, {"_created_at": clock(), "user": "alice"}, 60)
    app = enable_sessions(Starlette(routes=[Route("/fill", fill)]), container)
    with caplog.at_level(logging.ERROR):
        answer = await ask(app, "/fill", cookie=session_id if known else None, swallow=True)

    assert answer.status == 500
    assert isinstance(answer.error, SessionTooLargeError)
    assert "'cart'" in str(answer.error)
    assert (answer.cookie(), (await store.get(session_id) or {})["user"]) == (None, "alice")
    assert isinstance(store, InMemorySessionStore)
    assert len(store) == 1


@for_each(("given", "allowed"), [({}, False), ({"max-size": ""}, True)])
async def test_default_is_mebibyte_unless_it_is_switched_off(given: Any, allowed: bool) -> None:
    container = create_container({"pyfly": {"session": {"enabled": True, **given}}})
    repository = container.session_repository()
    session = repository.create()
    session.set_attribute("x", "y" * (1024**2 + 1))
    if allowed:
        assert await repository.commit(session) is Outcome.STORED
        return
    with pytest.raises(SessionTooLargeError, match="allows 1048576"):
        await repository.commit(session)
