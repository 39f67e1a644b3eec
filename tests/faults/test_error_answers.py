"""A server that is there and answers with an error."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack

import pytest

from tests.faults.conftest import OpenShop, StartServer
from tests.faults.proxy import Proxy
from tests.faults.servers import Server
from tests.faults.shop import assert_unavailable

KNOWN = "a" * 32


async def test_server_out_of_memory_reads_and_logs_out_but_does_not_write(
    server: Server, open_shop: OpenShop
) -> None:
    shop = open_shop(server.url)
    await server.seed(KNOWN, user="alice")
    await server.admin.config_set("maxmemory-policy", "noeviction")
    await server.admin.config_set("maxmemory", 1)
    assert (await shop.get("/read", KNOWN)).text == '["alice",false]'
    assert_unavailable(await shop.get("/write", KNOWN))
    assert_unavailable(await shop.get("/login", KNOWN))
    assert_unavailable(await shop.get("/write"))
    assert await server.session_ids() == {KNOWN}
    assert await server.stored(KNOWN) == {"user": "alice"}
    assert await server.admin.dbsize() == 1
    assert (await shop.get("/logout", KNOWN)).status == 200
    assert await server.session_ids() == set()
    await server.admin.config_set("maxmemory", 0)
    answer = await shop.get("/write")
    assert await server.stored(answer.session_id) == {"cart": ["rope"]}


async def test_memory_that_runs_out_between_the_steps_of_a_change_of_id_logs_nobody_out(
    server: Server, proxy: Proxy, open_shop: OpenShop
) -> None:
    shop = open_shop(proxy.url)
    await server.seed(KNOWN, user="alice")
    proxy.fault("SWAP", reply=b"-OOM command not allowed when used memory > 'maxmemory'.\r\n")
    assert_unavailable(await shop.get("/login", KNOWN))
    assert await server.stored(KNOWN) == {"user": "alice"}
    answer = await shop.get("/login", KNOWN)
    assert await server.stored(answer.session_id) == {"user": "bob"}
    assert await server.stored(KNOWN) is None


async def test_replica_gives_503_until_it_is_promoted(
    server: Server, start_server: StartServer, open_shop: OpenShop
) -> None:
    """Loading a session extends its life, which is a write."""
    replica = await start_server()
    await replica.seed(KNOWN, user="alice")
    shop = open_shop(replica.url)
    assert (await shop.get("/read", KNOWN)).status == 200
    await replica.admin.config_set("replica-serve-stale-data", "yes")
    # Used a moment ago, so that there is something to extend.
    await replica.admin.expire(f"pyfly:session:{KNOWN}", 1790)
    await replica.admin.replicaof("127.0.0.1", server.port)
    for path in ("/read", "/write", "/logout"):
        assert_unavailable(await shop.get(path, KNOWN))
    await replica.admin.replicaof("NO", "ONE")
    await replica.seed(KNOWN, user="alice")
    assert (await shop.get("/read", KNOWN)).text == '["alice",false]'


async def test_connection_to_a_former_master_is_given_up(
    server: Server, start_server: StartServer, proxy: Proxy, open_shop: OpenShop
) -> None:
    """The address leads to the new master already; open connections still end at the former."""
    shop = open_shop(proxy.url)
    await server.seed(KNOWN, user="alice")
    assert (await shop.get("/read", KNOWN)).status == 200
    promoted = await start_server()
    await promoted.seed(KNOWN, user="alice")
    await server.admin.replicaof("127.0.0.1", promoted.port)
    proxy.target = promoted.port
    await shop.get("/write", KNOWN)
    assert (await shop.get("/write", KNOWN)).status == 200
    assert await promoted.stored(KNOWN) == {"user": "alice", "cart": ["rope"]}


@pytest.mark.parametrize("given", [None, "wrong"])
async def test_server_that_wants_another_password_gives_503_and_names_the_reason(
    start_server: StartServer,
    open_shop: OpenShop,
    caplog: pytest.LogCaptureFixture,
    given: str | None,
) -> None:
    server = await start_server(password="right")
    shop = open_shop(server.url, redis={"password": given} if given else None)
    assert_unavailable(await shop.get("/read", KNOWN))
    assert_unavailable(await shop.get("/write"))
    assert "uthentication" in caplog.text
    assert "right" not in caplog.text
    await server.admin.config_set("requirepass", given or "")
    server.admin.connection_pool.connection_kwargs["password"] = given
    assert (await shop.get("/write")).status == 200


async def test_user_who_may_not_run_scripts_is_served_without_them(
    server: Server, open_shop: OpenShop, caplog: pytest.LogCaptureFixture
) -> None:
    await server.admin.acl_setuser(
        "sessions",
        enabled=True,
        passwords=["+secret"],
        keys=["*"],
        categories=["+@all", "-@scripting"],
    )
    await server.seed(KNOWN, user="alice")
    shop = open_shop(server.url, redis={"username": "sessions", "password": "secret"})
    answers = [await shop.get(path, KNOWN) for path in ("/read", "/write", "/login")]
    assert [each.status for each in answers] == [200, 200, 200]
    assert await server.stored(answers[-1].session_id) == {"user": "bob", "cart": ["rope"]}
    assert caplog.text.count("'evalsha'") == 1


async def test_server_that_is_too_old_gives_503_and_says_so(
    start_server: StartServer, open_shop: OpenShop, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = [("--rename-command", each, "") for each in ("EVALSHA", "EVAL", "TTL")]
    server = await start_server(*itertools.chain(*lacking))
    shop = open_shop(server.url)
    await server.seed(KNOWN, user="alice")
    assert_unavailable(await shop.get("/read", KNOWN))
    assert "needs Redis 6.2 or newer" in caplog.text
    assert KNOWN not in caplog.text


async def test_server_without_scripts_is_used_without_them(
    start_server: StartServer, open_shop: OpenShop
) -> None:
    server = await start_server(
        *("--rename-command", "EVALSHA", ""), *("--rename-command", "EVAL", "")
    )
    shop = open_shop(server.url)
    await server.seed(KNOWN, user="alice")
    assert (await shop.get("/write", KNOWN)).status == 200
    answer = await shop.get("/login", KNOWN)
    assert await server.stored(answer.session_id) == {"user": "bob", "cart": ["rope"]}
    assert await server.session_ids() == {answer.session_id}


@pytest.mark.parametrize("path", ["/write", "/login"])
async def test_server_that_forgot_the_script_learns_it_again(
    server: Server, open_shop: OpenShop, path: str
) -> None:
    shop = open_shop(server.url)
    await server.seed(KNOWN, user="alice")
    assert (await shop.get("/write", KNOWN)).status == 200
    await server.admin.script_flush()
    answer = await shop.get(path, KNOWN)
    assert answer.status == 200
    stored = await server.stored(answer.session_id)
    assert stored is not None
    assert stored["cart"] == ["rope"]


@pytest.mark.parametrize(
    "reply",
    [
        b"-LOADING Valkey is loading the dataset in memory\r\n",
        b"-BUSY Valkey is busy running a script.\r\n",
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        b"-MISCONF Errors writing to the AOF file: No space left on device\r\n",
        b"-ERR something that nobody has heard of\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"+OK\r\n",
        b":1\r\n",
    ],
    ids=lambda reply: reply.split()[0].decode(),
)
@pytest.mark.parametrize(("path", "command"), [("/read", "LOAD"), ("/write", "SWAP")])
async def test_unexpected_answer_gives_no_200_with_lost_data(
    server: Server, proxy: Proxy, open_shop: OpenShop, path: str, command: str, reply: bytes
) -> None:
    shop = open_shop(proxy.url, redis={"retries": 0})
    await server.seed(KNOWN, user="alice")
    assert (await shop.get("/write", KNOWN)).status == 200
    proxy.fault(command, reply=reply)
    answer = await shop.get(path, KNOWN, swallow=True)
    assert answer.status == 503 or (path == "/read" and reply[:1] in b"+:"), answer
    proxy.heal()
    assert (await shop.get("/read", KNOWN)).text == '["alice",false]'


async def test_address_of_something_else_gives_503(
    server: Server, open_shop: OpenShop, closing: AsyncExitStack
) -> None:
    """An HTTP server, for example."""

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(web, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    shop = open_shop(f"redis://127.0.0.1:{port}")
    assert_unavailable(await shop.get("/read", KNOWN))
    listener.close()
    await listener.wait_closed()
