"""A login that is refused, or cannot be stored, leaves everything as it was."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from dependency_injector import providers
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pyfly_session import SecurityContext, SessionStoreUnavailableError, enable_sessions
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration import create_container
from pyfly_session.security import context_of, login
from tests.identity.conftest import MakeSite
from tests.identity.site import Picture, Process, Site
from tests.identity.watched import Call, WatchedStore
from tests.support.cases import for_each
from tests.web.driver import Answer, Connection, ask

STRATEGIES = ["evict-oldest", "reject-new"]


def room_for(sessions: int, strategy: str) -> dict[str, Any]:
    return {"enabled": True, "max-sessions": sessions, "strategy": strategy}


def no_foreign_id(answer: Answer, presented: str) -> bool:
    """Tell whether the answer tells no id but the one that the request presented."""
    cookie = answer.cookie()
    return cookie is None or cookie.value == presented


def stores_a_session(call: Call) -> bool:
    return call.stores_a_session


async def test_refused_login_leaves_the_visitor_alone(make_site: MakeSite) -> None:
    """Refused with 409: the same id opens the same cart, and nobody is logged in or out."""
    site = await make_site(concurrency=room_for(1, "reject-new"))
    laptop = (await site.there.ask("/enter?user=alice")).session_id
    visitor = await site.here.visit("/write?cart=tea")
    answer = await site.here.ask("/enter?user=alice", visitor)
    assert answer.status == 409
    assert no_foreign_id(answer, visitor)
    assert await site.there.opens(visitor) == Picture(None, False, {"cart": "tea"})
    assert ((await site.there.opens(laptop)).user, await site.here.count("alice")) == ("alice", 1)


async def test_refused_login_leaves_the_user_before_logged_in(make_site: MakeSite) -> None:
    """Bob, who may not become alice, is still bob with all that is his."""
    site = await make_site(concurrency=room_for(1, "reject-new"))
    await site.there.ask("/enter?user=alice")
    bob = (await site.here.ask("/enter?user=bob&note=his")).session_id
    answer = await site.here.ask("/enter?user=alice", bob)
    assert answer.status == 409
    assert no_foreign_id(answer, bob)
    assert await site.there.opens(bob) == Picture("bob", False, {"note": "his"})
    assert [await site.here.count(user) for user in ("alice", "bob")] == [1, 1]


async def test_application_goes_on_with_same_session_after_refusal(make_site: MakeSite) -> None:
    """A page that handles the refusal itself answers with the session that there was."""
    site = await make_site(concurrency=room_for(1, "reject-new"))
    await site.there.ask("/enter?user=alice")
    visitor = await site.here.visit("/write?cart=tea")
    answer = await site.here.ask("/attempt?user=alice", visitor)
    assert answer.status == 200
    assert "TooManySessionsError" in answer.text
    assert no_foreign_id(answer, visitor)
    assert await site.there.opens(visitor) == Picture(None, False, {"cart": "tea"})


@for_each("strategy", STRATEGIES)
async def test_unstorable_login_changes_nothing(make_native_site: MakeSite, strategy: str) -> None:
    """Answered 503: no new id, no session counted, the visitor's cart where it was."""
    site = await make_native_site(watched=True, concurrency=room_for(1, strategy))
    visitor = await site.here.visit("/write?cart=tea")
    site.here.watch.fail(stores_a_session)
    answer = await site.here.ask("/enter?user=alice", visitor)
    site.here.watch.recover()
    assert answer.status == 503
    assert no_foreign_id(answer, visitor)
    assert await site.here.opens(visitor) == Picture(None, False, {"cart": "tea"})
    assert await site.here.count("alice") == 0


async def test_login_that_cannot_be_stored_gives_its_place_back(make_native_site: MakeSite) -> None:
    """After a 503 the one place that there is can be taken by another browser at once."""
    site = await make_native_site(watched=True, concurrency=room_for(1, "reject-new"))
    site.here.watch.fail(stores_a_session)
    assert (await site.here.ask("/enter?user=alice")).status == 503
    site.here.watch.recover()
    answer = await site.here.ask("/enter?user=alice")
    assert (answer.status, (await site.here.opens(answer.session_id)).user) == (200, "alice")


async def test_unstorable_login_leaves_user_before_logged_in(make_native_site: MakeSite) -> None:
    """Bob, whose login as alice ended in 503, is still bob, and is found as such."""
    site = await make_native_site(watched=True)
    bob = (await site.here.ask("/enter?user=bob&note=his")).session_id
    site.here.watch.fail(stores_a_session)
    answer = await site.here.ask("/enter?user=alice", bob)
    site.here.watch.recover()
    assert answer.status == 503
    assert no_foreign_id(answer, bob)
    assert await site.here.opens(bob) == Picture("bob", False, {"note": "his"})
    assert [await site.here.count(user) for user in ("alice", "bob")] == [0, 1]


