"""`update_attribute`: changes of one attribute by many requests, of which none is lost."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, Literal

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from pyfly_session import (
    HttpSession,
    SessionEncodingError,
    errors,
)
from tests.support.cases import for_each
from tests.web.conftest import EACH_NATIVE_STORE, EACH_STORE, Site
from tests.web.driver import Connection, ask

KNOWN = "a" * 32
Change = Callable[[HttpSession], object]


def one_more(visits: int | None) -> int:
    return (visits or 0) + 1


async def visit(request: Request) -> Response:
    return PlainTextResponse(str(request.state.session.update_attribute("visits", one_more)))


async def met(site: Site, mine: Change, theirs: Change | None = None) -> dict[str, Any] | None:
    """Change a session in one request while another one stores its change; return what is stored.

    Both have loaded the session before either of them changes it.
    """

    async def change(session: Any) -> None:
        mine(session)
        if theirs is not None:
            await ask(site.app(other=other), "/other", cookie=KNOWN)

    async def other(session: Any) -> None:
        assert theirs is not None
        theirs(session)

    assert (await ask(site.app(change=change), "/change", cookie=KNOWN)).status == 200
    return await site.stored(KNOWN)


async def test_the_new_value_is_returned_and_seen_at_once(site: Site) -> None:
    async def page(request: Request) -> None:
        session = request.state.session
        assert session.update_attribute("visits", one_more) == 1
        assert session.update_attribute("visits", one_more) == 2
        assert (session.get_attribute("visits"), request.session["visits"]) == (2, 2)
        assert session.has_attribute("visits")
        assert session.modified

    answer = await ask(site.app(page=page), "/page")
    assert await site.stored(answer.session_id) == {"visits": 2}


async def test_the_function_gets_the_value_or_none(site: Site) -> None:
    seen: list[tuple[str, Any]] = []

    def note(name: str, value: Any) -> str:
        seen.append((name, value))
        return "new"

    def update(session: HttpSession) -> None:
        for name in ("known", "absent"):
            session.update_attribute(name, functools.partial(note, name))

    await site.seed(KNOWN, known="old")
    assert await met(site, update) == {"known": "new", "absent": "new"}
    assert set(seen) == {("known", "old"), ("absent", None)}


@EACH_STORE
async def test_it_is_applied_to_what_another_request_stored(site: Site) -> None:
    """On a store with only the four verbs, too, as long as no call is in the middle of another.

    The clock stands still: both requests write the same value at the same moment.
    """
    await site.seed(KNOWN, visits=10)

    def visit(session: HttpSession) -> None:
        session.update_attribute("visits", one_more)

    assert await met(site, visit, visit) == {"visits": 12}


@for_each("nodes", [1, 2])
@EACH_NATIVE_STORE
async def test_a_hundred_visits_at_once_are_a_hundred(site: Site, nodes: int) -> None:
    everybody = asyncio.Barrier(100)

    async def meet(request: Request) -> Response:
        await everybody.wait()
        return await visit(request)

    await site.seed(KNOWN)
    sites = [site, site.another_node()][:nodes]
    apps = [site.app(meet=meet) for site in sites] * (100 // nodes)
    answers = await asyncio.gather(*(ask(app, "/meet", cookie=KNOWN, swallow=True) for app in apps))
    assert {answer.status for answer in answers} == {200}
    assert await site.stored(KNOWN) == {"visits": 100}


async def test_an_update_before_the_head_and_one_after_it_count_once_each(site: Site) -> None:
    async def page(session: Any) -> Response:
        session.update_attribute("visits", one_more)

        async def body() -> AsyncIterator[str]:
            yield "a"
            await ask(app, "/visit", cookie=KNOWN)
            session.update_attribute("visits", one_more)

        return StreamingResponse(body())

    await site.seed(KNOWN)
    app = site.app(page=page, visit=visit)
    await ask(app, "/page", cookie=KNOWN)
    assert await site.stored(KNOWN) == {"visits": 3}


@for_each("where", ["before", "after"])
@EACH_STORE
async def test_a_request_that_is_cancelled_while_it_commits_counts_once(
    site: Site, where: Literal["before", "after"]
) -> None:
    """What is stored by a cancelled commit is not applied again by what finishes it."""
    await site.seed(KNOWN)
    app = site.app(visit=visit)
    site.probe.calls.clear()
    await ask(app, "/visit", cookie=KNOWN)
    calls = len(site.probe.calls)
    for number in range(site.probe.loads + 1, calls + 1):
        await site.seed(KNOWN)
        hold = site.probe.hold(number, where)
        connection = Connection(app, "/visit", cookie=KNOWN).start()
        await hold.reached.wait()
        await connection.cancel()
        hold.release.set()
        await site.filter.repository.drain()
        assert await site.stored(KNOWN) == {"visits": 1}, f"call {number}"


async def test_it_follows_a_login_that_changed_the_id(site: Site) -> None:
    ids: list[str] = []

    async def rotate(session: Any) -> None:
        session.update_attribute("visits", one_more)
        session.rotate_id()
        ids.append(session.id)

    async def slow(session: Any) -> None:
        session.update_attribute("visits", one_more)
        await ask(site.app(rotate=rotate), "/rotate", cookie=KNOWN)

    await site.visit(slow)
    assert await site.stored(ids[0]) == {"visits": 2}


def add(item: Any) -> Callable[[Any], list[Any]]:
    return lambda cart: [*(cart or []), item]


def several(session: HttpSession) -> None:
    for item in ("a", "b", "c"):
        session.update_attribute("cart", add(item))


def set_then_update(session: HttpSession) -> None:
    session.set_attribute("cart", ["set"])
    session.update_attribute("cart", add("updated"))


def update_then_set(session: HttpSession) -> None:
    session.update_attribute("cart", add("updated"))
    session.set_attribute("cart", ["set"])


def update_then_remove(session: HttpSession) -> None:
    session.update_attribute("cart", add("updated"))
    session.remove_attribute("cart")


def remove_then_update(session: HttpSession) -> None:
    session.remove_attribute("cart")
    session.update_attribute("cart", add("updated"))


def change_then_update(session: HttpSession) -> None:
    session.get_attribute("cart").append("changed")
    session.update_attribute("cart", add("updated"))


def update_then_change(session: HttpSession) -> None:
    session.update_attribute("cart", add("updated")).append("changed")


def update_with_a_date_then_change(session: HttpSession) -> None:
    """Of a date no cheap picture can be taken, by which a change in place would be seen."""
    cart = session.update_attribute("cart", lambda cart: [*cart, datetime(2020, 1, 1)])
    cart.append("changed")
    del cart[-2]


def update_two(session: HttpSession) -> None:
    session.update_attribute("cart", add("updated"))
    session.update_attribute("visits", one_more)


# What is stored by that request alone, and if another one adds an item to the cart meanwhile.
# As everywhere, the last writer of an attribute wins who sets it, or changes it in place.
COMBINATIONS: dict[Change, tuple[dict[str, Any], dict[str, Any]]] = {
    several: ({"cart": ["old", "a", "b", "c"]}, {"cart": ["old", "theirs", "a", "b", "c"]}),
    set_then_update: ({"cart": ["set", "updated"]}, {"cart": ["set", "updated"]}),
    update_then_set: ({"cart": ["set"]}, {"cart": ["set"]}),
    update_then_remove: ({}, {}),
    remove_then_update: ({"cart": ["updated"]}, {"cart": ["updated"]}),
    change_then_update: (
        {"cart": ["old", "changed", "updated"]},
        {"cart": ["old", "changed", "updated"]},
    ),
    update_then_change: (
        {"cart": ["old", "updated", "changed"]},
        {"cart": ["old", "updated", "changed"]},
    ),
    update_with_a_date_then_change: ({"cart": ["old", "changed"]}, {"cart": ["old", "changed"]}),
    update_two: (
        {"cart": ["old", "updated"], "visits": 1},
        {"cart": ["old", "theirs", "updated"], "visits": 1},
    ),
}


@for_each("mine", COMBINATIONS)
async def test_it_goes_together_with_other_changes(site: Site, mine: Change) -> None:
    alone, together = COMBINATIONS[mine]
    await site.seed(KNOWN, cart=["old"])
    assert await met(site, mine) == alone
    await site.seed(KNOWN, cart=["old"])

    def theirs(session: HttpSession) -> None:
        session.update_attribute("cart", add("theirs"))

    assert await met(site, mine, theirs) == together


async def test_function_that_changes_value_in_place_works_as_well(site: Site) -> None:
    def update(session: HttpSession) -> None:
        def append(cart: list[str]) -> list[str]:
            cart.append("one more")
            return cart

        session.update_attribute("cart", append)
        assert session.get_attribute("cart") == ["old", "one more"]

    await site.seed(KNOWN, cart=["old"])
    assert await met(site, update, update) == {"cart": ["old", "one more", "one more"]}


class TestRefused:
    @for_each("shape", ["function", "partial", "lambda", "object"])
    def test_coroutine_functions(self, shape: str) -> None:
        async def one_more_later(visits: Any) -> int:
            return one_more(visits)

        class Later:
            async def __call__(self, visits: Any) -> int:
                return one_more(visits)

        functions: dict[str, Any] = {
            "function": one_more_later, "partial": functools.partial(one_more_later),
            "lambda": lambda visits: one_more_later(visits), "object": Later(),
        }  # fmt: skip
        session = HttpSession(KNOWN, {"visits": 1})
        with pytest.raises(TypeError, match="coroutine") as caught:
            session.update_attribute("visits", functions[shape])
        assert "'visits'" in str(caught.value)
        assert session.get_attribute("visits") == 1
        assert not session.modified


class TestFunctionThatFails:
    async def test_it_raises_where_it_is_called_and_changes_nothing(self, site: Site) -> None:
        def spoil(cart: list[str]) -> list[str]:
            cart.append("spoilt")
            raise ValueError("sold out")

        async def page(session: Any) -> Response:
            with pytest.raises(ValueError, match="sold out"):
                session.update_attribute("cart", spoil)
            with pytest.raises(ValueError, match="sold out"):
                session.update_attribute("other", lambda value: spoil([]))
            assert not session.modified
            assert not session.has_attribute("other")
            return PlainTextResponse(str(session.get_attribute("cart")))

        answer = await site.visit(page, cart=["old"])
        assert (answer.status, answer.text) == (200, "['old']")
        assert await site.stored(KNOWN) == {"cart": ["old"]}
        assert "compare_and_swap" not in site.probe.names

    async def test_it_keeps_the_updates_before_it(self, site: Site) -> None:
        def fail(visits: int) -> int:
            raise ValueError("sold out")

        def update(session: HttpSession) -> None:
            session.update_attribute("visits", one_more)
            with pytest.raises(ValueError, match="sold out"):
                session.update_attribute("visits", fail)

        await site.seed(KNOWN)
        assert await met(site, update) == {"visits": 1}

    @staticmethod
    def take_one(stock: int) -> int:
        if not stock:
            raise ValueError("sold out")
        return stock - 1

    async def test_one_that_raises_at_the_commit_only_is_answered_409(self, site: Site) -> None:
        """The application sold what another request had sold before."""

        async def buy(session: Any) -> Response:
            session.set_attribute("bought", True)
            assert session.update_attribute("stock", self.take_one) == 0
            session.rotate_id()
            await ask(site.app(sell=sell), "/sell", cookie=KNOWN)
            return PlainTextResponse("thank you")

        async def sell(session: Any) -> Response:
            session.update_attribute("stock", self.take_one)
            return PlainTextResponse("thank you")

        answer = await site.visit(buy, stock=1)
        assert answer.status == 409
        assert "'stock'" in answer.text
        assert "thank you" not in answer.text
        assert await site.stored(KNOWN) == {"stock": 0}
        cookie = answer.cookie()
        assert cookie is None or cookie.value == KNOWN

    async def test_after_the_head_the_server_is_told(self, site: Site) -> None:

        async def buy(session: Any) -> Response:

            async def body() -> AsyncIterator[str]:
                yield "thank you"
                session.update_attribute("stock", self.take_one)
                await ask(app, "/sell", cookie=KNOWN)

            return StreamingResponse(body())

        async def sell(session: Any) -> Response:
            session.update_attribute("stock", self.take_one)
            return PlainTextResponse("thank you")

        await site.seed(KNOWN, stock=1)
        app = site.app(buy=buy, sell=sell)
        answer = await ask(app, "/buy", cookie=KNOWN, swallow=True)
        assert answer.status == 200
        assert isinstance(answer.error, errors.SessionUpdateError)
        assert (answer.error.attribute, str(answer.error.__cause__)) == ("stock", "sold out")
        assert await site.stored(KNOWN) == {"stock": 0}

    async def test_others_that_commit_together_with_it_are_saved(self, site: Site) -> None:
        """Writers of one session in one process may be stored by one swap."""
        everybody = asyncio.Barrier(10)

        async def buy(session: Any) -> Response:
            await everybody.wait()
            session.update_attribute("stock", self.take_one)
            return PlainTextResponse("thank you")

        await site.seed(KNOWN, stock=4)
        app = site.app(buy=buy)
        answers = await asyncio.gather(
            *(ask(app, "/buy", cookie=KNOWN, swallow=True) for _ in range(10))
        )
        assert sorted(each.status for each in answers) == [200] * 4 + [409] * 6
        assert await site.stored(KNOWN) == {"stock": 0}


class TestUnencodable:
    async def test_the_attribute_is_named(self, site: Site) -> None:
        async def page(session: Any) -> None:
            session.update_attribute("stock", lambda stock: object())

        await self.expect_refusal(site, site.app(page=page))

    async def test_nothing_is_saved_if_it_is_so_at_the_commit_only(self, site: Site) -> None:
        def spoil(stock: int) -> Any:
            return stock - 1 if stock == 1 else object()

        async def page(session: Any) -> None:
            session.set_attribute("note", "never")
            session.update_attribute("stock", spoil)
            await ask(site.app(other=other), "/other", cookie=KNOWN)

        async def other(session: Any) -> None:
            session.set_attribute("stock", 5)

        await self.expect_refusal(site, site.app(page=page), stock=5)

    @staticmethod
    async def expect_refusal(site: Site, app: Starlette, stock: int = 1) -> None:
        await site.seed(KNOWN, stock=1)
        answer = await ask(app, "/page", cookie=KNOWN, swallow=True)
        assert isinstance(answer.error, SessionEncodingError)
        assert (answer.error.attribute, answer.status) == ("stock", 500)
        assert await site.stored(KNOWN) == {"stock": stock}
