"""Requests that are cancelled at each point where they wait, over a real connection."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tests.faults.conftest import OpenShop
from tests.faults.servers import Server
from tests.faults.shop import Shop
from tests.faults.steps import Moment, cancelled_at
from tests.web.driver import Connection

KNOWN, OTHER = "a" * 32, "b" * 32
MOMENTS = pytest.mark.parametrize("moment", ["waiting", "arrived"])
CONNECTED = pytest.mark.parametrize("connected", [True, False], ids=["connected", "unconnected"])
# Far beyond what a request takes; the loop ends when none is left to cancel.
MOST_WAITS = 200


class Trial:
    """One request, tried again and again, cancelled a little later each time."""

    def __init__(self, server: Server, open_shop: OpenShop, **handlers: Any) -> None:
        self._server = server
        self._open_shop = open_shop
        self._handlers = handlers
        self.ran: list[str] = []

    async def each(
        self, path: str, moment: Moment, *, connected: bool, cookie: str | None = KNOWN
    ) -> AsyncIterator[tuple[Shop, Connection]]:
        """Yield the application and the request after every cancellation."""
        shop = self._open()
        for number in range(1, MOST_WAITS):
            await self._server.clear()
            await self._server.seed(KNOWN, user="alice")
            await self._server.seed(OTHER, user="carol")
            if connected:
                assert (await shop.get("/read", OTHER)).status == 200
            else:
                await shop.close()
            self.ran.clear()
            connection = Connection(shop.app, path, cookie=cookie)
            cancelled = await cancelled_at(connection.run(), number, moment)
            await shop.drain()
            yield shop, connection
            # The one connection is free, and answers what it is asked.
            assert (await shop.get("/read", OTHER)).text == '["carol",false]', number
            if not cancelled:
                assert number > 3
                return
        raise AssertionError("the request never came to its end")

    def _open(self) -> Shop:
        async def noted(request: Request) -> Any:
            name = request.path_params["name"]
            self.ran.append(name)
            handler = self._handlers.get(name) or shop.handler(name)
            return await handler(request)

        shop = self._open_shop(self._server.url, redis={"max-connections": 1}, **{"{name}": noted})
        # Noted ones first: a route of the same path follows.
        shop.app.router.routes.reverse()
        return shop


@pytest.fixture
def trial(server: Server, open_shop: OpenShop) -> Trial:
    return Trial(server, open_shop)


@MOMENTS
@CONNECTED
async def test_write_of_a_handler_that_ran_is_kept(
    server: Server, trial: Trial, moment: Moment, connected: bool
) -> None:
    async for _ in trial.each("/write", moment, connected=connected):
        stored = await server.stored(KNOWN)
        assert stored == ({"user": "alice", "cart": ["rope"]} if trial.ran else {"user": "alice"})


@MOMENTS
@CONNECTED
async def test_logout_of_a_handler_that_ran_holds(
    server: Server, trial: Trial, moment: Moment, connected: bool
) -> None:
    async for _ in trial.each("/logout", moment, connected=connected):
        assert (await server.stored(KNOWN) is None) == bool(trial.ran)


@MOMENTS
@CONNECTED
async def test_change_of_id_leaves_one_living_session(
    server: Server, trial: Trial, moment: Moment, connected: bool
) -> None:
    """Until the answer is sent it may be either id, with or without what was written."""
    async for _, connection in trial.each("/login", moment, connected=connected):
        former = await server.stored(KNOWN)
        others = await server.session_ids() - {KNOWN, OTHER}
        if connection.answer.messages:
            new_id = connection.answer.session_id
            assert (await server.stored(new_id), former) == ({"user": "bob"}, None)
        else:
            living = [former, *[await server.stored(each) for each in others]]
            assert {"user": "alice"} in living or {"user": "bob"} in living
            assert former in (None, {"user": "alice"})
        assert len(others) <= 1


@MOMENTS
@CONNECTED
async def test_new_session_is_complete_or_absent(
    server: Server, trial: Trial, moment: Moment, connected: bool
) -> None:
    async for _, connection in trial.each("/write", moment, connected=connected, cookie=None):
        made = await server.session_ids() - {KNOWN, OTHER}
        assert len(made) <= 1
        for each in made:
            assert await server.stored(each) == {"cart": ["rope"]}
            assert await server.admin.ttl(f"pyfly:session:{each}") > 0
        if connection.answer.messages:
            assert made == {connection.answer.session_id}


@MOMENTS
async def test_late_write_is_kept(server: Server, open_shop: OpenShop, moment: Moment) -> None:
    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "begin"
            request.state.session.set_attribute("cart", ["rope"])
            written.append(True)
            yield "end"

        return StreamingResponse(body())

    written: list[bool] = []
    trial = Trial(server, open_shop, stream=stream)
    async for _ in trial.each("/stream", moment, connected=True):
        stored = await server.stored(KNOWN)
        assert stored is not None
        assert ("cart" in stored) == bool(written)
        written.clear()
