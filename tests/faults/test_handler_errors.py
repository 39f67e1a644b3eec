"""Handlers that raise while the server fails: their own error comes out, and no 200."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from tests.faults.conftest import OpenShop
from tests.faults.proxy import Proxy
from tests.faults.servers import Server
from tests.faults.shop import assert_unavailable

KNOWN = "a" * 32
Act = Callable[[Any], None]


def write(session: Any) -> None:
    session.set_attribute("cart", ["rope"])


def rotate(session: Any) -> None:
    session.rotate_id()


def logout(session: Any) -> None:
    session.invalidate()


ACTS = pytest.mark.parametrize("act", [write, rotate, logout], ids=lambda act: act.__name__)


async def test_server_that_failed_before_keeps_the_handler_from_running(
    proxy: Proxy, open_shop: OpenShop
) -> None:
    async def page(request: Request) -> Response:
        raise AssertionError("unreachable")

    shop = open_shop(proxy.url, page=page)
    proxy.fault(times=1000)
    assert_unavailable(await shop.get("/page", KNOWN))


@ACTS
async def test_error_of_the_handler_survives_a_server_that_failed_meanwhile(
    server: Server, proxy: Proxy, open_shop: OpenShop, act: Act
) -> None:
    async def page(request: Request) -> Response:
        act(request.state.session)
        proxy.fault(times=1000)
        raise ValueError("mine")

    shop = open_shop(proxy.url, page=page)
    await server.seed(KNOWN, user="alice")
    answer = await shop.get("/page", KNOWN, swallow=True)
    assert answer.status == 500
    assert answer.cookie() is None
    assert isinstance(answer.error, ValueError)
    assert await server.stored(KNOWN) == {"user": "alice"}


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
    assert answer.status == 500
    assert isinstance(answer.error, ValueError)
    stored = await server.stored(KNOWN)
    if act is rotate:
        assert stored is None
        assert await server.stored(answer.session_id) == {"user": "alice"}
    else:
        assert stored == ({"user": "alice", "cart": ["rope"]} if act is write else None)


@pytest.mark.parametrize("act", [write, rotate], ids=lambda act: act.__name__)
async def test_error_after_the_head_survives_a_server_that_failed_meanwhile(
    server: Server, proxy: Proxy, open_shop: OpenShop, act: Act
) -> None:
    async def page(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "begin"
            write(request.state.session)
            proxy.fault(times=1000)
            raise ValueError("mine")

        act(request.state.session)
        return StreamingResponse(body())

    shop = open_shop(proxy.url, page=page)
    await server.seed(KNOWN, user="alice")
    answer = await shop.get("/page", KNOWN, swallow=True)
    assert answer.status == 200
    assert isinstance(answer.error, ValueError)
    stored = await server.stored(answer.session_id)
    assert stored is not None
    assert stored["user"] == "alice"


async def test_late_write_that_cannot_be_saved_reaches_the_servers_log(
    server: Server, proxy: Proxy, open_shop: OpenShop
) -> None:
    """The answer has left; the web server logs what the application raises."""

    async def page(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "begin"
            write(request.state.session)
            proxy.fault(times=1000)

        return StreamingResponse(body())

    shop = open_shop(proxy.url, page=page)
    await server.seed(KNOWN, user="alice")
    answer = await shop.get("/page", KNOWN, swallow=True)
    assert answer.status == 200
    assert "not reached to merge" in str(answer.error)


async def test_answer_with_5xx_of_the_application_goes_out(
    server: Server, proxy: Proxy, open_shop: OpenShop
) -> None:
    async def page(request: Request) -> Response:
        write(request.state.session)
        proxy.fault(times=1000)
        return PlainTextResponse("upstream is down", status_code=502)

    shop = open_shop(proxy.url, page=page)
    await server.seed(KNOWN, user="alice")
    answer = await shop.get("/page", KNOWN)
    assert (answer.status, answer.text, answer.cookie()) == (502, "upstream is down", None)
    assert await server.stored(KNOWN) == {"user": "alice"}


async def test_reader_that_was_slow_and_cannot_look_again_gets_503(
    server: Server, proxy: Proxy, open_shop: OpenShop
) -> None:
    async def page(request: Request) -> Response:
        shop.clock.advance(1)
        proxy.fault("EXISTS", times=1000)
        return PlainTextResponse("ok")

    shop = open_shop(proxy.url, page=page)
    await server.seed(KNOWN, user="alice")
    assert_unavailable(await shop.get("/page", KNOWN))
    proxy.heal()
    assert (await shop.get("/read", KNOWN)).text == '["alice",false]'
