"""A lamp shop: a cart for everybody, a login, and a checkout that wants a recent one."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

import pages
from accounts import checked_user
from fastapi import APIRouter, Depends, FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel

from pyfly_session import SecurityContext
from pyfly_session.auto_configuration import enable_sessions
from pyfly_session.fastapi import (
    LoggedIn,
    LoginRequired,
    Session,
    Stored,
    User,
    Visitor,
    local_target,
)
from pyfly_session.security import login, logout

PRICES = {"Lantern": 40, "Desk lamp": 25, "Candle": 3}
RECENT_SECONDS = 300


class Cart(BaseModel):
    """What a visitor wants to buy."""

    items: dict[str, int] = {}

    @property
    def total(self) -> int:
        """Return what it costs."""
        return sum(PRICES[name] * count for name, count in self.items.items())

    def plus(self, name: str) -> "Cart":
        """Return a cart with one more of an item."""
        return Cart(items={**self.items, name: self.items.get(name, 0) + 1})


stored_cart = Stored(Cart, "cart", default=Cart)
CurrentCart = Annotated[Cart, Depends(stored_cart)]
orders_of_session = Stored(list[Cart], "orders", default=list)
Orders = Annotated[list[Cart], Depends(orders_of_session)]

# A browser is sent to the login page and finds its way back; a program gets a 401.
PageUser = Annotated[LoggedIn, Depends(LoginRequired(login_url="/login"))]
RecentUser = Annotated[LoggedIn, Depends(LoginRequired(login_url="/login", max_age=RECENT_SECONDS))]

# In a thread: checking a password takes long on purpose.
Checked = Annotated[SecurityContext | None, Depends(checked_user)]

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
api = APIRouter(prefix="/api")


def see(path: str) -> RedirectResponse:
    """Answer a form with a page, so that reloading does not send the form again."""
    return RedirectResponse(path, status_code=303)


@router.get("/")
async def shop(cart: CurrentCart, visitor: Visitor) -> str:
    return pages.shop(visitor.user_id, PRICES, cart.items, cart.total)


@router.post("/cart")
async def add(session: Session, item: Annotated[str, Form()]) -> RedirectResponse:
    if item in PRICES:
        # By a function: of two requests that meet, both items are in the cart.
        stored_cart.update(session, lambda cart: cart.plus(item))
    return see("/")


@router.get("/login")
async def login_page(visitor: Visitor, next: str = "/") -> str:  # noqa: A002
    return pages.login(visitor.user_id, local_target(next, "/"))


@router.post("/login")
async def log_in(
    request: Request,
    user: Checked,
    name: Annotated[str, Form()],
    target: Annotated[str, Form()] = "/",
) -> Response:
    target = local_target(target, "/")
    if user is None:
        return HTMLResponse(pages.login(None, target, refused=name), 401)
    # A new session id, and nothing left of another user; the cart of a visitor is kept.
    await login(request, user)
    return see(target)


@router.get("/checkout")
async def checkout(user: RecentUser, cart: CurrentCart) -> str:
    return pages.checkout(user.user_id, cart.items, cart.total)


@router.post("/checkout")
def buy(user: RecentUser, cart: CurrentCart, orders: Orders, session: Session) -> RedirectResponse:
    if cart.items:
        orders.append(cart.model_copy(deep=True))
        stored_cart.remove(session)
    return see("/orders")


@router.get("/orders")
async def order_page(user: PageUser, orders: Orders) -> str:
    return pages.orders(user.user_id, [(each.items, each.total) for each in orders])


@router.post("/logout")
async def log_out(request: Request) -> RedirectResponse:
    await logout(request)
    return see("/")


@api.get("/cart")
async def cart(cart: CurrentCart) -> Cart:
    return cart


@api.get("/orders")
async def orders(user: User, orders: Orders) -> list[Cart]:
    return orders


def settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the properties: Redis where a URL is set, the memory store elsewhere."""
    session: dict[str, Any] = {"enabled": True, "creation": "if-required", "max-lifetime": 86400}
    if environment.get("REDIS_URL"):
        session |= {"store": "redis", "redis": {"url": environment["REDIS_URL"]}}
    if environment.get("HTTPS"):
        session |= {"cookie-name": "__Host-shop", "cookie": {"secure": True}}
    return {"pyfly": {"session": session}}


def create_app(environment: Mapping[str, str] = os.environ) -> FastAPI:
    """Return the shop."""
    app = FastAPI(title="Lamps")
    app.include_router(router)
    app.include_router(api)
    return enable_sessions(app, config=settings(environment))


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(create_app(), port=int(os.environ.get("PORT", "8000")))
