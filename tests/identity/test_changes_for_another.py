"""What was loaded for one user never reaches another's session; a visitor's cart does."""

import itertools
import json
from urllib.parse import urlencode

from tests.identity.conftest import MakeSite
from tests.identity.site import Picture, Site
from tests.support.cases import for_each

# Whose the session is by then. Its id is the same, but after a login.
ANOTHERS = [
    ["/clear?theme=dark"],
    ["/hand_over?user=bob", "/write?theme=dark"],
    ["/enter?user=bob&theme=dark"],
    ["/clear", "/enter?user=bob&theme=dark"],
    ["/enter?user=bob", "/renew?theme=dark"],
]
# What alice's slow request does to the session that it loaded as hers.
CHANGES = [
    "/write?theme=of+alice", "/remove?theme=1", "/fill?with=tea", "/renew?statement=of+alice",
    "/clear?statement=of+alice",
]  # fmt: skip


async def require_no_change(site: Site, change: str, meanwhile: list[str]) -> None:
    """Let alice's request meet others, and fail if the session shows anything of it."""
    cookie = (await site.here.ask("/enter?user=alice&theme=light")).session_id
    await site.here.ask("/fill?with=bread", cookie)
    slow = await site.here.begin(change, cookie)
    for path in meanwhile:
        site.clock.advance(1)
        cookie = (await site.there.ask(path, cookie)).session_id
    expected = await site.there.opens(cookie)
    assert expected.user in (None, "bob")
    assert expected.attributes == {"theme": "dark"}
    answer = await slow.finish()
    assert answer.status == 200
    told = answer.cookie()
    assert told is None or told.value == cookie
    assert await site.there.opens(cookie) == expected


@for_each("meanwhile", ANOTHERS)
async def test_slow_write_does_not_reach_the_session_of_the_next_user(
    site: Site, meanwhile: list[str]
) -> None:
    """Alice's slow request ends when the browser's session is bob's, or nobody's: dropped."""
    await require_no_change(site, "/write?statement=of+alice", meanwhile)


@for_each("meanwhile", ANOTHERS[:3])
@for_each("change", CHANGES)
async def test_slow_change_of_any_kind_does_not_reach_the_session_of_the_next_user(
    make_memory_site: MakeSite, change: str, meanwhile: list[str]
) -> None:
    """Nothing that alice's slow request did is seen in the next user's session."""
    await require_no_change(await make_memory_site(), change, meanwhile)


async def test_slow_idle_time_does_not_keep_next_users_session(make_memory_site: MakeSite) -> None:
    """Alice's "remember me" ends when the session is bob's: his ends after the common time."""
    site = await make_memory_site()
    alice = (await site.here.ask("/enter?user=alice")).session_id
    slow = await site.here.begin("/remember", alice)
    site.clock.advance(1)
    bob = (await site.here.ask("/enter?user=bob", alice)).session_id
    await slow.finish()
    site.clock.advance(1799)
    assert (await site.here.opens(bob)).user == "bob"
    site.clock.advance(1801)
    assert (await site.here.opens(bob)).user is None


async def test_login_of_the_next_user_takes_over_nothing_written_meanwhile(site: Site) -> None:
    """Alice's quick request writes while bob's login is under way: he gets nothing of it."""
    alice = (await site.here.ask("/enter?user=alice&theme=light")).session_id
    login = await site.here.begin("/enter?user=bob&own=1", alice)
    await site.there.ask("/write?statement=of+alice", alice)
    bob = (await login.finish()).session_id
    assert await site.there.opens(bob) == Picture("bob", False, {"own": "1"})


async def test_changes_for_another_are_dropped_at_any_moment(make_native_site: MakeSite) -> None:
    """Bob logs in before any of the store's calls that alice's slow write makes."""
    for number in itertools.count():
        site = await make_native_site(watched=True)
        elsewhere = site.another()
        alice = (await elsewhere.ask("/enter?user=alice")).session_id
        slow = await site.here.begin("/write?statement=of+alice", alice)
        site.clock.advance(1)
        bobs = await elsewhere.begin("/enter?user=bob", alice)
        site.here.watch.at(number, bobs.finish)
        await slow.finish()
        site.here.watch.recover()
        assert bobs.connection.task is not None
        met = bobs.connection.task.done()
        bob = (await bobs.finish()).session_id
        assert await elsewhere.opens(bob) == Picture("bob", False, {})
        if not met:
            break
    assert number > 0, "the write made no call of the store"


@for_each("meanwhile", [["/enter?user=alice"], ["/enter?user=alice", "/renew"]])
async def test_cart_of_visitor_logging_in_is_kept(site: Site, meanwhile: list[str]) -> None:
    """What an anonymous visitor puts into the cart during the login is in the user's session."""
    cookie = await site.here.visit("/write?theme=light")
    slow = await site.here.begin("/write?cart=tea", cookie)
    for path in meanwhile:
        site.clock.advance(1)
        cookie = (await site.there.ask(path, cookie)).session_id
    answer = await slow.finish()
    assert (answer.status, answer.all("set-cookie")) == (200, [])
    everything = {"theme": "light", "cart": "tea"}
    assert await site.there.opens(cookie) == Picture("alice", False, everything)


