"""One attribute as a model: validated when read, saved when changed, wherever that happens."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Annotated, Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, PlainSerializer

from pyfly_session import HttpSession, SessionEncodingError, WebFilterChainMiddleware
from pyfly_session.errors import SessionDecodingError
from pyfly_session.fastapi import Stored
from tests.frameworks import shop
from tests.support.cases import for_each
from tests.support.types import Log
from tests.web.conftest import Site
from tests.web.driver import Browser, ask

KNOWN = "a" * 32
LAMP = {"name": "lamp", "count": 1}


def app_of(site: Site) -> FastAPI:
    app = shop.create_app()
    app.add_middleware(WebFilterChainMiddleware, filters=[site.filter])
    return app


@for_each("prefix", ["/shop", "/inner/shop"])
async def test_a_change_of_the_model_is_saved(site: Site, prefix: str) -> None:
    browser = Browser(app_of(site))
    assert (await browser.get(f"{prefix}/cart")).text == '{"items":[],"wantedOn":null}'
    await browser.get(f"{prefix}/cart/lamp", method="POST")
    answer = await browser.get(f"{prefix}/cart-threaded/rope", method="POST")
    assert [each["name"] for each in json.loads(answer.text)["items"]] == ["lamp", "rope"]
    # Plain JSON, for whoever reads the store.
    stored = await site.stored(browser.cookie)
    rope = {"name": "rope", "count": 1}
    assert stored == {"cart": {"items": [LAMP, rope], "wantedOn": "2030-01-02"}}


@for_each("where", ["cart-streamed", "cart-background"])
async def test_a_change_after_the_head_is_saved(site: Site, where: str) -> None:
    await site.seed(KNOWN, cart={"items": [LAMP]})
    await ask(app_of(site), f"/shop/{where}/rope", method="POST", cookie=KNOWN)
    stored: Any = await site.stored(KNOWN)
    assert [each["name"] for each in stored["cart"]["items"]] == ["lamp", "rope"]


async def test_a_model_that_is_only_read_is_not_written(site: Site) -> None:
    app = app_of(site.configure(creation="if-required"))
    assert (await ask(app, "/shop/cart")).cookie() is None
    # As an older version of the model stored it: its new fields are no change.
    await site.seed(KNOWN, cart={"items": [{"name": "lamp"}]})
    site.probe.calls.clear()
    answer = await ask(app, "/shop/cart", cookie=KNOWN)
    assert (json.loads(answer.text)["items"], site.probe.names) == ([LAMP], ["load_and_slide"])


async def test_a_removed_model_is_gone(site: Site) -> None:
    await site.seed(KNOWN, cart={"items": [LAMP]}, user="alice")
    await ask(app_of(site), "/shop/cart", method="DELETE", cookie=KNOWN)
    assert await site.stored(KNOWN) == {"user": "alice"}


async def test_without_a_default_what_is_absent_is_none(site: Site) -> None:
    browser = Browser(app_of(site))
    assert (await browser.get("/shop/taste")).text == "null"
    await browser.get("/shop/taste/red", method="POST")
    await browser.get("/shop/taste/blue", method="POST")
    assert (await browser.get("/shop/taste")).text == '["blue","red"]'


@for_each("stored", [{"items": [{"name": 1}]}, {"items": {}}, [], "x", None, 7])
async def test_what_is_no_such_model_counts_as_absent(site: Site, caplog: Log, stored: Any) -> None:
    await site.seed(KNOWN, cart=stored)
    with caplog.at_level(logging.WARNING, "pyfly_session.fastapi.stored"):
        answer = await ask(app_of(site), "/shop/cart", cookie=KNOWN)
    assert json.loads(answer.text)["items"] == []
    assert "session attribute 'cart' is no Cart: " in caplog.text
    # Nobody changed it, so it is not thrown away either.
    assert await site.stored(KNOWN) == {"cart": stored}


async def test_an_invalid_change_is_refused_and_nothing_is_stored(site: Site) -> None:
    await site.seed(KNOWN, cart={"items": [LAMP]})
    app = app_of(site)
    for path in ("/shop/cart-invalid", "/shop/cart-foreign"):
        answer = await ask(app, path, method="POST", cookie=KNOWN, swallow=True)
        assert isinstance(answer.error, SessionEncodingError)
        assert "session attribute 'cart': it is no valid Cart: " in str(answer.error)
        assert await site.stored(KNOWN) == {"cart": {"items": [LAMP]}}


async def test_two_requests_that_change_different_attributes_keep_both(site: Site) -> None:
    await site.seed(KNOWN, cart={"items": [LAMP]}, taste={"colors": ["red"]})
    app = app_of(site)
    await asyncio.gather(
        ask(app, "/shop/cart/rope", method="POST", cookie=KNOWN),
        ask(app, "/shop/taste/blue", method="POST", cookie=KNOWN),
    )
    stored: Any = await site.stored(KNOWN)
    assert (len(stored["cart"]["items"]), sorted(stored["taste"]["colors"])) == (2, ["blue", "red"])


def session_with(cart: Any) -> HttpSession:
    return HttpSession(KNOWN, {"cart": cart})


def test_a_strict_one_raises_instead() -> None:
    strict = Stored(shop.Cart, "cart", strict=True)
    with pytest.raises(SessionDecodingError) as caught:
        strict.get(session_with({"items": [{"name": ["secret"]}]}))
    assert "'cart' is no Cart: items.0.name: Input should be a valid string" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_session_itself_gives_the_same_object() -> None:
    session = session_with({"items": [LAMP]})
    cart = shop.stored_cart.get(session)
    assert session.get_attribute("cart") is cart
    assert Stored(shop.Cart, "cart").get(session) is cart


def test_a_plain_value_takes_the_place_of_the_object() -> None:
    session = session_with({"items": []})
    shop.stored_cart.get(session)
    session.set_attribute("cart", {"items": [LAMP]})
    cart = shop.stored_cart.get(session)
    assert cart is not None
    assert [each.name for each in cart.items] == ["lamp"]
    session.remove_attribute("cart")
    assert Stored(shop.Cart, "cart").get(session) is None


def test_two_models_cannot_share_a_name() -> None:
    class Basket(BaseModel):
        items: list[Any]

    session = session_with({"items": []})
    shop.stored_cart.get(session)
    with pytest.raises(TypeError, match="'cart' is a Cart in this request and cannot be a "):
        Stored(Basket, "cart").get(session)


def test_an_object_that_was_set_is_kept() -> None:
    session = HttpSession(KNOWN)
    cart = shop.Cart()
    shop.stored_cart.set(session, cart)
    assert session.pending
    assert shop.stored_cart.get(session) is cart
    shop.stored_cart.remove(session)
    assert Stored(shop.Cart, "cart").get(session) is None


def test_a_text_is_stored_as_its_serializer_writes_it() -> None:
    session = HttpSession(KNOWN)
    shouted: Any = Annotated[str, PlainSerializer(str.upper)]
    Stored(shouted, "color").set(session, "red")
    assert session.change(0).delta["color"] == "RED"


def test_any_type_that_pydantic_knows_will_do() -> None:
    colors = Stored(set[str], "colors", default=set)
    session = HttpSession(KNOWN)
    found = colors.get(session)
    assert found == set()
    assert not session.pending
    found.add("red")
    assert session.pending
    assert bytes(session.change(0).delta["colors"]) == b'["red"]'
