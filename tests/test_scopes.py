"""Beans that live as long as a session, through the ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, inject
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from pyfly_session import HttpSession, ReservedAttributeError, SecurityContext, SessionError, login
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration import SessionContainer, enable_sessions
from pyfly_session.scopes import SessionScopeFilter, current_session, session_scoped
from tests.support.cases import for_each
from tests.support.types import Log


@dataclass
class Cart:
    currency: str = "EUR"
    items: list[str] = field(default_factory=list)

    def add(self, item: str) -> None:
        self.items.append(item)


class Prices:
    """A collaborator, which lives as long as the application."""

    def of(self, item: str) -> int:
        return len(item)


class Checkout:
    """A service over the visitor's cart, made for each use."""

    def __init__(self, cart: Cart, prices: Prices) -> None:
        self.cart = cart
        self.prices = prices

    def total(self) -> int:
        return sum(map(self.prices.of, self.cart.items))


class Shop(containers.DeclarativeContainer):
    config = providers.Configuration()
    sessions = providers.Container(SessionContainer, config=config)
    prices = providers.Singleton(Prices)
    cart = session_scoped(providers.Factory(Cart, currency=config.currency), attribute="cart")
    checkout = providers.Factory(Checkout, cart=cart, prices=prices)
    seen: providers.Callable[list[str]] = session_scoped(list, attribute="seen")


@pytest.fixture
def store() -> InMemorySessionStore:
    return InMemorySessionStore()


def make_shop(store: InMemorySessionStore, **session: Any) -> Any:
    shop = Shop()
    session = {"enabled": True, "exclude-patterns": ["/health"], **session}
    shop.config.from_dict({"pyfly": {"session": session}, "currency": "CHF"})
    shop.sessions.session_store.override(providers.Object(store))
    sessions: Any = shop.sessions
    sessions.web_filters.add_args(SessionScopeFilter())
    return shop


@pytest.fixture
def shop(store: InMemorySessionStore) -> Any:
    return make_shop(store)


async def add(request: Request) -> Response:
    shop = request.app.state.shop
    assert shop.cart() is shop.checkout().cart
    shop.cart().add(request.path_params["item"])
    return JSONResponse([shop.cart().currency, shop.cart().items])


async def total(request: Request) -> Response:
    shop = request.app.state.shop
    return JSONResponse(shop.checkout().total())


def threaded(request: Request) -> Response:
    shop = request.app.state.shop
    shop.cart().add("thread")
    return JSONResponse(shop.cart().items)


async def late(request: Request) -> Response:
    shop = request.app.state.shop
    shop.cart()

    async def body() -> AsyncIterator[str]:
        shop.cart().add("streamed")
        yield "done"

    async def afterwards() -> None:
        shop.cart().add("background")

    return StreamingResponse(body(), background=BackgroundTask(afterwards))


async def slow(request: Request) -> Response:
    shop = request.app.state.shop
    await asyncio.sleep(0)
    shop.cart().add(request.path_params["item"])
    await asyncio.sleep(0)
    return JSONResponse(shop.cart().items)


async def enter(request: Request) -> Response:
    shop = request.app.state.shop
    await login(request, SecurityContext(user_id=request.path_params["user"]))
    return JSONResponse(shop.cart().items)


async def leave(request: Request) -> Response:
    request.state.session.invalidate()
    return JSONResponse(None)


async def idle(request: Request) -> Response:
    return JSONResponse(request.state.session.attribute_names())


async def health(request: Request) -> Response:
    shop = request.app.state.shop
    with pytest.raises(SessionError, match="not excluded") as caught:
        shop.cart()
    return JSONResponse(str(caught.value))


async def socket(websocket: WebSocket) -> None:
    shop = websocket.app.state.shop
    await websocket.accept()
    shop.cart().add("socket")
    await websocket.send_json(shop.cart().items)
    await websocket.close()


