"""The counter, as two browsers see it."""

from __future__ import annotations

import pytest
from app import create_app
from starlette.testclient import TestClient

FIRST, SECOND = "This is visit 1.", "This is visit 2."


@pytest.fixture
def browser() -> TestClient:
    return TestClient(create_app())


def test_visits_are_counted(browser: TestClient) -> None:
    assert FIRST in browser.get("/").text
    assert SECOND in browser.get("/").text


def test_every_browser_has_its_own_count(browser: TestClient) -> None:
    browser.get("/")
    assert FIRST in TestClient(browser.app).get("/").text


def test_who_is_forgotten_begins_anew_and_the_old_cookie_opens_nothing(
    browser: TestClient,
) -> None:
    browser.get("/")
    cookies = dict(browser.cookies)
    assert FIRST in browser.post("/forget").text
    assert FIRST in TestClient(browser.app, cookies=cookies).get("/").text
