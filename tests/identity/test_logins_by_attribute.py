"""A login by the attribute `SECURITY_CONTEXT` alone, as the original knows it, is a login."""

import asyncio
from typing import Any

from pyfly_session import HttpSession, SecurityContext, SessionRepository
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


async def test_such_login_is_told_where_store_may_fail() -> None:
    """With ``on-store-error: anonymous`` a visitor does without a session, but not a login."""
    session = SessionRepository(InMemorySessionStore()).create()
    assert not session.has_login
    session.set_attribute("SECURITY_CONTEXT", SecurityContext(user_id="alice"))
    assert session.has_login
