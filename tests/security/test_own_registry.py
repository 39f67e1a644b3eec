"""A registry with the four methods of the original's limits logins."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pyfly_session import SecurityContext, SessionFilter, SessionRepository, TooManySessionsError
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.concurrency import (
    ConcurrencyControlPolicy,
    SessionConcurrencyController,
    SessionRegistration,
    SessionRegistry,
)
from pyfly_session.errors import SessionStoreUnavailableError, SessionTooLargeError
from pyfly_session.security import context_of, login
from pyfly_session.web.chain import WebFilterChainMiddleware
from tests.conftest import Clock
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Answer, Browser
from tests.web.pages import leave, rotate


class FourMethods:
    """As small as the original's."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, float]] = {}

    async def register(self, principal: str, session_id: str, created_at: float) -> None:
        self.known.setdefault(principal, {})[session_id] = created_at
        await asyncio.sleep(0)

    async def deregister(self, principal: str, session_id: str) -> None:
        self.known.get(principal, {}).pop(session_id, None)

    async def list_sessions(self, principal: str) -> list[tuple[str, float]]:
        await asyncio.sleep(0)
        return sorted(self.known.get(principal, {}).items(), key=lambda each: each[1])

    async def count(self, principal: str) -> int:
        return len(self.known.get(principal, {}))


async def enter(request: Request) -> PlainTextResponse:
    try:
        await login(request, SecurityContext(user_id="alice"))
    except TooManySessionsError:
        return PlainTextResponse("full")
    return PlainTextResponse("in")


async def who(session: Any) -> PlainTextResponse:
    return PlainTextResponse(str(context_of(session).user_id))


async def enter_slowly(request: Request) -> PlainTextResponse:
    checked: asyncio.Event = request.app.state.checked
    await checked.wait()
    return await enter(request)


class OneStep(FourMethods):
    """Counts and registers in one step; it has room for one."""

    async def register_limited(
        self, principal: str, session_id: str, created_at: float, **_: Any
    ) -> SessionRegistration:
        evicted = tuple(self.known.get(principal, ()))
        await self.register(principal, session_id, created_at)
        return SessionRegistration(accepted=True, evicted=evicted)


async def enter_with_too_much(request: Request) -> PlainTextResponse:
    await login(request, SecurityContext(user_id="alice"))
    request.state.session.set_attribute("profile", "x" * 3_000)
    return PlainTextResponse("in")


