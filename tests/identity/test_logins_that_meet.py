"""A login that finds the id changed meanwhile gets a session of its own, or joins its double.

It must land neither in the session of somebody else nor in one that somebody else holds. Only
the same user who logged in meanwhile, by a second click, is the same login.
"""

import pytest

from tests.identity.conftest import MakeSite
from tests.identity.site import Picture, Site
from tests.support.cases import for_each

# What happens to the session, in another request, while the login is under way.
MEANWHILE = [
    ["/enter?user=alice"], ["/enter?user=alice", "/renew"],
    ["/enter?user=carol", "/enter?user=alice"], ["/enter?user=alice", "/renew", "/renew", "/renew"],
]  # fmt: skip
STRATEGIES = ["evict-oldest", "reject-new"]


async def pass_on(site: Site, cookie: str, paths: list[str]) -> str:
    """Send the requests one after the other, each with the newest id; return the last one."""
    for path in paths:
        # Every login has a time of its own.
        site.clock.advance(1)
        cookie = (await site.there.ask(path, cookie)).session_id
    return cookie


def one(strategy: str) -> dict[str, object]:
    return {"enabled": True, "max-sessions": 1, "strategy": strategy}


@pytest.mark.parametrize("meanwhile", MEANWHILE, ids=" ".join)
async def test_late_login_of_other_user_gets_own_session(site: Site, meanwhile: list[str]) -> None:
    """Bob's login on an anonymous session that became alice's: his own, with what he had loaded."""
    visitor = await site.here.visit("/write?cart=tea")
    late = await site.here.begin("/enter?user=bob&own=1", visitor)
    alice = await pass_on(site, visitor, meanwhile)
    await site.there.ask("/write?secret=hers", alice)
    answer = await late.finish()
    assert answer.status == 200
    assert answer.session_id not in (visitor, alice)
    his = {"cart": "tea", "own": "1"}
    assert await site.there.opens(answer.session_id) == Picture("bob", False, his)
    hers = await site.there.opens(alice)
    assert hers.user == "alice"
    assert hers.attributes.items() >= {"secret": "hers"}.items()
    assert "own" not in hers.attributes
    assert [await site.here.count(user) for user in ("alice", "bob")] == [1, 1]


@for_each("meanwhile", ["/enter?user=bob", "/renew"])
async def test_late_login_in_a_session_of_somebody_begins_empty(site: Site, meanwhile: str) -> None:
    """Carol logs in where alice was, and meanwhile the id was changed: nothing of alice's."""
    alice = (await site.here.ask("/enter?user=alice&secret=hers")).session_id
    late = await site.here.begin("/enter?user=carol&own=1", alice)
    went_on = await pass_on(site, alice, [meanwhile])
    before = await site.there.opens(went_on)
    answer = await late.finish()
    assert await site.there.opens(answer.session_id) == Picture("carol", False, {"own": "1"})
    assert await site.there.opens(went_on) == before


async def test_second_click_on_the_login_button_joins_the_first(site: Site) -> None:
    """Two logins of one user on one session, in flight together: one session, one cookie."""
    visitor = await site.here.visit("/write?cart=tea")
    second = await site.here.begin("/enter?user=alice&second=1", visitor)
    site.clock.advance(1)
    alice = (await site.there.ask("/enter?user=alice&first=1", visitor)).session_id
    answer = await second.finish()
    assert (answer.status, answer.all("set-cookie")) == (200, [])
    everything = {"cart": "tea", "first": "1", "second": "1"}
    assert await site.here.opens(alice) == Picture("alice", False, everything)
    assert await site.here.count("alice") == 1


async def test_second_click_of_a_user_who_logs_in_again_joins_the_first(site: Site) -> None:
    """Who was logged in and proves it once more, twice at once, has one session, too."""
    before = (await site.here.ask("/enter?user=alice&note=kept")).session_id
    site.clock.advance(60)
    second = await site.here.begin("/enter?user=alice&second=1", before)
    alice = (await site.there.ask("/enter?user=alice&first=1", before)).session_id
    answer = await second.finish()
    assert (answer.status, answer.all("set-cookie")) == (200, [])
    everything = {"note": "kept", "first": "1", "second": "1"}
    assert await site.here.opens(alice) == Picture("alice", False, everything)
    assert await site.here.count("alice") == 1


@for_each("strategy", STRATEGIES)
async def test_second_click_needs_no_second_place(make_site: MakeSite, strategy: str) -> None:
    """Where one session is allowed, the second click neither is refused nor ends the first."""
    site = await make_site(concurrency=one(strategy))
    visitor = await site.here.visit()
    second = await site.here.begin("/enter?user=alice", visitor)
    site.clock.advance(1)
    alice = (await site.there.ask("/enter?user=alice", visitor)).session_id
    answer = await second.finish()
    assert (answer.status, answer.all("set-cookie")) == (200, [])
    assert ((await site.there.opens(alice)).user, await site.here.count("alice")) == ("alice", 1)


async def test_login_does_not_land_in_the_session_of_who_renewed_a_planted_id(site: Site) -> None:
    """The attacker changes the planted id, and knows the new one, while the victim logs in."""
    planted = await site.here.visit("/write?cart=tea")
    login = await site.here.begin("/enter?user=alice&own=1", planted)
    attacker = (await site.there.ask("/renew", planted)).session_id
    answer = await login.finish()
    assert answer.session_id != attacker
    assert await site.there.opens(attacker) == Picture(None, False, {"cart": "tea"})
    hers = {"cart": "tea", "own": "1"}
    assert await site.there.opens(answer.session_id) == Picture("alice", False, hers)
    assert await site.here.count("alice") == 1


async def test_login_again_does_not_reach_a_thief_who_changed_the_id(site: Site) -> None:
    """A thief renews alice's stolen id while she logs in again: what that unlocks is hers alone."""
    stolen = (await site.here.ask("/enter?user=alice&note=old")).session_id
    site.clock.advance(60)
    login = await site.here.begin("/enter?user=alice&second_factor=yes", stolen)
    thief = (await site.there.ask("/renew", stolen)).session_id
    answer = await login.finish()
    assert answer.session_id != thief
    hers = {"second_factor": "yes"}
    assert await site.there.opens(answer.session_id) == Picture("alice", False, hers)
    assert (await site.there.opens(thief)).attributes == {"note": "old"}


async def test_login_again_does_not_reach_the_session_that_the_next_user_has(site: Site) -> None:
    """Alice logs in again in a tab of hers while bob takes the browser over: two sessions."""
    alice = (await site.here.ask("/enter?user=alice&theme=light")).session_id
    login = await site.here.begin("/enter?user=alice&own=1", alice)
    site.clock.advance(1)
    bob = (await site.there.ask("/enter?user=bob&theme=dark", alice)).session_id
    answer = await login.finish()
    assert await site.there.opens(bob) == Picture("bob", False, {"theme": "dark"})
    assert await site.there.opens(answer.session_id) == Picture("alice", False, {"own": "1"})
