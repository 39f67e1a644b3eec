"""A connection that dies before or after the server did the command: nothing lost or doubled."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pyfly_session import SecurityContext, SessionFilter, WebFilterChainMiddleware, login, logout
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.adapters.redis.scripts import TEXTS
from tests.faults.conftest import OpenShop
from tests.faults.proxy import Proxy, Where
from tests.faults.servers import Server
from tests.faults.shop import Shop, assert_unavailable
from tests.web.driver import Browser

KNOWN = "a" * 32
WHERE = ["before", "after"]

# Path, the command whose answer is lost, and what the session holds afterwards.
WRITES = [
    pytest.param("/write", "SWAP", {"user": "alice", "cart": ["rope"]}, id="merge"),
    pytest.param("/login", "SET", {"user": "bob"}, id="new id"),
    pytest.param("/login", "LEAVE", {"user": "bob"}, id="former id"),
    pytest.param("/logout", "DEL", None, id="logout"),
]


async def warmed_up(server: Server, shop: Shop) -> None:
    """Let the server learn the scripts, and have a connection and the session."""
    for text in TEXTS.values():
        await server.admin.script_load(text)
    assert (await shop.get("/read")).status == 200
    await server.clear()
    await server.seed(KNOWN, user="alice")


@pytest.mark.parametrize("where", WHERE)
async def test_load_is_tried_again(
    server: Server, proxy: Proxy, open_shop: OpenShop, where: Where
) -> None:
    shop = open_shop(proxy.url, redis={"retries": 1})
    await warmed_up(server, shop)
    proxy.fault("LOAD", where=where)
    assert (await shop.get("/read", KNOWN)).text == '["alice",false]'
    assert await server.admin.ttl(f"pyfly:session:{KNOWN}") > 1790


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(("path", "command", "expected"), WRITES)
async def test_write_that_is_tried_again_happens_once(
    server: Server, proxy: Proxy, open_shop: OpenShop, where: Where, path: str, command: str,
    expected: dict[str, object] | None,
) -> None:  # fmt: skip
    shop = open_shop(proxy.url, redis={"retries": 1})
    await warmed_up(server, shop)
    proxy.fault(command, where=where)
    answer = await shop.get(path, KNOWN)
    assert answer.status == 200
    assert proxy.passed(command) >= 2
    if expected is None:
        assert answer.own_cookie.is_deletion
        assert await server.session_ids() == set()
    else:
        assert await server.stored(answer.session_id) == expected
        assert await server.session_ids() == {answer.session_id}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(("visitors", "command"), [(1, "SET"), (3, "CREATE")])
async def test_session_that_is_created_twice_is_one_session(
    server: Server, proxy: Proxy, open_shop: OpenShop, where: Where, visitors: int, command: str
) -> None:
    shop = open_shop(proxy.url, redis={"retries": 1})
    proxy.fault(command, where=where)
    answers = await asyncio.gather(*(shop.get("/write") for _ in range(visitors)))
    assert proxy.passed(command) >= 1
    assert [each.status for each in answers] == [200] * visitors
    assert await server.session_ids() == {each.session_id for each in answers}
    for each in answers:
        assert await server.stored(each.session_id) == {"cart": ["rope"]}


# Without retries, too, the store looks whether a change of id was done.
NOT_ASKED_AGAIN = [each for each in WRITES if each.values[1] != "LEAVE"]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(("path", "command", "expected"), NOT_ASKED_AGAIN)
async def test_without_retries_the_answer_is_503_and_the_client_may_repeat(
    server: Server, proxy: Proxy, open_shop: OpenShop, where: Where, path: str, command: str,
    expected: dict[str, object] | None,
) -> None:  # fmt: skip
    shop = open_shop(proxy.url, redis={"retries": 0})
    await warmed_up(server, shop)
    proxy.fault(command, where=where)
    assert_unavailable(await shop.get(path, KNOWN))
    alive = await server.stored(KNOWN)
    done = where == "after" and (path, command) != ("/login", "SET")
    if not done:
        assert alive == {"user": "alice"}
    elif path != "/write":
        assert alive is None
    answer = await shop.get(path, KNOWN)
    assert answer.status == 200
    if path == "/write":
        assert await server.stored(KNOWN) == expected
    elif path == "/logout":
        assert await server.session_ids() == set()
    else:
        assert await server.stored(answer.session_id) == expected


@pytest.mark.parametrize("where", WHERE)
async def test_new_session_whose_answer_is_lost_gives_503_and_no_cookie(
    server: Server, proxy: Proxy, open_shop: OpenShop, where: Where
) -> None:
    """What may be stored has an id that nobody knows, and goes when its time is over."""
    shop = open_shop(proxy.url, redis={"retries": 0})
    await warmed_up(server, shop)
    await server.clear()
    proxy.fault("SET", where=where)
    assert_unavailable(await shop.get("/write"))
    left = await server.session_ids()
    assert len(left) == (1 if where == "after" else 0)
    for each in left:
        assert await server.admin.ttl(f"pyfly:session:{each}") > 0


@pytest.mark.parametrize("retries", [0, 1])
async def test_connection_that_dies_under_many_requests_loses_none_of_the_answered_writes(
    server: Server, proxy: Proxy, open_shop: OpenShop, retries: int
) -> None:
    async def count(request: Request) -> Response:
        request.state.session.set_attribute(request.query_params["n"], 1)
        return PlainTextResponse("counted")

    shop = open_shop(proxy.url, redis={"retries": retries}, count=count)
    await warmed_up(server, shop)
    for moment in range(6):
        proxy.fault(times=1 + moment % 3, where="before" if moment % 2 else "after")
        paths = [f"/count?n={moment}-{number}" for number in range(10)]
        answers = await asyncio.gather(*(shop.get(path, KNOWN) for path in paths))
        proxy.heal()
        stored = await server.stored(KNOWN)
        assert stored is not None
        for path, answer in zip(paths, answers, strict=True):
            if answer.status == 200:
                assert path.rpartition("=")[2] in stored
            else:
                assert_unavailable(answer)


class TwiceStore(InMemorySessionStore):
    """A store whose driver never hears the first answer to a creation, and asks again."""

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        await super().create_if_absent(session_id, value, ttl)
        return await super().create_if_absent(session_id, value, ttl)


async def count(request: Request) -> Response:
    request.state.session.update_attribute("visits", lambda visits: (visits or 0) + 1)
    return PlainTextResponse("ok")


async def enter(request: Request) -> Response:
    await login(request, SecurityContext(user_id="alice"))
    return PlainTextResponse("hello")


async def leave(request: Request) -> Response:
    await logout(request)
    return PlainTextResponse("bye")


async def show(request: Request) -> Response:
    session = request.state.session
    return PlainTextResponse(f"{session.principal} {session.get_attribute('visits')}")


def twice_asked() -> Browser:
    sessions = SessionFilter(TwiceStore())
    routes = [Route(f"/{page.__name__}", page) for page in (count, enter, leave, show)]
    return Browser(WebFilterChainMiddleware(Starlette(routes=routes), [sessions]))


async def test_function_counts_once_in_a_session_that_is_created_twice() -> None:
    browser = twice_asked()
    await browser.get("/count")
    assert (await browser.get("/show")).text == "None 1"


async def test_login_of_a_session_that_is_created_twice_can_be_ended() -> None:
    browser = twice_asked()
    assert (await browser.get("/enter")).status == 200
    assert (await browser.get("/show")).text == "alice None"
    assert (await browser.get("/leave")).text == "bye"
    assert (await browser.get("/show")).text == "None None"
