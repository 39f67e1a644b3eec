"""A registry of the application's own hears of every change of id and every end, at the commit."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from pyfly_session import HttpSession, SecurityContext, SessionStoreUnavailableError
from pyfly_session.security import login
from tests.conftest import Clock
from tests.security.test_own_registry import FourMethods, House, texts
from tests.support.cases import for_each
from tests.web.driver import Browser
from tests.web.pages import others, rotate


class Both:
    """Two moments of one request: it waits in between."""

    def __init__(self) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def wait(self, _: Request | None = None) -> None:
        self.reached.set()
        await self.go_on.wait()


async def enter_as(request: Request) -> None:
    await login(request, SecurityContext(user_id=request.query_params["user"]))


async def enter_and_rotate(request: Request) -> None:
    await login(request, SecurityContext(user_id="alice"))
    request.state.session.rotate_id()


async def enter_and_forget(request: Request) -> None:
    await login(request, SecurityContext(user_id="alice"))
    request.state.session.clear()


async def enter_by_hand(session: HttpSession) -> None:
    session.authenticate("alice")


async def let_go(session: HttpSession) -> None:
    session.authenticate(None)


async def clear(session: HttpSession) -> None:
    session.clear()


async def rotate_with_too_much(session: HttpSession) -> None:
    session.rotate_id()
    session.set_attribute("profile", "x" * 3_000)


PAGES = {
    "as": enter_as, "turned": enter_and_rotate, "forgotten": enter_and_forget, "clear": clear,
    "by-hand": enter_by_hand, "let-go": let_go, "rotate": rotate, "others": others,
    "rotate-much": rotate_with_too_much,
}  # fmt: skip


def house_of(clock: Clock, strategy: str = "reject-new", **options: Any) -> House:
    pages = {**PAGES, **options.pop("pages", {})}
    return House(clock, options.pop("most", 1), strategy, pages=pages, **options)


def noted(house: House, user: str = "alice") -> list[str]:
    return list(house.registry.known.get(user, {}))


async def test_change_of_id_is_noted_and_found_by_a_later_eviction(clock: Clock) -> None:
    house = house_of(clock, "evict-oldest")
    first, second = house.browser(), house.browser()
    await first.get("/enter")
    await first.get("/rotate")
    assert noted(house) == [first.cookie]
    clock.advance(301)  # Nobody knows any more where the former id has led.
    await second.get("/enter")
    assert await texts(first.get("/who"), second.get("/who")) == ["None", "alice"]
    assert noted(house) == [second.cookie]


async def test_of_two_changes_of_id_that_which_won_is_noted(clock: Clock) -> None:
    both = Both()

    async def rotate_slowly(session: HttpSession) -> None:
        await both.wait()
        session.rotate_id()

    house = house_of(clock, pages={"slowly": rotate_slowly})
    browser = house.browser()
    await browser.get("/enter")
    slow = Browser(house.app, browser.cookie)
    under_way = asyncio.create_task(slow.get("/slowly"))
    await both.reached.wait()
    await browser.get("/rotate")
    both.go_on.set()
    await under_way
    assert noted(house) == [browser.cookie]


async def test_change_of_id_that_fails_leaves_the_former_id(clock: Clock) -> None:
    house = house_of(clock)
    browser = house.browser()
    await browser.get("/enter")
    await browser.get("/rotate-much", swallow=True)
    assert noted(house) == [browser.cookie]
    assert await texts(browser.get("/who")) == ["alice"]


@for_each("way", ["/leave", "/clear", "/let-go", "/as?user=bob", "/rotate /leave"])
async def test_place_is_free_when_its_user_has_gone(clock: Clock, way: str) -> None:
    house = house_of(clock)
    browser, elsewhere = house.browser(), house.browser()
    await browser.get("/enter")
    for path in way.split():
        await browser.get(path)
    assert noted(house) == []
    assert noted(house, "bob") == ([browser.cookie] if "bob" in way else [])
    assert await texts(elsewhere.get("/enter")) == ["in"]


@for_each("hash_ids", [False, True])
async def test_logout_through_a_former_id_frees_the_place(clock: Clock, hash_ids: bool) -> None:
    house = house_of(clock, hash_ids=hash_ids)
    browser = house.browser()
    await browser.get("/rotate")
    late = Browser(house.app, browser.cookie)
    await browser.get("/enter")
    await late.get("/leave")
    assert await texts(browser.get("/who")) == ["None"]
    assert noted(house) == []


async def test_logout_that_began_before_the_login_frees_the_place(clock: Clock) -> None:
    both = Both()

    async def leave_slowly(session: HttpSession) -> None:
        await both.wait()
        session.invalidate()

    house = house_of(clock, pages={"slowly": leave_slowly})
    browser = house.browser()
    await browser.get("/rotate")
    under_way = asyncio.create_task(Browser(house.app, browser.cookie).get("/slowly"))
    await both.reached.wait()
    await browser.get("/enter")
    both.go_on.set()
    await under_way
    assert await texts(browser.get("/who")) == ["None"]
    assert noted(house) == []


async def test_logout_that_the_store_refuses_keeps_the_place(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = house_of(clock)
    browser, elsewhere = house.browser(), house.browser()
    await browser.get("/enter")

    async def down(*_: Any) -> None:
        raise SessionStoreUnavailableError("down", operation="delete")

    with monkeypatch.context() as patch:
        patch.setattr(house.repository.capable_store, "delete_moved", down)
        assert (await browser.get("/leave")).status == 503
    assert noted(house) == [browser.cookie]
    assert await texts(elsewhere.get("/enter"), browser.get("/who")) == ["full", "alice"]


@for_each("hash_ids", [False, True])
async def test_sessions_that_others_end_free_their_places(clock: Clock, hash_ids: bool) -> None:
    house = house_of(clock, most=2, hash_ids=hash_ids)
    browser, elsewhere = house.browser(), house.browser()
    await browser.get("/enter")
    await elsewhere.get("/enter")
    await elsewhere.get("/others")
    assert noted(house) == [elsewhere.cookie]
    assert elsewhere.cookie is not None
    await house.repository.principals.end(elsewhere.cookie)
    assert noted(house) == []


async def test_session_that_expired_takes_no_place(clock: Clock) -> None:
    house = house_of(clock, ttl=600)
    browser, elsewhere = house.browser(), house.browser()
    await browser.get("/enter")
    clock.advance(599)
    await browser.get("/who")
    clock.advance(599)  # It is old, and still in use.
    assert await texts(elsewhere.get("/enter")) == ["full"]
    clock.advance(1)
    assert await texts(elsewhere.get("/enter")) == ["in"]
    assert noted(house) == [elsewhere.cookie]


async def test_new_id_that_is_struck_out_before_it_is_stored_is_noted_again(clock: Clock) -> None:
    """A login elsewhere found no session under it yet."""

    class Struck(FourMethods):
        strikes = False

        async def register(self, principal: str, session_id: str, created_at: float) -> None:
            await super().register(principal, session_id, created_at)
            if self.strikes:
                self.strikes = False
                await self.deregister(principal, session_id)

    registry = Struck()
    house = house_of(clock, registry=registry)
    browser = house.browser()
    await browser.get("/enter")
    registry.strikes = True
    await browser.get("/rotate")
    assert noted(house) == [browser.cookie]


async def test_session_that_ends_while_its_new_id_is_noted_stays_struck_out(clock: Clock) -> None:
    house: House

    class Ending(FourMethods):
        ends = False

        async def list_sessions(self, principal: str) -> list[tuple[str, float]]:
            listed = await super().list_sessions(principal)
            if self.ends and len(listed) == 2:
                # Under the new one it is stored by now.
                self.ends = False
                for session_id, _ in listed:
                    await house.repository.principals.end(session_id)
                return await super().list_sessions(principal)
            return listed

    registry = Ending()
    house = house_of(clock, registry=registry)
    browser = house.browser()
    await browser.get("/enter")
    registry.ends = True
    await browser.get("/rotate")
    assert not registry.ends
    assert noted(house) == []


async def test_login_that_changes_the_id_again_makes_room_under_the_last(clock: Clock) -> None:
    house = house_of(clock, "evict-oldest")
    first, second = house.browser(), house.browser()
    await first.get("/enter")
    await second.get("/turned")
    assert await texts(first.get("/who"), second.get("/who")) == ["None", "alice"]
    assert noted(house) == [second.cookie]


async def test_login_that_is_taken_back_takes_no_place(clock: Clock) -> None:
    house = house_of(clock, "evict-oldest")
    first, second = house.browser(), house.browser()
    await first.get("/enter")
    await second.get("/forgotten")
    assert await texts(first.get("/who"), second.get("/who")) == ["alice", "None"]
    assert noted(house) == [first.cookie]


async def test_login_by_hand_is_noted(clock: Clock) -> None:
    house = house_of(clock)
    browser = house.browser()
    await browser.get("/by-hand")
    assert noted(house) == [browser.cookie]


async def test_cancelled_login_takes_no_place(clock: Clock) -> None:
    both = Both()

    class Slow(FourMethods):
        async def register(self, principal: str, session_id: str, created_at: float) -> None:
            await super().register(principal, session_id, created_at)
            await both.wait()

    house = house_of(clock, registry=Slow())
    under_way = asyncio.create_task(house.browser().get("/enter"))
    await both.reached.wait()
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    await house.repository.drain()
    assert noted(house) == []


class Broken(FourMethods):
    """Fails in one method, if it is told to."""

    fails = ""

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "fails"):
            raise RuntimeError(name)
        return super().__getattribute__(name)


async def test_registry_that_fails_keeps_nobody_logged_in(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    house = house_of(clock, registry=Broken())
    browser = house.browser()
    await browser.get("/enter")
    house.registry.fails = "deregister"  # type: ignore[attr-defined]
    assert (await browser.get("/leave")).status == 200
    assert await texts(browser.get("/who")) == ["None"]
    assert "the application's registry still lists a session" in caplog.text


@for_each("method", ["register", "list_sessions"])
async def test_registry_that_fails_lets_nobody_in(clock: Clock, method: str) -> None:
    house = house_of(clock, registry=Broken())
    browser = house.browser()
    house.registry.fails = method  # type: ignore[attr-defined]
    await browser.get("/enter", swallow=True)
    assert await texts(browser.get("/who")) == ["None"]
