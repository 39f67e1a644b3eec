"""What listeners are told of sessions: through the application, on the bundled stores."""

from typing import Any

import pytest
from starlette.websockets import WebSocket

from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.events import SessionCreated, SessionDestroyed, SessionIdChanged
from tests.conftest import Clock
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Connection, ask
from tests.web.listening import Shop, destroyed, handle


@pytest.fixture(params=[False, True], ids=["plain", "hashed"])
def shop(site: Site, request: pytest.FixtureRequest) -> Shop:
    return Shop(site, hash_ids=request.param)


async def test_the_life_of_a_session_is_told_in_its_order(shop: Shop) -> None:
    first = (await shop.ask("/write")).session_id
    second = (await shop.ask("/enter", first)).session_id
    third = (await shop.ask("/rotate", second)).session_id
    await shop.ask("/leave", third)
    one, two, three = (handle(shop, each) for each in (first, second, third))
    at = shop.site.clock()
    assert await shop.news() == [
        SessionCreated(handle=one, principal=None, at=at),
        SessionIdChanged(handle=two, former=one, principal="ada", at=at),
        SessionIdChanged(handle=three, former=two, principal="ada", at=at),
        SessionDestroyed(handle=three, principal="ada", at=at, reason="invalidated"),
    ]


async def test_a_session_that_begins_with_a_login_is_told_with_its_user(shop: Shop) -> None:
    entered = (await shop.ask("/enter")).session_id
    (event,) = await shop.news()
    assert event == SessionCreated(
        handle=handle(shop, entered), principal="ada", at=shop.site.clock()
    )


async def test_reading_and_writing_are_no_news(shop: Shop) -> None:
    known = (await shop.ask("/write")).session_id
    await shop.news()
    await shop.ask("/look", known)
    await shop.ask("/write?seen=again", known)
    assert await shop.news() == []


async def test_who_logs_out_everywhere_else_ends_the_others(shop: Shop) -> None:
    laptop, phone = [(await shop.ask("/enter")).session_id for _ in range(2)]
    await shop.news()
    assert (await shop.ask("/others", phone)).text == "1"
    assert await shop.news() == [destroyed(shop, laptop, "ended", "ada")]


async def test_ends_by_an_operator_and_by_a_provider_tell_their_reason(shop: Shop) -> None:
    one, two = [(await shop.ask("/enter")).session_id for _ in range(2)]
    await shop.news()
    await shop.repository.principals.end(one, reason="fraud")
    assert await shop.news() == [destroyed(shop, one, "fraud", "ada")]
    await shop.repository.principals.end_all("ada", reason="provider")
    assert await shop.news() == [destroyed(shop, two, "provider", "ada")]


async def test_a_login_too_many_evicts_once_it_is_stored_itself(site: Site) -> None:
    shop = Shop(site, limit=1)
    first = (await shop.ask("/enter")).session_id
    await shop.news()
    second = (await shop.ask("/enter")).session_id
    at = shop.site.clock()
    assert await shop.news() == [
        SessionCreated(handle=handle(shop, second), principal="ada", at=at),
        destroyed(shop, first, "evicted", "ada"),
    ]


async def test_what_was_over_already_is_not_destroyed_again(shop: Shop) -> None:
    known = (await shop.ask("/enter")).session_id
    hold = shop.site.probe.hold(2, "before")
    slow = Connection(shop.app, "/leave", cookie=known).start()
    await hold.reached.wait()
    await shop.repository.principals.end(known)
    hold.release.set()
    await slow.end()
    ends = [each for each in await shop.news() if isinstance(each, SessionDestroyed)]
    assert ends == [destroyed(shop, known, "ended", "ada")]


async def test_a_logout_that_overtakes_a_new_id_tells_the_id_that_ended(shop: Shop) -> None:
    first = (await shop.ask("/write")).session_id
    second = (await shop.ask("/rotate", first)).session_id
    await shop.news()
    await shop.repository.invalidation.delete(first)
    assert await shop.news() == [destroyed(shop, second, "invalidated")]


async def test_a_logout_over_a_websocket_is_told(shop: Shop) -> None:
    async def leave_by_message(socket: WebSocket) -> None:
        await socket.accept()
        socket.state.session.invalidate()
        await socket.close()

    known = (await shop.ask("/enter")).session_id
    await shop.news()
    await ask(shop.site.socket(leave_by_message), cookie=known, kind="websocket")
    assert await shop.news() == [destroyed(shop, known, "invalidated", "ada")]


async def test_the_absolute_lifetime_is_told_where_it_is_noticed(site: Site) -> None:
    shop = Shop(site, max_lifetime=3600, ttl=7200)
    known = await shop.site.seed(_principal="ada")
    await shop.ask("/look", known)
    shop.site.clock.advance(3599)
    await shop.ask("/look", known)
    assert await shop.news() == []
    shop.site.clock.advance(1)
    await shop.ask("/look", known)
    ended = [each for each in await shop.news() if isinstance(each, SessionDestroyed)]
    assert ended == [destroyed(shop, known, "expired", "ada")]


@for_each("hash_ids", [False, True])
async def test_the_memory_store_tells_what_has_expired(hash_ids: bool, clock: Clock) -> None:
    shop = Shop(_over(InMemorySessionStore(clock=clock), clock), hash_ids=hash_ids)
    known = [(await shop.ask("/enter")).session_id, (await shop.ask("/write")).session_id]
    await shop.news()
    clock.advance(1799)
    await shop.ask("/look")
    assert not [each for each in await shop.news() if isinstance(each, SessionDestroyed)]
    clock.advance(1)
    await shop.ask("/look")
    ended = [each for each in await shop.news() if isinstance(each, SessionDestroyed)]
    assert ended == [
        destroyed(shop, known[0], "expired", "ada"),
        destroyed(shop, known[1], "expired"),
    ]


async def test_the_memory_store_tells_whom_it_dropped(clock: Clock) -> None:
    shop = Shop(_over(InMemorySessionStore(max_sessions=1, clock=clock), clock))
    first = (await shop.ask("/write")).session_id
    await shop.news()
    await shop.ask("/write")
    ended = [each for each in await shop.news() if isinstance(each, SessionDestroyed)]
    assert ended == [destroyed(shop, first, "dropped")]


class _Bare:
    """A store as it is, where a `Site` has one that is watched."""

    def __init__(self, store: Any) -> None:
        self.store = self.inner = store


def _over(store: Any, clock: Clock) -> Site:
    return Site(_Bare(store), clock)  # type: ignore[arg-type]