async def phone_fails(site: Site) -> Answer:
    site.here.watch.fail(stores_a_session)
    return await site.here.ask("/enter?user=alice")


async def phone_writes_too_much(site: Site) -> Answer:
    return await site.here.ask(f"/enter?user=alice&profile={'x' * 9999}", swallow=True)


@for_each(("log_in", "status"), [(phone_fails, 503), (phone_writes_too_much, 500)])
async def test_failed_login_does_not_end_the_users_other_session(
    make_native_site: MakeSite, log_in: Any, status: int
) -> None:
    """Where the oldest session gives way, it does not for a login that is not stored."""
    settings = {"concurrency": room_for(1, "evict-oldest"), "max_size": 4096}
    site = await make_native_site(watched=True, **settings)
    laptop = (await site.here.ask("/enter?user=alice")).session_id
    site.clock.advance(1)
    answer = await log_in(site)
    site.here.watch.recover()
    assert (answer.status, (await site.here.opens(laptop)).user) == (status, "alice")
    assert await site.here.count("alice") == 1


@for_each("page", ["/news", "/write?cart=tea"])
async def test_other_session_is_ended_only_after_the_new_one_is_stored(
    make_native_site: MakeSite, page: str
) -> None:
    """Until the new login is in the store, the session that has to give way is alive."""
    site = await make_native_site(watched=True, concurrency=room_for(1, "evict-oldest"))
    elsewhere = site.another()
    laptop = (await elsewhere.ask("/enter?user=alice")).session_id
    visitor = await elsewhere.visit(page)
    site.clock.advance(1)
    seen: list[str | None] = []

    async def look_at_laptop(call: Call) -> None:
        if call.stores_a_session:
            seen.append((await elsewhere.opens(laptop)).user)

    site.here.watch.before = look_at_laptop
    phone = (await site.here.ask("/enter?user=alice", visitor)).session_id
    site.here.watch.recover()
    assert seen
    assert (seen[0], (await elsewhere.opens(laptop)).user) == ("alice", None)
    assert (await elsewhere.opens(phone)).user == "alice"


def fail_records_after_the_session(watch: WatchedStore) -> None:
    """Let the store fail for records as soon as a session was stored."""
    stored = False

    async def note(call: Call) -> None:
        nonlocal stored
        stored = stored or call.stores_a_session

    watch.fail(lambda call: stored and not call.is_about_a_session)
    watch.after = note


async def visitor_of(process: Process) -> str | None:
    return None


async def cart_of(process: Process) -> str | None:
    return await process.visit("/write?cart=tea")


async def alice_of(process: Process) -> str | None:
    return (await process.ask("/enter?user=alice&cart=tea")).session_id


@for_each(
    ("begin", "path"),
    [
        (visitor_of, "/enter?user=alice&cart=tea"), (cart_of, "/enter?user=alice"),
        (alice_of, "/enter?user=alice"), (alice_of, "/renew"),
    ],
)  # fmt: skip
async def test_session_that_was_stored_is_told_though_its_record_was_not(
    make_native_site: MakeSite, begin: Any, path: str
) -> None:
    """The id has changed when the record of who has it fails: 200, and the browser hears of it."""
    site = await make_native_site(watched=True)
    former = await begin(site.here)
    site.clock.advance(1)
    fail_records_after_the_session(site.here.watch)
    answer = await site.here.ask(path, former)
    site.here.watch.recover()
    assert answer.status == 200
    assert answer.session_id != former
    assert await site.here.opens(answer.session_id) == Picture("alice", False, {"cart": "tea"})
    assert await site.here.count("alice") == 1


async def test_unstorable_login_is_told_where_store_may_fail(make_native_site: MakeSite) -> None:
    """With ``on-store-error: anonymous`` a new visitor does without a session, but not a login."""
    site = await make_native_site(watched=True, on_store_error="anonymous")
    site.here.watch.fail(stores_a_session)
    assert (await site.here.ask("/look")).status == 200
    answer = await site.here.ask("/enter?user=alice")
    site.here.watch.recover()
    assert (answer.status, answer.cookie(), await site.here.count("alice")) == (503, None, 0)


async def enter_with_too_much(request: Request) -> Response:
    await login(request, SecurityContext(user_id="alice"))
    request.state.session.set_attribute("profile", "x" * 9999)
    return PlainTextResponse("hello")


async def enter(request: Request) -> Response:
    await login(request, SecurityContext(user_id="alice"))
    return PlainTextResponse("hello")


async def who(request: Request) -> Response:
    return PlainTextResponse(str(context_of(request.state.session).user_id))


