"""`Stored.update`: a change of a model by many requests at once, of which none is lost."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel, Field

from pyfly_session import HttpSession, SessionEncodingError, WebFilterChainMiddleware
from pyfly_session.errors import SessionDecodingError
from pyfly_session.fastapi import Session, Stored
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Browser, ask

KNOWN = "a" * 32


class Basket(BaseModel):
    items: list[str] = []
    left: int = Field(default=10, ge=0)

    def put(self, item: str) -> Basket:
        """Return a basket with one more item in it."""
        if not self.left:
            raise ValueError("the basket is full")
        return Basket(items=[*self.items, item], left=self.left - 1)


basket = Stored(Basket, "basket", default=Basket)
CurrentBasket = Annotated[Basket, Depends(basket)]


def app_of(site: Site) -> FastAPI:
    app = FastAPI()

    @app.post("/put/{item}")
    async def put(item: str, session: Session) -> Basket:
        return basket.update(session, lambda found: found.put(item))

    @app.post("/put-threaded/{item}")
    def put_threaded(item: str, session: Session) -> Basket:
        return basket.update(session, lambda found: found.put(item))

    @app.post("/look-and-put/{item}")
    async def look_and_put(item: str, session: Session, found: CurrentBasket) -> Any:
        def put(known: dict[str, Any]) -> dict[str, Any]:
            return {**known, "items": [*known["items"], item]}

        return session.update_attribute("basket", put)

    @app.get("/show")
    async def show(found: CurrentBasket) -> Basket:
        return found

    app.add_middleware(WebFilterChainMiddleware, filters=[site.filter])
    return app


@for_each("path", ["/put", "/put-threaded"])
async def test_the_new_model_is_returned_and_saved_as_plain_json(site: Site, path: str) -> None:
    browser = Browser(app_of(site))
    await browser.get(f"{path}/lamp", method="POST")
    answer = await browser.get(f"{path}/rope", method="POST")
    assert answer.text == '{"items":["lamp","rope"],"left":8}'
    assert (await browser.get("/show")).text == answer.text
    assert await site.stored(browser.cookie) == {"basket": {"items": ["lamp", "rope"], "left": 8}}


async def test_the_default_that_the_request_has_looked_at_is_what_is_changed(site: Site) -> None:
    """The store has no such attribute, and nobody else changes it: no conflict."""
    await site.seed(KNOWN)
    answer = await ask(app_of(site), "/look-and-put/lamp", method="POST", cookie=KNOWN)
    assert answer.status == 200
    assert await site.stored(KNOWN) == {"basket": {"items": ["lamp"], "left": 10}}


async def test_of_ten_requests_at_once_none_loses_the_item_of_another(site: Site) -> None:
    loaded = asyncio.Barrier(10)

    async def meet(item: str, session: Session) -> Basket:
        await loaded.wait()
        return basket.update(session, lambda found: found.put(item))

    await site.seed(KNOWN)
    apps = [app_of(site), app_of(site.another_node())]
    for app in apps:
        app.post("/meet/{item}")(meet)
    answers = await asyncio.gather(
        *(
            ask(apps[n % 2], f"/meet/{n}", method="POST", cookie=KNOWN, swallow=True)
            for n in range(10)
        )
    )
    assert {each.status for each in answers} == {200}
    stored: Any = await site.stored(KNOWN)
    assert sorted(stored["basket"]["items"]) == [str(n) for n in range(10)]
    assert stored["basket"]["left"] == 0


def session_with(**stored: Any) -> HttpSession:
    return HttpSession(KNOWN, {"basket": stored} if stored else {})


def test_the_model_that_was_updated_is_the_one_that_everybody_gets_then() -> None:
    session = session_with(items=["lamp"])
    former = basket.get(session)
    updated = basket.update(session, lambda found: found.put("rope"))
    assert basket.get(session) is updated
    assert session.get_attribute("basket") is updated
    assert former is not updated
    assert updated.items == ["lamp", "rope"]


def test_a_change_in_place_before_it_is_kept() -> None:
    session = session_with(items=["lamp"])
    found = basket.get(session)
    assert found is not None
    found.items.append("rope")
    assert basket.update(session, lambda found: found.put("bell")).items == ["lamp", "rope", "bell"]


def test_a_function_may_change_the_model_and_return_it() -> None:
    def put(found: Basket) -> Basket:
        found.items.append("rope")
        return found

    session = session_with(items=["lamp"])
    assert basket.update(session, put).items == ["lamp", "rope"]
    assert session.modified


def test_without_a_default_the_function_gets_none() -> None:
    seen: list[Basket | None] = []

    def create(found: Basket | None) -> Basket:
        seen.append(found)
        return Basket(items=["lamp"])

    session = session_with()
    assert Stored(Basket, "basket").update(session, create).items == ["lamp"]
    assert set(map(type, seen)) == {type(None)}


def test_what_is_no_such_model_counts_as_absent(caplog: pytest.LogCaptureFixture) -> None:
    session = session_with(items=7)
    with caplog.at_level(logging.WARNING):
        assert basket.update(session, lambda found: found.put("lamp")).items == ["lamp"]
    assert "session attribute 'basket' is no Basket: " in caplog.text


def test_a_strict_one_raises_instead() -> None:
    strict = Stored(Basket, "basket", strict=True)
    with pytest.raises(SessionDecodingError, match="'basket' is no Basket"):
        strict.update(session_with(items=7), lambda found: Basket())


def test_a_function_that_fails_changes_nothing() -> None:
    session = session_with(items=["lamp"], left=0)
    with pytest.raises(ValueError, match="the basket is full"):
        basket.update(session, lambda found: found.put("rope"))
    assert not session.modified


def test_coroutine_functions_are_refused() -> None:
    async def put(found: Basket) -> Basket:
        return found

    update: Any = basket.update
    with pytest.raises(TypeError, match="coroutine"):
        update(session_with(), put)


async def test_a_result_that_is_no_such_model_is_refused_by_name(site: Site) -> None:
    await site.seed(KNOWN, basket={"items": ["lamp"], "left": 9})
    app = app_of(site)

    @app.post("/spoil")
    async def spoil(session: Session) -> str:
        basket.update(session, lambda found: Basket.model_construct(items=[], left=-1))
        return "ok"

    answer = await ask(app, "/spoil", method="POST", cookie=KNOWN, swallow=True)
    assert isinstance(answer.error, SessionEncodingError)
    assert "session attribute 'basket': it is no valid Basket: " in str(answer.error)
    assert await site.stored(KNOWN) == {"basket": {"items": ["lamp"], "left": 9}}
