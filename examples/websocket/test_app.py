"""The chat as two browsers see it, each with cookies of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from app import create_app
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Starlette:
    monkeypatch.delenv("REDIS_URL", raising=False)
    return create_app()


@pytest.fixture
def alice(app: Starlette) -> Iterator[TestClient]:
    with TestClient(app) as browser:
        browser.post("/login", data={"name": "alice"})
        yield browser


def test_visitor_is_asked_for_a_name_and_gets_no_session(app: Starlette) -> None:
    visitor = TestClient(app)
    assert "Your name" in visitor.get("/").text
    assert not visitor.cookies


def test_visitor_may_not_listen(app: Starlette) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as caught,
        TestClient(app).websocket_connect("/chat"),
    ):
        pass
    assert caught.value.code == 1008


def test_what_is_said_is_counted_in_the_session(alice: TestClient) -> None:
    assert "Log out" in alice.get("/").text
    with alice.websocket_connect("/chat") as chat:
        assert chat.receive_text() == "alice is here"
        for number in (1, 2):
            chat.send_text("hello")
            assert chat.receive_text() == f"alice ({number}): hello"
    with alice.websocket_connect("/chat") as chat:
        chat.receive_text()
        chat.send_text("again")
        assert chat.receive_text() == "alice (3): again"


def test_everybody_hears_it(app: Starlette, alice: TestClient) -> None:
    bob = TestClient(app)
    bob.portal = alice.portal  # one server, one event loop
    bob.post("/login", data={"name": "bob"})
    with alice.websocket_connect("/chat") as hers, bob.websocket_connect("/chat") as his:
        assert [hers.receive_text(), hers.receive_text()] == ["alice is here", "bob is here"]
        hers.send_text("hello")
        assert [his.receive_text(), his.receive_text()] == ["bob is here", "alice (1): hello"]


def test_logout_in_another_tab_closes_the_chat(alice: TestClient) -> None:
    with alice.websocket_connect("/chat") as chat:
        assert chat.receive_text() == "alice is here"
        alice.post("/logout")
        with pytest.raises(WebSocketDisconnect) as caught:
            chat.receive_text()
    assert caught.value.code == 1008
    assert "Your name" in alice.get("/").text


def test_page_of_another_site_may_not_listen(alice: TestClient) -> None:
    foreign = {"Origin": "https://evil.example"}
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        alice.websocket_connect("/chat", headers=foreign),
    ):
        pass
    assert caught.value.status_code == 403