def application(shop: Any) -> Starlette:
    app = Starlette(
        routes=[
            Route("/add/{item}", add), Route("/total", total), Route("/threaded", threaded),
            Route("/late", late), Route("/slow/{item}", slow), Route("/login/{user}", enter),
            Route("/logout", leave), Route("/idle", idle), Route("/health", health),
            WebSocketRoute("/socket", socket),
        ]
    )  # fmt: skip
    app.state.shop = shop
    return enable_sessions(app, shop.sessions)


@pytest.fixture
def browser(shop: Any) -> TestClient:
    return TestClient(application(shop))


def test_a_bean_is_built_once_for_a_session_and_keeps_its_changes(browser: TestClient) -> None:
    assert browser.get("/add/lamp").json() == ["CHF", ["lamp"]]
    assert browser.get("/add/rope").json() == ["CHF", ["lamp", "rope"]]
    assert browser.get("/total").json() == 8


def test_each_visitor_has_one_of_their_own(shop: Any, browser: TestClient) -> None:
    browser.get("/add/lamp")
    assert TestClient(browser.app).get("/add/rope").json()[1] == ["rope"]


def test_another_process_finds_the_bean(store: InMemorySessionStore, browser: TestClient) -> None:
    browser.get("/add/lamp")
    elsewhere = TestClient(application(make_shop(store)), cookies=dict(browser.cookies))
    assert elsewhere.get("/add/rope").json()[1] == ["lamp", "rope"]


def test_a_bean_that_nobody_asks_for_is_not_built(browser: TestClient) -> None:
    assert browser.get("/idle").json() == []
    browser.get("/add/lamp")
    assert browser.get("/idle").json() == ["cart"]


def test_functions_in_threads_have_the_bean(browser: TestClient) -> None:
    assert browser.get("/threaded").json() == ["thread"]
    assert browser.get("/threaded").json() == ["thread", "thread"]


def test_what_happens_to_it_after_the_head_is_saved(browser: TestClient) -> None:
    browser.get("/late")
    assert browser.get("/add/x").json()[1] == ["streamed", "background", "x"]


def test_a_websocket_has_the_bean(browser: TestClient) -> None:
    browser.get("/add/lamp")
    with browser.websocket_connect("/socket") as socket:
        assert socket.receive_json() == ["lamp", "socket"]
    assert browser.get("/add/x").json()[1] == ["lamp", "socket", "x"]


async def test_requests_at_the_same_time_do_not_mix(shop: Any) -> None:
    transport = httpx2.ASGITransport(application(shop))
    browsers = [
        httpx2.AsyncClient(transport=transport, base_url="http://testserver") for _ in range(5)
    ]
    for turn in (1, 2):
        answers = await asyncio.gather(
            *(each.get(f"/slow/{number}") for number, each in enumerate(browsers))
        )
        assert [each.json() for each in answers] == [[str(n)] * turn for n in range(5)]


def test_it_ends_with_the_session(browser: TestClient) -> None:
    browser.get("/add/lamp")
    browser.get("/logout")
    assert browser.get("/add/rope").json()[1] == ["rope"]


def test_it_stays_at_the_login_but_not_for_another_user(browser: TestClient) -> None:
    browser.get("/add/lamp")
    assert (browser.get("/login/alice").json(), browser.get("/login/bob").json()) == (["lamp"], [])


def test_the_provider_can_be_overridden(shop: Any, browser: TestClient) -> None:
    browser.get("/add/lamp")
    with shop.cart.override(providers.Object(Cart(items=["fake"]))):
        assert browser.get("/total").json() == 4
    assert browser.get("/total").json() == 4


def test_outside_of_a_request_the_error_says_what_is_missing(shop: Any) -> None:
    with pytest.raises(SessionError, match=r"web_filters has a SessionScopeFilter\(\)"):
        shop.cart()
    with pytest.raises(SessionError, match="there is no current session"):
        current_session()


def test_on_an_excluded_path_there_is_none(browser: TestClient) -> None:
    assert "there is no current session" in browser.get("/health").json()


