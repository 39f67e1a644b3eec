"""Requests that are cancelled at each point where they wait, over a real connection."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from pyfly_session import SecurityContext, login
from tests.faults.conftest import OpenShop
from tests.faults.servers import Server
from tests.faults.shop import Shop
from tests.faults.steps import Moment, cancelled_at
from tests.web.driver import Connection

KNOWN, OTHER = "a" * 32, "b" * 32
MOMENTS = pytest.mark.parametrize("moment", ["waiting", "arrived"])
CONNECTED = pytest.mark.parametrize("connected", [True, False], ids=["connected", "unconnected"])
# What is left of a change of id that was dropped lives no longer.
SECONDS = 30
# Far beyond what a request takes; the loop ends when none is left to cancel.
MOST_WAITS = 200


class Trial:
    """One request, tried again and again, cancelled a little later each time."""

    def __init__(
        self,
        server: Server,
        open_shop: OpenShop,
        *,
        session: dict[str, Any] | None = None,
        **handlers: Any,
    ) -> None:
        self._server = server
        self._open_shop = open_shop
        self._session = session
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

        shop = self._open_shop(
            self._server.url,
            redis={"max-connections": 1},
            session=self._session,
            **{"{name}": noted},
        )
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
    """Until the answer is sent it may be either id: the change is dropped, or complete."""
    async for _, connection in trial.each("/login", moment, connected=connected):
        former = await server.stored(KNOWN)
        others = await server.session_ids() - {KNOWN, OTHER}
        assert len(others) <= 1
        if connection.answer.messages:
            assert others == {connection.answer.session_id}
        if former is not None:
            assert former == {"user": "alice"}
            assert [await server.life(each) <= SECONDS for each in others] in ([], [True])
        else:
            # Completely stored, whoever hears of it: what is left of it has its whole life.
            [new_id] = others
            assert await server.stored(new_id) == {"user": "bob"}
            assert await server.life(new_id) > SECONDS


async def enter(request: Request) -> Response:
    await login(request, SecurityContext(user_id="alice"))
    return PlainTextResponse("hello")


@MOMENTS
@pytest.mark.parametrize("begun", [KNOWN, None], ids=["known", "new"])
async def test_login_that_is_cancelled_has_the_place_if_it_has_a_session(
    server: Server, open_shop: OpenShop, moment: Moment, begun: str | None
) -> None:
    """One place: another browser gets it, unless a whole session of the cancelled one has it."""
    limit = {"enabled": True, "max-sessions": 1, "strategy": "reject-new"}
    trial = Trial(server, open_shop, session={"concurrency": limit}, enter=enter)
    async for shop, _ in trial.each("/enter", moment, connected=True, cookie=begun):
        made = await server.session_ids() - {KNOWN, OTHER}
        whole = [each for each in made if len(each) == 32 and await server.life(each) > SECONDS]
        sessions = shop.container.principal_sessions()
        assert [each.session_id for each in await sessions.find_by_principal("alice")] == whole
        assert (await shop.get("/enter")).status == (409 if whole else 200)


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
            assert await server.life(each) > 0
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
