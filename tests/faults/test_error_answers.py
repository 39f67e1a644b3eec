"""A server that is there and answers with an error."""

import pytest

from tests.faults.conftest import OpenShop, StartServer
from tests.faults.proxy import Proxy
from tests.faults.servers import Server
from tests.faults.shop import assert_unavailable
from tests.support.types import Log

KNOWN = "a" * 32


async def test_full_server_reads_and_logs_out(server: Server, open_shop: OpenShop) -> None:
    shop = open_shop(server.url)
    await server.seed(KNOWN, user="alice")
    await server.admin.config_set("maxmemory-policy", "noeviction")
    await server.admin.config_set("maxmemory", 1)
    assert (await shop.get("/read", KNOWN)).text == '["alice",false]'
    assert_unavailable(await shop.get("/write", KNOWN))
    assert_unavailable(await shop.get("/login", KNOWN))
    assert_unavailable(await shop.get("/write"))
    assert (await server.session_ids(), await server.stored(KNOWN)) == ({KNOWN}, {"user": "alice"})
    assert (await server.admin.dbsize(), (await shop.get("/logout", KNOWN)).status) == (1, 200)
    assert await server.session_ids() == set()
    await server.admin.config_set("maxmemory", 0)
    answer = await shop.get("/write")
    assert await server.stored(answer.session_id) == {"cart": ["rope"]}


async def test_memory_that_runs_out_between_the_steps_of_a_change_of_id_logs_nobody_out(
    server: Server, proxy: Proxy, open_shop: OpenShop
) -> None:
    shop = open_shop(proxy.url)
    await server.seed(KNOWN, user="alice")
    proxy.fault("LEAVE", reply=b"-OOM command not allowed when used memory > 'maxmemory'.\r\n")
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
    start_server: StartServer, open_shop: OpenShop, caplog: Log, given: str | None
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
