"""A change of id that the server has done is answered as done, whatever fails behind that."""

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pyfly_session import SecurityContext, login
from pyfly_session.adapters.redis.scripts import TEXTS
from pyfly_session.security import context_of
from tests.faults.conftest import OpenShop
from tests.faults.proxy import Proxy, Where
from tests.faults.servers import Server
from tests.faults.shop import Shop, assert_unavailable
from tests.support.cases import for_each

# Seconds; the lost answers below are waited for so long.
PATIENCE = 0.3
FULL_LIFE = 1790
CUT, NO_ANSWER = None, b""


async def enter(request: Request) -> Response:
    await login(request, SecurityContext(user_id="alice"))
    return PlainTextResponse("hello")


async def renew(request: Request) -> Response:
    request.state.session.rotate_id()
    return PlainTextResponse("renewed")


async def who(request: Request) -> Response:
    session = request.state.session
    return JSONResponse([context_of(session).user_id, session.get_attribute("cart")])


class OnePlace:
    """A shop whose users may be logged in at one place, behind a proxy."""

    def __init__(self, server: Server, proxy: Proxy, open_shop: OpenShop) -> None:
        self.server = server
        self.proxy = proxy
        self._open = open_shop

    async def open(self, *, patience: float = PATIENCE, **redis: Any) -> Shop:
        """Return the shop; the server is empty, and knows the scripts."""
        await self.server.clear()
        for text in TEXTS.values():
            await self.server.admin.script_load(text)
        limit = {"enabled": True, "max-sessions": 1, "strategy": "reject-new"}
        pages = {"enter": enter, "renew": renew, "who": who}
        return self._open(
            self.proxy.url, patience=patience, redis={"retries": 0, **redis},
            session={"concurrency": limit}, **pages,
        )  # fmt: skip


@pytest.fixture
def one_place(server: Server, proxy: Proxy, open_shop: OpenShop) -> OnePlace:
    return OnePlace(server, proxy, open_shop)


async def visitor(shop: Shop) -> str:
    return (await shop.get("/write")).session_id


async def user(shop: Shop) -> str:
    return (await shop.get("/enter", await visitor(shop))).session_id


CHANGES = [(visitor, "/enter"), (user, "/renew"), (user, "/enter")]


async def assert_moved(one_place: OnePlace, shop: Shop, former: str, new: str) -> None:
    """Assert that alice is where the browser was told, with her cart, and has the one place."""
    assert new != former
    assert (await shop.get("/who", former)).text == "[null,null]"
    assert (await shop.get("/who", new)).text == '["alice",["rope"]]'
    assert await one_place.server.life(new) >= FULL_LIFE
    assert (await shop.get("/enter", await visitor(shop))).status == 409


@for_each(("command", "where"), [("LEAVE", "before"), ("LEAVE", "after"), ("EXPIRE", "before")])
@for_each("fault", [CUT, NO_ANSWER])
@for_each(("begin", "path"), CHANGES)
async def test_change_of_id_is_told_though_an_answer_of_its_last_steps_is_lost(
    one_place: OnePlace, begin: Any, path: str, command: str, where: Where, fault: bytes | None
) -> None:
    """200 with the new cookie: the store looks whether it was done, and does it if not."""
    shop = await one_place.open()
    former = await begin(shop)
    one_place.proxy.fault(command, where=where, reply=fault)
    answer = await shop.get(path, former)
    assert answer.status == 200
    await assert_moved(one_place, shop, former, answer.session_id)


@for_each(("begin", "path"), CHANGES)
async def test_change_of_id_that_is_done_at_the_deadline_is_told(
    one_place: OnePlace, begin: Any, path: str
) -> None:
    """Each answer comes in time, but all of them together take longer than the deadline."""
    shop = await one_place.open(patience=30, deadline=1.0)
    former = await begin(shop)
    one_place.proxy.delay = 0.4
    answer = await shop.get(path, former)
    one_place.proxy.heal()
    assert answer.status == 200
    await assert_moved(one_place, shop, former, answer.session_id)


async def test_login_that_nobody_knows_to_be_done_is_not_taken_for_one(
    one_place: OnePlace, server: Server
) -> None:
    """503, and the server is gone before it can tell: the next login is one of its own.

    What the first one may have left has seconds to live.
    """
    shop = await one_place.open()
    former = await visitor(shop)
    proxy = one_place.proxy

    def fall_silent() -> None:
        proxy.silent = True

    proxy.fault("LEAVE", where="after", reply=NO_ANSWER, notice=fall_silent)
    assert_unavailable(await shop.get("/enter", former))
    proxy.heal()
    keys = await server.admin.keys("pyfly:session:" + "[0-9a-f]" * 32)
    assert [0 < await server.admin.ttl(key) <= 30 for key in keys] == [True]
    await server.admin.delete(*keys)
    shop.clock.advance(301)
    answer = await shop.get("/enter", former)
    assert answer.status == 200
    assert (await shop.get("/who", answer.session_id)).text == '["alice",null]'


async def test_login_is_not_joined_by_a_user_who_never_heard_of_it(
    one_place: OnePlace, open_shop: OpenShop
) -> None:
    """At once after the 503, without a limit: the second login gets a session and its cookie."""
    proxy = one_place.proxy
    shop = open_shop(
        proxy.url, patience=PATIENCE, redis={"retries": 0}, enter=enter, renew=renew, who=who
    )
    await user(shop)
    former = await visitor(shop)

    def fall_silent() -> None:
        proxy.silent = True

    proxy.fault("LEAVE", where="after", reply=NO_ANSWER, notice=fall_silent)
    assert_unavailable(await shop.get("/enter", former))
    proxy.heal()
    answer = await shop.get("/enter", former)
    assert answer.status == 200
    assert (await shop.get("/who", answer.session_id)).text == '["alice",null]'


async def test_place_of_a_login_that_nobody_knows_to_be_done_is_free_at_once(
    one_place: OnePlace,
) -> None:
    """503, for the look whether it was done fails as well; but the record can be changed."""
    shop = await one_place.open()
    former = await visitor(shop)
    proxy = one_place.proxy
    proxy.fault("LEAVE", where="after", notice=lambda: proxy.fault("GET"))
    assert_unavailable(await shop.get("/enter", former))
    answer = await shop.get("/enter", former)
    assert answer.status == 200
    assert (await shop.get("/who", answer.session_id)).text == '["alice",null]'
