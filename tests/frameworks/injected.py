"""Handlers with markers of dependency-injector; annotations are evaluated at once."""

from typing import Annotated

from dependency_injector.wiring import Provide, inject
from fastapi import APIRouter, Depends, Request

from pyfly_session import HttpSession, SecurityContext, login
from pyfly_session.fastapi import Session, Stored, User

router = APIRouter()
Cart = Annotated[list[str], Depends(Stored(list[str], "cart", default=list))]


def count(session: HttpSession) -> int:
    visits: int = (session.get_attribute("visits") or 0) + 1
    session.set_attribute("visits", visits)
    return visits


@router.get("/coroutine")
@inject
async def coroutine(
    session: Session, currency: Annotated[str, Depends(Provide["currency"])]
) -> str:
    return f"{count(session)} {currency}"


@router.get("/function")
@inject
def function(session: Session, currency: Annotated[str, Depends(Provide["currency"])]) -> str:
    return f"{count(session)} {currency}"


@router.get("/default")
@inject
async def default(session: Session, currency: str = Depends(Provide["currency"])) -> str:
    return f"{count(session)} {currency}"


@router.get("/required")
@inject
async def required(user: User, currency: Annotated[str, Depends(Provide["currency"])]) -> str:
    return f"{user.user_id} {currency}"


@router.get("/cart")
@inject
async def cart(cart: Cart, currency: Annotated[str, Depends(Provide["currency"])]) -> int:
    cart.append(currency)
    return len(cart)


@router.post("/login")
async def log_in(request: Request) -> None:
    await login(request, SecurityContext("alice"))
