"""``pyfly.session.on-store-error: anonymous``: who goes on, as whom, and who does not."""

from __future__ import annotations

import pytest

from tests.faults.conftest import OpenShop
from tests.faults.proxy import Proxy
from tests.faults.servers import Server, refusing_port
from tests.faults.shop import Shop, assert_unavailable

KNOWN = "a" * 32


@pytest.fixture
async def shop(server: Server, proxy: Proxy, open_shop: OpenShop) -> Shop:
    """Return a tolerant application, with a session of alice in the server."""

    shop = open_shop(proxy.url, redis={"retries": 0}, session={"on-store-error": "anonymous"})
    await server.seed(KNOWN, user="alice")
    return shop


async def test_request_goes_on_with_an_empty_session_that_is_not_saved(
    server: Server, proxy: Proxy, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.fault(times=1000)
    answer = await shop.get("/read", KNOWN)
    assert (answer.status, answer.text) == (200, "[null,true]")
    assert answer.cookie() is None
    assert "a request goes on without its session" in caplog.text
    assert KNOWN not in caplog.text
    proxy.heal()
    assert (await shop.get("/read", KNOWN)).text == '["alice",false]'
    assert await server.session_ids() == {KNOWN}


@pytest.mark.parametrize("path", ["/write", "/login"])
async def test_what_it_writes_is_dropped_even_if_the_server_is_back(
    server: Server, proxy: Proxy, shop: Shop, path: str
) -> None:
    proxy.fault("LOAD")
    answer = await shop.get(path, KNOWN)
    assert answer.status == 200
    assert answer.cookie() is None
    assert await server.session_ids() == {KNOWN}
    assert await server.stored(KNOWN) == {"user": "alice"}


async def test_visitor_without_a_cookie_goes_on_without_a_new_session(
    server: Server, proxy: Proxy, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.fault(times=1000)
    for path in ("/idle", "/write"):
        answer = await shop.get(path)
        assert answer.status == 200
        assert answer.cookie() is None
    assert "a new session is not saved" in caplog.text
    assert await server.session_ids() == {KNOWN}


@pytest.mark.parametrize(
    ("path", "command"),
    [("/write", "SWAP"), ("/login", "SET"), ("/login", "SWAP"), ("/logout", "DEL")],
)
async def test_write_to_a_session_that_was_loaded_still_gives_503(
    server: Server, proxy: Proxy, shop: Shop, path: str, command: str
) -> None:
    proxy.fault(command, times=1000)
    assert_unavailable(await shop.get(path, KNOWN))
    assert await server.stored(KNOWN) == {"user": "alice"}


async def test_logout_of_a_session_that_could_not_be_loaded_gives_503(
    server: Server, proxy: Proxy, shop: Shop
) -> None:
    """Else the browser would say goodbye while the session lives on."""
    proxy.fault(times=1000)
    assert_unavailable(await shop.get("/logout", KNOWN))
    proxy.heal()
    assert (await shop.get("/logout", KNOWN)).status == 200
    assert await server.session_ids() == set()


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
