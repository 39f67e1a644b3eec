"""A login by the attribute `SECURITY_CONTEXT` alone, as the original knows it, is a login."""

import asyncio
from typing import Any

from pyfly_session import HttpSession, Outcome, SecurityContext, SessionRepository
from pyfly_session.adapters.memory import InMemorySessionStore
from tests.identity.conftest import MakeSite
from tests.identity.site import Site
from tests.support.cases import for_each


async def test_planted_id_that_is_changed_meanwhile_gets_no_such_login(site: Site) -> None:
    """An attacker renews the id that they planted while the victim's password is checked."""
    planted = await site.here.visit()
    login = await site.here.begin("/enter_without_login?user=alice", planted)
    attackers = (await site.there.ask("/renew", planted)).session_id
    hers = (await login.finish()).session_id
    assert hers not in (planted, attackers)
    assert (await site.here.opens(hers)).user == "alice"
    assert (await site.there.opens(attackers)).user is None


async def test_two_such_logins_from_one_session_are_two_sessions(site: Site) -> None:
    visitor = await site.here.visit()
    bobs = await site.here.begin("/enter_without_login?user=bob", visitor)
    alices = (await site.there.ask("/enter_without_login?user=alice", visitor)).session_id
    late = (await bobs.finish()).session_id
    assert (await site.here.opens(alices)).user == "alice"
    assert (await site.here.opens(late)).user == "bob"


@for_each("next_login", ["/enter?user=bob", "/enter_without_login?user=bob"])
async def test_slow_write_of_such_user_does_not_reach_the_next_one(
    site: Site, next_login: str
) -> None:
    visitor = await site.here.visit()
    alices = (await site.here.ask("/enter_without_login?user=alice", visitor)).session_id
    slow = await site.here.begin("/write?iban=of+alice", alices)
    await site.there.ask("/clear", alices)
    bobs = (await site.there.ask(next_login, alices)).session_id
    await slow.finish()
    seen = await site.here.opens(bobs)
    assert (seen.user, "iban" in seen.attributes) == ("bob", False)


async def test_the_same_user_with_another_role_is_no_other_one(make_memory_site: MakeSite) -> None:
    site = await make_memory_site()
    visitor = await site.here.visit()
    alices = (await site.here.ask("/enter_without_login?user=alice", visitor)).session_id
    slow = await site.here.begin("/write?theme=dark", alices)
    promoted = await site.here.begin("/add_role?user=alice", alices)
    for each in (slow, promoted):
        assert (await each.finish()).session_id == alices
    seen = await site.here.opens(alices)
    assert (seen.user, seen.attributes["theme"]) == ("alice", "dark")


async def test_context_that_names_no_user_does_not_part_requests() -> None:
    """An application may keep whatever it likes there; who that is, nobody knows."""
    repository = SessionRepository(InMemorySessionStore())
    session = repository.create()
    session.set_attribute("SECURITY_CONTEXT", {"name": "alice", "seen": 0})
    await repository.commit(session)

    async def see(number: int) -> HttpSession:
        loaded = await repository.load(session.id)
        assert loaded is not None
        await asyncio.sleep(0)
        loaded.set_attribute("SECURITY_CONTEXT", {"name": "alice", "seen": number})
        loaded.set_attribute(f"n{number}", number)
        await repository.commit(loaded)
        return loaded

    everybody = await asyncio.gather(*(see(number) for number in range(5)))
    assert {each.id for each in everybody} == {session.id}
    stored: Any = await repository.load(session.id)
    assert [stored.get_attribute(f"n{number}") for number in range(5)] == [*range(5)]


@for_each("context", [{"name": "alice", "seen": 0}, {"user_id": "4711", "seen": 0}])
async def test_what_application_keeps_there_beside_login_is_no_login(context: Any) -> None:
    """A held request with an id that was stolen changes it, when the password has been changed."""
    repository = SessionRepository(InMemorySessionStore())
    session = repository.create()
    session.authenticate("alice")
    session.set_attribute("SECURITY_CONTEXT", context)
    await repository.commit(session)
    thiefs, hers = [await repository.load(session.id) for _ in range(2)]
    assert thiefs is not None
    assert hers is not None
    hers.rotate_id()
    await repository.commit(hers)
    thiefs.get_attribute("SECURITY_CONTEXT")["seen"] = 1
    assert await repository.commit(thiefs) is Outcome.MOVED
    assert thiefs.id == session.id
    assert await repository.load(thiefs.id) is None


async def test_same_user_by_attribute_in_requests_that_meet_is_one_login(
    make_memory_site: MakeSite,
) -> None:
    """Each request of a page notes the user, as behind a proxy that has asked for the password."""
    site = await make_memory_site()
    visitor = await site.here.visit()
    held = [await site.here.begin(f"/add_role?user=alice&n={n}", visitor) for n in range(4)]
    assert {(await each.finish()).session_id for each in held} == {visitor}
    assert (await site.here.opens(visitor)).user == "alice"


async def test_poll_that_notes_that_nobody_is_logged_in_logs_nobody_out(site: Site) -> None:
    visitor = await site.here.visit()
    poll = await site.here.begin("/note_nobody", visitor)
    alices = (await site.there.ask("/enter?user=alice", visitor)).session_id
    assert (await poll.finish()).all("set-cookie") == []
    assert (await site.here.opens(alices)).user == "alice"


@for_each("way", ["/enter_without_login?user=bob", "/put_context?user=bob"])
async def test_next_user_by_attribute_gets_nothing_of_one_who_used_login(
    site: Site, way: str
) -> None:
    """Whoever has no `login` for the next user leaves the former principal; it says nothing."""
    visitor = await site.here.visit()
    alices = (await site.here.ask("/enter?user=alice", visitor)).session_id
    slow = await site.here.begin("/write?iban=of+alice", alices)
    bobs = (await site.there.ask(way, alices)).session_id
    await slow.finish()
    seen = await site.here.opens(bobs)
    assert (seen.user, "iban" in seen.attributes) == ("bob", False)


async def test_empty_mapping_logs_out_who_came_by_attribute(site: Site) -> None:
    visitor = await site.here.visit()
    alices = (await site.here.ask("/enter_without_login?user=alice", visitor)).session_id
    leaving = await site.here.begin("/put_nothing", alices)
    await site.there.ask("/write?iban=of+alice", alices)
    await leaving.finish()
    assert (await site.here.opens(alices)).attributes == {}


async def test_such_login_is_told_where_store_may_fail() -> None:
    """With ``on-store-error: anonymous`` a visitor does without a session, but not a login."""
    session = SessionRepository(InMemorySessionStore()).create()
    assert not session.has_login
    session.set_attribute("SECURITY_CONTEXT", SecurityContext(user_id="alice"))
    assert session.has_login
