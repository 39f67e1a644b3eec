"""``pyfly.session.on-store-error: anonymous``: who goes on, as whom, and who does not."""

from tests.faults.conftest import OpenShop
from tests.faults.proxy import Proxy
from tests.faults.servers import Server, refusing_port
from tests.faults.shop import assert_unavailable

KNOWN = "a" * 32


async def test_server_that_refuses_lets_everybody_go_on(open_shop: OpenShop) -> None:
    with refusing_port() as port:
        shop = open_shop(f"redis://127.0.0.1:{port}", session={"on-store-error": "anonymous"})
        assert (await shop.get("/read", KNOWN)).text == "[null,true]"
        assert_unavailable(await shop.get("/logout", KNOWN))


async def test_open_circuit_lets_requests_go_on_at_once(
    server: Server, proxy: Proxy, open_shop: OpenShop
) -> None:
    shop = open_shop(
        proxy.url,
        redis={"retries": 0, "circuit-failures": 2, "circuit-pause": 60},
        session={"on-store-error": "anonymous"},
    )
    await server.seed(KNOWN, user="alice")
    proxy.fault(times=1000)
    for _ in range(10):
        assert (await shop.get("/read", KNOWN)).text == "[null,true]"
    assert proxy.passed("LOAD") == 2
