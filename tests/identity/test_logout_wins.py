"""A logout holds, whatever is under way with the session; where it cannot, it says so."""

import itertools
from collections.abc import AsyncIterator, Callable

import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tests.identity.conftest import HASHED, MakeSite
from tests.identity.site import Picture, Process, Site
from tests.identity.watched import Call
from tests.support.cases import for_each
from tests.web.driver import Answer

CHANGES = pytest.mark.parametrize("changes", [1, 3, 10])


async def renewed(process: Process, cookie: str, times: int = 1) -> str:
    for _ in range(times):
        cookie = (await process.ask("/renew", cookie)).session_id
    return cookie


def tells_no_id(answer: Answer) -> bool:
    cookie = answer.cookie()
    return cookie is None or cookie.is_deletion


@CHANGES
async def test_logout_ends_session_wherever_its_id_was_changed_to(site: Site, changes: int) -> None:
    """The id is changed, again and again, while a logout is under way: the last one is dead."""
    former = (await site.here.ask("/enter?user=alice")).session_id
    logout = await site.here.begin("/leave", former)
    current = await renewed(site.there, former, changes)
    assert (await site.there.opens(current)).user == "alice"
    answer = await logout.finish()
    assert answer.status == 200
    assert tells_no_id(answer)
    assert ((await site.there.opens(current)).user, await site.there.count("alice")) == (None, 0)


@CHANGES
@HASHED
async def test_logout_that_arrives_with_a_former_id_ends_the_session(
    make_site: MakeSite, changes: int, hash_ids: bool
) -> None:
    """The logout button is pressed in a tab that has not heard of the new id: it holds."""
    site = await make_site(hash_ids=hash_ids)
    former = (await site.here.ask("/enter?user=alice")).session_id
    current = await renewed(site.here, former, changes)
    answer = await site.there.ask("/leave", former)
    assert answer.status == 200
    assert tells_no_id(answer)
    assert ((await site.here.opens(current)).user, await site.here.count("alice")) == (None, 0)


async def test_logout_holds_though_the_id_changes_at_each_of_its_steps(
    make_native_site: MakeSite,
) -> None:
    """Another process changes the id before each of the store's calls, up to ten times."""
    site = await make_native_site(watched=True)
    elsewhere = site.another()
    first = (await elsewhere.ask("/enter?user=alice")).session_id
    known = [first]
    logout = await site.here.begin("/leave", first)

    async def change(call: Call) -> None:
        if len(known) <= 10 and (await elsewhere.opens(known[-1])).user == "alice":
            known.append(await renewed(elsewhere, known[-1]))

    site.here.watch.before = change
    answer = await logout.finish()
    site.here.watch.recover()
    assert answer.status == 200
    assert len(known) > 1
    assert [(await elsewhere.opens(each)).user for each in known] == [None] * len(known)
    assert await elsewhere.count("alice") == 0


async def test_change_of_id_does_not_save_a_session_from_the_logout(site: Site) -> None:
    """A change of id that is stored after the logout brings nothing back and tells no id."""
    former = (await site.here.ask("/enter?user=alice")).session_id
    change = await site.here.begin("/renew", former)
    assert (await site.there.ask("/leave", former)).status == 200
    answer = await change.finish()
    assert answer.status == 200
    assert tells_no_id(answer)
    assert await site.there.count("alice") == 0


async def test_logout_at_any_moment_of_a_change_of_id_holds(make_native_site: MakeSite) -> None:
    """The logout comes before any of the store's calls that a change of id makes."""
    for number in itertools.count():
        site = await make_native_site(watched=True)
        elsewhere = site.another()
        former = (await elsewhere.ask("/enter?user=alice")).session_id
        change = await site.here.begin("/renew", former)
        logout = await elsewhere.begin("/leave", former)
        site.here.watch.at(number, logout.finish)
        answer = await change.finish()
        site.here.watch.recover()
        assert logout.connection.task is not None
        met = logout.connection.task.done()
        assert (await logout.finish()).status == 200
        cookie = answer.cookie()
        if cookie is not None and not cookie.is_deletion:
            assert (await elsewhere.opens(cookie.value)).user is None
        assert await elsewhere.count("alice") == 0
        if not met:
            break
    assert number > 0, "the change of id made no call of the store"


async def progress(request: Request) -> StreamingResponse:
    """Write to the session after the head of the response has left."""

    async def body() -> AsyncIterator[bytes]:
        yield b"part"
        request.state.session.set_attribute("progress", "all")

    return StreamingResponse(body())


def every(call: Call) -> bool:
    return True


def ends_a_session(call: Call) -> bool:
    return call.is_about_a_session and call.name.startswith("delete")


@for_each("fails", [every, ends_a_session])
async def test_logout_that_failed_leaves_the_session_as_it_was(
    make_native_site: MakeSite, fails: Callable[[Call], bool]
) -> None:
    """The store fails the logout: 503, and the session opens, slides and takes every write."""
    site = await make_native_site(watched=True)
    site.here.app.router.routes.append(Route("/progress", progress))
    alice = (await site.here.ask("/enter?user=alice&note=kept")).session_id
    logout = await site.here.begin("/leave", alice)
    site.here.watch.fail(fails)
    answer = await logout.finish()
    site.here.watch.recover()
    assert (answer.status, answer.all("set-cookie")) == (503, [])
    assert await site.here.opens(alice) == Picture("alice", False, {"note": "kept"})
    assert (await site.here.ask("/look", alice)).session_id == alice
    assert (await site.here.ask("/write?cart=tea", alice)).session_id == alice
    assert (await site.here.ask("/progress", alice)).text == "part"
    attributes = {"note": "kept", "cart": "tea", "progress": "all"}
    assert (await site.here.opens(alice)).attributes == attributes
    assert await site.here.count("alice") == 1
    # The next one ends it.
    assert (await site.here.ask("/leave", alice)).own_cookie.is_deletion
    assert ((await site.here.opens(alice)).user, await site.here.count("alice")) == (None, 0)


async def test_logout_with_a_former_id_that_failed_leaves_the_session_as_it_was(
    make_native_site: MakeSite,
) -> None:
    """The store fails a logout that came with a former id: 503, never "done"."""
    site = await make_native_site(watched=True)
    former = (await site.here.ask("/enter?user=alice")).session_id
    current = await renewed(site.here, former)
    logout = await site.here.begin("/leave", former)
    site.here.watch.fail()
    answer = await logout.finish()
    site.here.watch.recover()
    assert (answer.status, answer.all("set-cookie")) == (503, [])
    assert (await site.here.opens(current)).user == "alice"
