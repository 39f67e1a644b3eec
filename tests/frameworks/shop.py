"""A shop in FastAPI that uses everything of `pyfly_session.fastapi`."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from pyfly_session import SecurityContext, login, logout
from pyfly_session.fastapi import (
    LoggedIn,
    LoginRequired,
    Session,
    SessionRequired,
    Stored,
    User,
    Visitor,
    current_session,
)


class Item(BaseModel):
    name: str
    count: int = Field(default=1, ge=1)


class Cart(BaseModel):
    model_config = ConfigDict(strict=True)

    items: list[Item] = []
    wanted_on: date | None = Field(default=None, alias="wantedOn")


@dataclass
class Taste:
    colors: set[str] = field(default_factory=set)


stored_cart = Stored(Cart, "cart", default=Cart)
stored_taste = Stored(Taste, "taste")
page_login = LoginRequired(login_url="/login")
recent_login = LoginRequired(login_url="/login", max_age=300)
admin_login = LoginRequired(roles=["ADMIN"], permissions=["lamps:write"])

CurrentCart = Annotated[Cart, Depends(stored_cart)]
CurrentTaste = Annotated[Taste | None, Depends(stored_taste)]
Known = Annotated[Any, Depends(SessionRequired())]
PageUser = Annotated[LoggedIn, Depends(page_login)]
RecentUser = Annotated[LoggedIn, Depends(recent_login)]
Admin = Annotated[LoggedIn, Depends(admin_login)]

router = APIRouter(prefix="/shop", dependencies=[Depends(current_session)])


@router.get("/visits")
async def visits(session: Session) -> int:
    session.set_attribute("visits", (session.get_attribute("visits") or 0) + 1)
    return int(session.get_attribute("visits"))


@router.get("/visits-threaded")
def visits_threaded(session: Session) -> dict[str, Any]:
    session.set_attribute("visits", (session.get_attribute("visits") or 0) + 1)
    other = threading.current_thread() is not threading.main_thread()
    return {"visits": session.get_attribute("visits"), "threaded": other}


@router.get("/cart")
async def show_cart(cart: CurrentCart) -> Cart:
    return cart


@router.post("/cart/{name}")
async def add(name: str, cart: CurrentCart, again: CurrentCart) -> Cart:
    assert again is cart
    cart.items.append(Item(name=name))
    cart.wanted_on = date(2030, 1, 2)
    return cart


@router.post("/cart-threaded/{name}")
def add_threaded(name: str, cart: CurrentCart) -> Cart:
    cart.items.append(Item(name=name))
    return cart


@router.post("/cart-streamed/{name}")
async def add_streamed(name: str, cart: CurrentCart) -> StreamingResponse:
    async def body() -> Any:
        yield "a"
        cart.items.append(Item(name=name))
        yield "b"

    return StreamingResponse(body())


@router.post("/cart-background/{name}")
async def add_in_background(name: str, cart: CurrentCart, tasks: BackgroundTasks) -> str:
    tasks.add_task(lambda: cart.items.append(Item(name=name)))
    return "ok"


@router.post("/cart-invalid")
async def break_cart(cart: CurrentCart) -> str:
    cart.items.append(Item(name="lamp"))
    cart.items[0].count = -1
    return "ok"


@router.post("/cart-foreign")
async def foreign_cart(cart: CurrentCart) -> str:
    cart.items.append("lamp")  # type: ignore[arg-type]
    return "ok"


@router.delete("/cart")
async def empty_cart(session: Session) -> str:
    stored_cart.remove(session)
    return "ok"


@router.get("/taste")
async def show_taste(taste: CurrentTaste) -> list[str] | None:
    return None if taste is None else sorted(taste.colors)


@router.post("/taste/{color}")
async def set_taste(color: str, taste: CurrentTaste, session: Session) -> str:
    if taste is None:
        taste = Taste()
        stored_taste.set(session, taste)
    taste.colors.add(color)
    return "ok"


accounts = APIRouter()


@accounts.post("/login/{user}")
async def log_in(user: str, request: Request, roles: str = "", permissions: str = "") -> str:
    await login(request, SecurityContext(user, roles.split(), permissions.split()))
    return "hello"


@accounts.post("/logout")
async def log_out(request: Request) -> str:
    await logout(request)
    return "bye"


@accounts.get("/who")
async def who(visitor: Visitor) -> str | None:
    return visitor.user_id


@accounts.get("/known")
async def known(session: Known) -> str:
    return "known"


@accounts.get("/api/me")
async def me(user: User) -> str | None:
    return user.user_id


@accounts.api_route(
    "/account/{name:path}", methods=["GET", "POST", "HEAD"], include_in_schema=False
)
def account(name: str, user: PageUser) -> str | None:
    return user.user_id


@accounts.get("/checkout")
async def checkout(user: RecentUser) -> str | None:
    return user.user_id


@accounts.get("/admin")
async def admin(user: Admin) -> str | None:
    return user.user_id


@accounts.websocket("/socket")
async def socket(websocket: WebSocket, user: User, session: Session, cart: CurrentCart) -> None:
    await websocket.accept()
    cart.items.append(Item(name="bell"))
    await websocket.send_text(str(user.user_id))
    await websocket.close()


def create_app() -> FastAPI:
    """Return the shop, which answers below ``/inner`` once more."""
    app = FastAPI()
    inner = FastAPI()
    for each in (app, inner):
        each.include_router(router)
        each.include_router(accounts)
    app.mount("/inner", inner)
    return app
