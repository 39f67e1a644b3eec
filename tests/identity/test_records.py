"""Who has which sessions stays known: beside many visitors, and after a second login."""

import pytest
from dependency_injector import providers

from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.events import SessionCreated, SessionDestroyed, SessionEvent, SessionIdChanged
from tests.conftest import Clock
from tests.identity.conftest import HASHED
from tests.identity.site import Process, Site

ROOM = 50


async def crowded(clock: Clock, *, hash_ids: bool, told: list[SessionEvent]) -> tuple[Process, str]:
    """Return a process with room for few sessions, alice's among them, after many visitors."""
    settings = {
        "hash-ids": hash_ids,
        "concurrency": {"enabled": True, "max-sessions": 1, "strategy": "reject-new"},
    }
    store = InMemorySessionStore(max_sessions=ROOM, clock=clock)
    process = Process(store, clock, settings, watched=False)
    process.container.session_listeners.add_args(providers.Object(told.append))
    alice = (await process.ask("/enter?user=alice")).session_id
    for _ in range(2 * ROOM + 20):
        clock.advance(1)
        await process.visit()
        await process.ask("/look", alice)
    assert store.dropped > ROOM
    return process, alice


@pytest.fixture
def told() -> list[SessionEvent]:
    return []


@HASHED
async def test_visitors_do_not_crowd_out_who_has_which_sessions(
    clock: Clock, told: list[SessionEvent], hash_ids: bool
) -> None:
    """A flood of visitors in a full memory store lifts no limit and hides nobody from an end."""
    process, alice = await crowded(clock, hash_ids=hash_ids, told=told)
    assert ((await process.opens(alice)).user, await process.count("alice")) == ("alice", 1)
    assert (await process.ask("/enter?user=alice")).status == 409
    assert await process.container.principal_sessions().end_all("alice") == 1
    assert (await process.opens(alice)).user is None
    await process.close()


@HASHED
async def test_listeners_hear_of_the_end_of_sessions_only(
    clock: Clock, told: list[SessionEvent], hash_ids: bool
) -> None:
    """Records and notes end as well; no listener takes them for sessions."""
    process, _ = await crowded(clock, hash_ids=hash_ids, told=told)
    await process.container.principal_sessions().end_all("alice")
    clock.advance(100_000)
    await process.visit()
    await process.close()
    begun = {each.handle for each in told if isinstance(each, SessionCreated | SessionIdChanged)}
    ended = [each.handle for each in told if isinstance(each, SessionDestroyed)]
    assert len(ended) > ROOM
    assert [handle for handle in ended if handle not in begun] == []


async def test_second_login_of_the_same_user_keeps_the_names_of_the_first(site: Site) -> None:
    """A second factor in the application does not hide the session from the provider's logout."""
    first = (await site.here.ask("/enter?user=ada&alias=provider-7")).session_id
    site.clock.advance(1)
    second = (await site.there.ask("/enter?user=ada", first)).session_id
    ended = await site.here.container.principal_sessions().end_all("provider-7", reason="provider")
    assert (ended, (await site.there.opens(second)).user) == (1, None)
    assert await site.there.count("ada") == 0


async def test_names_of_a_second_login_take_the_place_of_the_first(site: Site) -> None:
    """Whoever logs in at the provider again is found by the new name, and no more by the old."""
    first = (await site.here.ask("/enter?user=ada&alias=provider-7")).session_id
    site.clock.advance(1)
    second = (await site.there.ask("/enter?user=ada&alias=provider-8", first)).session_id
    sessions = site.here.container.principal_sessions()
    assert (await sessions.end_all("provider-7"), await sessions.end_all("provider-8")) == (0, 1)
    assert (await site.there.opens(second)).user is None


async def test_login_of_another_user_does_not_keep_the_names_of_the_first(site: Site) -> None:
    """Bob takes the browser over: the provider's logout of ada does not end his session."""
    ada = (await site.here.ask("/enter?user=ada&alias=provider-7")).session_id
    site.clock.advance(1)
    bob = (await site.there.ask("/enter?user=bob", ada)).session_id
    assert await site.here.container.principal_sessions().end_all("provider-7") == 0
    assert (await site.there.opens(bob)).user == "bob"