async def take_out(request: Request, error: Exception) -> Response:
    request.state.session.remove_attribute("profile")
    return PlainTextResponse("hello, without a profile", 500)


async def test_login_that_is_stored_at_the_second_attempt_makes_room_as_well() -> None:
    """The handler of an error mends a login that was too large: still one session, not two."""
    routes = [Route(f"/{page.__name__}", page) for page in (enter, enter_with_too_much, who)]
    concurrency = {"enabled": True, "max-sessions": 1, "strategy": "evict-oldest"}
    settings = {"enabled": True, "max-size": 4096, "concurrency": concurrency}
    app = enable_sessions(
        Starlette(routes=routes, exception_handlers={Exception: take_out}),
        config={"pyfly": {"session": settings}},
    )
    laptop = (await ask(app, "/enter")).session_id
    phone = (await ask(app, "/enter_with_too_much", swallow=True)).session_id
    assert (await ask(app, "/who", cookie=phone)).text == "alice"
    assert (await ask(app, "/who", cookie=laptop)).text == "None"


async def test_login_that_is_stored_at_the_second_attempt_needs_room_again() -> None:
    """With ``reject-new``, a browser that logged in between the two attempts has the place."""
    concurrency = {"enabled": True, "max-sessions": 1, "strategy": "reject-new"}
    settings = {"enabled": True, "max-size": 4096, "concurrency": concurrency}
    others: list[str | None] = []

    async def other_logs_in_first(request: Request, error: Exception) -> Response:
        if others:  # Called again, by what is outside of the filter.
            return PlainTextResponse("sorry", 500)
        others.append((await ask(app, "/enter")).session_id)
        return await take_out(request, error)

    routes = [Route(f"/{page.__name__}", page) for page in (enter, enter_with_too_much, who)]
    app = enable_sessions(
        Starlette(routes=routes, exception_handlers={Exception: other_logs_in_first}),
        config={"pyfly": {"session": settings}},
    )
    late = await ask(app, "/enter_with_too_much", swallow=True)
    assert (late.status, late.cookie()) == (500, None)
    assert (await ask(app, "/who", cookie=others[0])).text == "alice"


async def test_name_that_two_users_share_is_no_place_of_theirs() -> None:
    """The limit is that of the user who logs in, whatever else the session is found by."""

    async def enter_as(request: Request) -> Response:
        user = request.query_params["user"]
        await login(request, SecurityContext(user_id=user), aliases=["their-team"])
        return PlainTextResponse("hello")

    concurrency = {"enabled": True, "max-sessions": 1, "strategy": "reject-new"}
    app = enable_sessions(
        Starlette(routes=[Route("/enter_as", enter_as)]),
        config={"pyfly": {"session": {"enabled": True, "concurrency": concurrency}}},
    )
    users = ("alice", "bob", "alice")
    assert [(await ask(app, f"/enter_as?user={each}")).status for each in users] == [200, 200, 409]


class FailsOnce(InMemorySessionStore):
    """Fails at one call; before and after that it works."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_left = 0
        for name in ("get", "delete", "load_and_slide", "create_if_absent", "compare_and_swap",
                     "rename", "delete_moved"):  # fmt: skip
            setattr(self, name, partial(self._count, getattr(self, name)))

    async def _count(self, call: Callable[..., Any], *arguments: Any) -> Any:
        self.calls_left -= 1
        if self.calls_left == 0:
            raise SessionStoreUnavailableError("down", operation="any")
        return await call(*arguments)


@for_each("call", range(1, 9))
async def test_login_that_was_ended_before_it_was_stored_ends_though_the_store_fails_once(
    call: int,
) -> None:
    """Alice ends all her sessions, a login that is under way included."""
    store, entered, ended = FailsOnce(), asyncio.Event(), asyncio.Event()

    async def enter_slowly(request: Request) -> Response:
        await login(request, SecurityContext(user_id="alice"))
        entered.set()
        await ended.wait()
        return PlainTextResponse("hello")

    routes = [Route(f"/{page.__name__}", page) for page in (enter_slowly, who)]
    container = create_container(
        {
            "pyfly": {
                "session": {"enabled": True, "concurrency": {"enabled": True, "max-sessions": 5}}
            }
        }
    )
    container.session_store.override(providers.Object(store))
    app = enable_sessions(Starlette(routes=routes), container)
    visitor = (await ask(app, "/who")).session_id
    slow = Connection(app, "/enter_slowly", cookie=visitor, swallow=True).start()
    await entered.wait()
    await container.principal_sessions().end_all("alice")
    store.calls_left = call
    ended.set()
    answer = await slow.end()
    store.calls_left = 0
    told = answer.cookie()
    for cookie in (visitor, told.value if told else None):
        assert (await ask(app, "/who", cookie=cookie)).text == "None"
    assert await container.principal_sessions().count("alice") == 0