class House:
    """A site whose logins an application's own registry limits."""

    def __init__(
        self,
        clock: Clock,
        most: int,
        strategy: str,
        registry: FourMethods | None = None,
        *,
        pages: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        store = InMemorySessionStore(clock=clock)
        self.repository = SessionRepository(store, max_size=2_000, clock=clock, **options)
        self.registry = registry or FourMethods()
        controller = SessionConcurrencyController(
            self.registry,
            ConcurrencyControlPolicy(most, strategy),
            session_deleter=self.repository.principals.end,
        )
        site = Site.__new__(Site)
        site.filter = SessionFilter(store, repository=self.repository, concurrency=controller)
        known = {"enter": enter, "slowly": enter_slowly, "much": enter_with_too_much}
        self.app = site.app(**{**known, "leave": leave, "who": who, **(pages or {})})
        self.filter = site.filter

    def browser(self) -> Browser:
        return Browser(self.app)


async def texts(*answers: Any) -> list[str]:
    found: list[Answer] = await asyncio.gather(*answers)
    return [each.text for each in found]


def test_four_methods_are_a_registry() -> None:
    assert isinstance(FourMethods(), SessionRegistry)


@for_each("most", [1, 2])
async def test_the_oldest_make_room(clock: Clock, most: int) -> None:
    house = House(clock, most, "evict-oldest")
    browsers = [house.browser() for _ in range(4)]
    for browser in browsers:
        clock.advance(1)
        assert await texts(browser.get("/enter")) == ["in"]
    expected = ["None"] * (4 - most) + ["alice"] * most
    assert await texts(*(each.get("/who") for each in browsers)) == expected
    assert await house.registry.count("alice") == most


async def test_one_too_many_is_refused_until_another_leaves(clock: Clock) -> None:
    house = House(clock, 1, "reject-new")
    first, second = house.browser(), house.browser()
    assert await texts(first.get("/enter")) == ["in"]
    assert await texts(second.get("/enter")) == ["full"]
    assert await texts(first.get("/who")) == ["alice"]
    await first.get("/leave")
    assert await texts(second.get("/enter")) == ["in"]


async def test_to_log_in_again_takes_no_second_place(clock: Clock) -> None:
    house = House(clock, 1, "reject-new")
    browser = house.browser()
    for _ in range(3):
        clock.advance(60)
        assert await texts(browser.get("/enter")) == ["in"]
    assert await house.registry.count("alice") == 1


@for_each("strategy", ["evict-oldest", "reject-new"])
async def test_logins_that_meet_never_leave_too_many(clock: Clock, strategy: str) -> None:
    house = House(clock, 2, strategy)
    browsers = [house.browser() for _ in range(6)]
    await texts(*(each.get("/enter") for each in browsers))
    alive = await texts(*(each.get("/who") for each in browsers))
    assert alive.count("alice") <= 2
    if strategy == "evict-oldest":
        assert alive.count("alice") == 2


async def test_without_a_limit_all_are_noted(clock: Clock) -> None:
    house = House(clock, -1, "evict-oldest")
    await texts(*(house.browser().get("/enter") for _ in range(3)))
    assert await house.registry.count("alice") == 3


@for_each("strategy", ["evict-oldest", "reject-new"])
async def test_login_that_is_stored_at_the_second_attempt_takes_a_place(
    clock: Clock, strategy: str
) -> None:
    """It was too large and was mended; a browser that logged in between the two is counted too."""
    house = House(clock, 1, strategy)
    other = house.browser()

    async def mend(request: Request, error: Exception) -> PlainTextResponse:
        clock.advance(1)
        await other.get("/enter")
        request.state.session.remove_attribute("profile")
        return PlainTextResponse("in, without a profile")

    app = Starlette(
        routes=[Route("/much", enter_with_too_much)],
        exception_handlers={Exception: mend},
        middleware=[Middleware(WebFilterChainMiddleware, filters=[house.filter])],
    )
    late = Browser(app)
    await late.get("/much", swallow=True)
    late.app = house.app
    alive = await texts(other.get("/who"), late.get("/who"))
    assert alive == (["None", "alice"] if strategy == "evict-oldest" else ["alice", "None"])
    assert await house.registry.count("alice") == 1


@for_each("most", [1, 2])
async def test_slow_login_that_began_first_is_the_latest(clock: Clock, most: int) -> None:
    """A password's hash takes a while, and another browser logs in meanwhile."""
    house = House(clock, most, "evict-oldest")
    house.app.state.checked = asyncio.Event()
    slow, others = house.browser(), [house.browser() for _ in range(most)]
    under_way = asyncio.create_task(slow.get("/slowly"))
    for other in others:
        clock.advance(1)
        await other.get("/enter")
    house.app.state.checked.set()
    await under_way
    alive = await texts(*(each.get("/who") for each in (slow, *others)))
    assert alive == ["alice", "None", *["alice"] * (most - 1)]
    assert await house.registry.count("alice") == most


@for_each("kind", [FourMethods, OneStep])
async def test_login_that_fails_ends_nobody(clock: Clock, kind: type[FourMethods]) -> None:
    house = House(clock, 1, "evict-oldest", kind())
    older, browser = house.browser(), house.browser()
    await older.get("/enter")
    before = await house.registry.list_sessions("alice")
    with pytest.raises(SessionTooLargeError):
        await browser.get("/much")
    assert await texts(older.get("/who")) == ["alice"]
    assert await house.registry.list_sessions("alice") == before
    clock.advance(1)
    await browser.get("/enter")
    assert await texts(older.get("/who"), browser.get("/who")) == ["None", "alice"]


@for_each("later", [0, 1, -1])
async def test_login_that_another_one_overtakes_exceeds_no_limit(later: int) -> None:
    """The other is counted and stored between the look at the registry and the note in it."""
    ended: list[str] = []
    overtaking: list[float] = [100 + later]

    class Overtaken(FourMethods):
        async def register(self, principal: str, session_id: str, created_at: float) -> None:
            if overtaking:
                assert await controller.on_login("alice", "other", overtaking.pop())
            await super().register(principal, session_id, created_at)

    async def end(session_id: str) -> None:
        ended.append(session_id)

    registry = Overtaken()
    policy = ConcurrencyControlPolicy(1, "evict-oldest")
    controller = SessionConcurrencyController(registry, policy, session_deleter=end)
    assert await controller.on_login("alice", "mine", 100)
    assert await registry.count("alice") == 1
    assert [each for each, _ in await registry.list_sessions("alice")] + ended in (
        ["mine", "other"],
        ["other", "mine"],
    )


async def test_one_that_cannot_be_ended_is_tried_again_at_the_next_login(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, failures = InMemorySessionStore.delete_moved, ["down"]

    async def delete_moved(store: InMemorySessionStore, session_id: str) -> str | None:
        if second.cookie is None or not failures:
            return await really(store, session_id)
        raise SessionStoreUnavailableError(failures.pop(), operation="delete")

    monkeypatch.setattr(InMemorySessionStore, "delete_moved", delete_moved)
    house = House(clock, 1, "evict-oldest")
    first, second, third = (house.browser() for _ in range(3))
    await first.get("/enter")
    await second.get("/who")
    clock.advance(1)
    assert await texts(second.get("/enter")) == ["in"]
    assert failures == []
    clock.advance(1)
    assert await texts(third.get("/enter")) == ["in"]
    assert await texts(first.get("/who"), second.get("/who"), third.get("/who")) == [
        "None", "None", "alice",
    ]  # fmt: skip


async def test_one_that_cannot_be_ended_is_the_first_to_make_room_next(clock: Clock) -> None:
    """Also where the registry counts by itself, and tells nothing of those that were here."""
    registry = OneStep()

    async def down(session_id: str) -> None:
        raise SessionStoreUnavailableError("down", operation="delete")

    policy = ConcurrencyControlPolicy(1)
    controller = SessionConcurrencyController(registry, policy, session_deleter=down)
    for session_id in ("first", "second"):
        clock.advance(1)
        assert await controller.on_login("alice", session_id, clock())
    (earlier, before), (later, after) = await registry.list_sessions("alice")
    assert (earlier, later, before < after) == ("first", "second", True)


@for_each("page", ["/rotate", "/enter"])
async def test_registry_that_fails_once_the_session_is_stored_logs_nobody_out(
    clock: Clock, page: str
) -> None:
    class Flaky(FourMethods):
        fails_from = 0

        async def list_sessions(self, principal: str) -> list[tuple[str, float]]:
            self.fails_from -= 1
            if self.fails_from == 0:
                raise ConnectionError("the registry is down")
            return await super().list_sessions(principal)

    for call in range(1, 9):
        registry = Flaky()
        house = House(clock, 5, "evict-oldest", registry=registry, pages={"rotate": rotate})
        browser = house.browser()
        await browser.get("/enter")
        registry.fails_from = call
        await browser.get(page, swallow=True)
        registry.fails_from = 0
        assert await texts(browser.get("/who")) == ["alice"]
