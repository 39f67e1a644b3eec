"""Handlers that raise while the server fails: their own error comes out, and no 200."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.faults.conftest import OpenShop
from tests.faults.proxy import Proxy
from tests.faults.servers import Server

KNOWN = "a" * 32
Act = Callable[[Any], None]


def write(session: Any) -> None:
    session.set_attribute("cart", ["rope"])


def rotate(session: Any) -> None:
    session.rotate_id()


def logout(session: Any) -> None:
    session.invalidate()


ACTS = pytest.mark.parametrize("act", [write, rotate, logout], ids=lambda act: act.__name__)


@ACTS
@pytest.mark.parametrize("where", ["before", "after"])
async def test_what_was_done_before_the_error_is_kept_over_a_lost_answer(
    server: Server, proxy: Proxy, open_shop: OpenShop, act: Act, where: Any
) -> None:
    async def page(request: Request) -> Response:
        act(request.state.session)
        proxy.fault(where=where)
        raise ValueError("mine")

    shop = open_shop(proxy.url, page=page)
    await server.seed(KNOWN, user="alice")
    answer = await shop.get("/page", KNOWN, swallow=True)
    assert (answer.status, type(answer.error)) == (500, ValueError)
    stored = await server.stored(KNOWN)
    if act is rotate:
        assert (stored, await server.stored(answer.session_id)) == (None, {"user": "alice"})
    else:
        assert stored == ({"user": "alice", "cart": ["rope"]} if act is write else None)