async def test_slow_change_of_the_same_user_is_kept(site: Site) -> None:
    """Who logs in again during a slow request of their own loses nothing of it."""
    cookie = (await site.here.ask("/enter?user=alice")).session_id
    slow = await site.here.begin("/write?statement=of+alice", cookie)
    site.clock.advance(1)
    cookie = (await site.there.ask("/enter?user=alice", cookie)).session_id
    assert (await slow.finish()).all("set-cookie") == []
    assert (await site.there.opens(cookie)).attributes == {"statement": "of alice"}


async def test_function_of_the_next_user_is_given_nothing_of_the_user_before(site: Site) -> None:
    """Alice fills a basket while bob's login is under way; his `update_attribute` gets None."""
    alice = (await site.here.ask("/enter?user=alice")).session_id
    login = await site.here.begin("/enter_and_fill?user=bob&with=tea", alice)
    await site.there.ask("/fill?with=medicine", alice)
    bob = (await login.finish()).session_id
    assert await site.there.opens(bob) == Picture("bob", False, {"basket": ["tea"]})


@for_each("path", ["/clear", "/clear?own=1"])
async def test_visitor_who_clears_leaves_login_meanwhile_alone(site: Site, path: str) -> None:
    """An anonymous `clear()` ends when the session is alice's: all that is hers is kept."""
    visitor = await site.here.visit("/write?cart=tea")
    slow = await site.here.begin(path, visitor)
    alice = (await site.there.ask("/enter?user=alice&secret=hers", visitor)).session_id
    assert (await slow.finish()).all("set-cookie") == []
    hers = {"cart": "tea", "secret": "hers"}
    assert await site.there.opens(alice) == Picture("alice", False, hers)


async def test_visitor_who_sets_an_idle_time_does_not_set_that_of_a_login_meanwhile(
    make_memory_site: MakeSite,
) -> None:
    """A visitor's "remember me" ends when the session is alice's: hers lives the common time."""
    site = await make_memory_site()
    visitor = await site.here.visit()
    slow = await site.here.begin("/remember", visitor)
    alice = (await site.here.ask("/enter?user=alice", visitor)).session_id
    await slow.finish()
    site.clock.advance(1801)
    assert (await site.here.opens(alice)).user is None


async def test_login_by_attribute_that_comes_late_gets_a_session_of_its_own(site: Site) -> None:
    """Mallory's `SECURITY_CONTEXT`, set by hand, does not say who has alice's session."""
    visitor = await site.here.visit("/write?cart=tea")
    late = await site.here.begin("/enter_without_login?user=mallory", visitor)
    alice = (await site.there.ask("/enter?user=alice&secret=hers", visitor)).session_id
    answer = await late.finish()
    assert answer.session_id not in (visitor, alice)
    assert await site.there.opens(answer.session_id) == Picture("mallory", False, {"cart": "tea"})
    hers = {"cart": "tea", "secret": "hers"}
    assert await site.there.opens(alice) == Picture("alice", False, hers)


@for_each("own", [{}, {"own": "1"}])
async def test_visitor_sees_nothing_of_login_meanwhile(site: Site, own: dict[str, str]) -> None:
    """What alice's session holds is not shown to the request that had the former id."""
    visitor = await site.here.visit("/write?cart=tea")
    slow = await site.here.begin(f"/renew_and_stream?{urlencode(own)}", visitor, reads=False)
    alice = (await site.there.ask("/enter?user=alice&secret=hers", visitor)).session_id
    answer = await slow.finish()
    assert answer.all("set-cookie") == []
    assert Picture.of(answer) == Picture(None, False, {"cart": "tea", **own})
    everything = {"cart": "tea", "secret": "hers", **own}
    assert await site.there.opens(alice) == Picture("alice", False, everything)


@for_each("then", ["clear", "remember", "login", "authenticate", "nothing"])
async def test_what_came_into_anothers_session_makes_it_nobody_elses(site: Site, then: str) -> None:
    """Written by a visitor before the head, it is alice's; what comes after the head is not."""
    visitor = await site.here.visit()
    slow = await site.here.begin(f"/write_and_go_on?then={then}", visitor, reads=False)
    alices = (await site.there.ask("/enter?user=alice&home=rome", visitor)).session_id
    before = await site.there.count("alice")
    shown = json.loads((await slow.finish()).text)
    assert (shown["user"] in (None, "mallory"), "home" in shown["attributes"]) == (True, False)
    seen = await site.there.opens(alices)
    assert (seen.user, seen.attributes["home"], seen.attributes["bait"]) == ("alice", "rome", then)
    assert await site.there.count("alice") == before


async def test_function_of_anothers_value_shows_nothing_of_it(site: Site) -> None:
    visitor = await site.here.visit()
    slow = await site.here.begin("/update_and_show", visitor, reads=False)
    alices = (await site.there.ask("/enter?user=alice&cart=ring", visitor)).session_id
    assert (await slow.finish()).text == "tea+baittea+bait+more"
    assert (await site.there.opens(alices)).attributes["cart"] == "ring+bait+more"


async def test_remember_me_of_one_user_does_not_hold_for_the_next(
    make_memory_site: MakeSite,
) -> None:
    """Bob logs in with the browser that Alice was to be remembered in for a day."""
    site = await make_memory_site()
    alices = (await site.here.ask("/enter?user=alice")).session_id
    await site.here.ask("/remember", alices)
    entered = await site.here.ask("/enter?user=bob", alices)
    assert entered.own_cookie.max_age == 1800
    site.clock.advance(1801)
    assert (await site.here.opens(entered.session_id)).user is None