async def test_nothing_is_current_after_a_request(shop: Any) -> None:
    transport = httpx2.ASGITransport(application(shop))
    # In the task of the test itself, unlike a request of the TestClient.
    browser = httpx2.AsyncClient(transport=transport, base_url="http://testserver")
    assert (await browser.get("/add/lamp")).status_code == 200
    with pytest.raises(SessionError):
        shop.cart()


def test_a_session_that_is_given_needs_no_filter(shop: Any) -> None:
    session = HttpSession("a" * 32, {"cart": Cart("USD", ["lamp"])})
    assert shop.cart(session) is session.get_attribute("cart")
    assert shop.cart(session).currency == "USD"
    empty = HttpSession("b" * 32)
    assert shop.cart(session=empty) is shop.cart(empty)
    assert empty.get_attribute("cart") == Cart("CHF")
    assert empty.modified


def test_plain_data_may_be_a_bean_too(shop: Any) -> None:
    session = HttpSession("a" * 32)
    shop.seen(session).append("lamp")
    assert session.get_attribute("seen") == ["lamp"]


def test_a_function_may_build_it() -> None:
    provider = session_scoped(lambda: {"theme": "dark"}, attribute="preferences")
    assert provider(HttpSession("a" * 32)) == {"theme": "dark"}


def test_what_is_not_such_a_bean_is_replaced_with_a_warning(shop: Any, caplog: Log) -> None:
    session = HttpSession("a" * 32, {"cart": {"items": ["lamp"]}})
    assert shop.cart(session) == Cart("CHF")
    assert "'cart' holds a dict instead of a Cart, and is made anew" in caplog.text


@for_each("kind", [Prices, type("MyDict", (dict,), {}), str])
def test_a_class_that_cannot_come_back_is_refused(kind: type) -> None:
    with pytest.raises(
        TypeError, match=f"a dataclass, a dict, a list or a set, got {kind.__name__}"
    ):
        session_scoped(kind, attribute="bean")


def test_without_sessions_for_visitors_it_says_so(store: InMemorySessionStore) -> None:
    app = application(make_shop(store, creation="never"))
    assert TestClient(app, raise_server_exceptions=False).get("/add/lamp").status_code == 500
    assert len(store) == 0


api = FastAPI()


@api.get("/add/{item}")
@inject
async def add_by_injection(
    item: str,
    cart: Cart = Depends(Provide[Shop.cart]),  # noqa: B008 - so it is declared
    again: Cart = Depends(Provide[Shop.cart]),  # noqa: B008
) -> list[str]:
    assert cart is again
    cart.add(item)
    return cart.items


def test_fastapi_injects_the_bean_into_a_handler(shop: Any) -> None:
    enable_sessions(api, shop.sessions)
    shop.wire(modules=[__name__])
    try:
        browser = TestClient(api)
        assert browser.get("/add/lamp").json() == ["lamp"]
        assert browser.get("/add/rope").json() == ["lamp", "rope"]
        assert TestClient(api).get("/add/pen").json() == ["pen"]
    finally:
        shop.unwire()


async def _made_later() -> Cart:
    return Cart()


@for_each(
    ("factory", "message"),
    [
        (providers.Singleton(Cart), "Singleton provider gives everybody the same object"),
        (providers.ThreadSafeSingleton(Cart), "ThreadSafeSingleton"),
        (providers.Object(Cart()), "Object provider"),
        (providers.Resource(Cart), "Resource provider"),
        (providers.Coroutine(_made_later), "has to be awaited"),
        (_made_later, "has to be awaited"),
    ],
)
def test_what_gives_everybody_the_same_bean_or_none_at_once_is_refused(
    factory: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        session_scoped(factory, attribute="cart")


def test_attribute_of_a_bean_is_a_name_of_ones_own() -> None:
    with pytest.raises(ReservedAttributeError, match="_created_at"):
        session_scoped(dict, attribute="_created_at")
    with pytest.raises(TypeError, match="empty"):
        session_scoped(dict, attribute="")
