"""The demo page over HTTP, with the shipped profiles."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from pyfly_session.cli.demo_app import scenes
from pyfly_session.cli.demo_app.app import create_app
from pyfly_session.cli.demo_app.page import clock, short
from pyfly_session.cli.demo_app.settings import allow_plain_http, demo_config
from pyfly_session.config import Config
from tests.support.cases import for_each
from tests.support.types import Patch

COOKIE = "PYFLY_DEMO"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: Patch) -> None:
    for name in ("REDIS_URL", "PYFLY_PROFILES_ACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def browser() -> Iterator[TestClient]:
    """Return a client of the demo with its default profile."""
    with TestClient(create_app(demo_config("dev"))) as client:
        yield client


@pytest.fixture
def redis_browser(valkey_url: str, monkeypatch: Patch) -> Iterator[TestClient]:
    """Return a client of the demo with the prod profile, on a real server."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    config = demo_config("prod")
    assert allow_plain_http(config)
    with TestClient(create_app(config)) as client:
        yield client


@pytest.fixture
def file_config(tmp_path: Path, monkeypatch: Patch) -> Config:
    """Return the configuration of the demo with the file profile, in a file of its own."""
    monkeypatch.setenv("SESSION_FILE", str(tmp_path / "demo.db"))
    return demo_config("file")


@pytest.fixture(params=["browser", "redis_browser"])
def any_browser(request: pytest.FixtureRequest) -> TestClient:
    client: TestClient = request.getfixturevalue(request.param)
    return client


def session_id(client: TestClient) -> str:
    value = client.cookies.get(COOKIE)
    assert value is not None
    return value


def page_with(client: TestClient, old_id: str) -> str:
    """Return the page that somebody with nothing but a copy of an older cookie sees."""
    client.cookies.clear()
    return client.get("/", headers={"Cookie": f"{COOKIE}={old_id}"}).text


def cart_total(html: str) -> int:
    found = re.search(r"Cart <b>(\d+)</b>", html)
    assert found is not None
    return int(found[1])


def test_page_shows_profile_store_and_the_beginning_of_the_id(browser: TestClient) -> None:
    html = browser.get("/").text
    assert "profile <b>dev</b>" in html
    assert "store <b>memory</b>" in html
    assert f"<code>{short(session_id(browser))}<" in html


def test_page_never_shows_the_whole_id(any_browser: TestClient) -> None:
    any_browser.post("/login", data={"user": "Alice"})
    html = any_browser.post("/new-id").text
    assert session_id(any_browser) not in html
    assert session_id(any_browser)[:8] not in html


def test_forms_answer_with_a_redirect_so_that_a_reload_repeats_nothing(browser: TestClient) -> None:
    answer = browser.post("/cart", data={"item": "Jar"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_actions_are_refused_as_get(browser: TestClient) -> None:
    for path in ("/login", "/logout", "/cart", "/new-id", "/idle-time"):
        assert browser.get(path).status_code == 405


def test_cart_counts_by_changes_in_place(any_browser: TestClient) -> None:
    for item in ("Jar", "Jar", "Moss"):
        any_browser.post("/cart", data={"item": item})
    assert cart_total(any_browser.get("/").text) == 3


def test_login_changes_the_id_and_keeps_the_cart(any_browser: TestClient) -> None:
    any_browser.post("/cart", data={"item": "Jar"})
    before = session_id(any_browser)
    html = any_browser.post("/login", data={"user": "Bob"}).text
    after = session_id(any_browser)
    assert before != after
    assert "You are <b>Bob</b>" in html
    assert f"changed from {short(before)}… to {short(after)}…" in html
    assert cart_total(html) == 1


def test_another_user_does_not_get_the_cart_of_the_one_before(any_browser: TestClient) -> None:
    any_browser.post("/login", data={"user": "Alice"})
    any_browser.post("/cart", data={"item": "Jar"})
    html = any_browser.post("/login", data={"user": "Bob"}).text
    assert cart_total(html) == 0
    assert "Alice logged in" not in html


def test_old_id_is_dead_after_new_id(any_browser: TestClient) -> None:
    any_browser.post("/login", data={"user": "Alice"})
    before = session_id(any_browser)
    assert "You are <b>Alice</b>" in any_browser.post("/new-id").text
    assert "Who are you?" in page_with(any_browser, before)


def test_logout_holds_for_a_copy_of_the_cookie(any_browser: TestClient) -> None:
    any_browser.post("/login", data={"user": "Alice"})
    before = session_id(any_browser)
    html = any_browser.post("/logout").text
    assert f"The session {short(before)}… is over" in html
    assert "Who are you?" in html
    assert "Who are you?" in page_with(any_browser, before)


def test_line_about_the_logout_is_not_repeated_on_reload(browser: TestClient) -> None:
    url = browser.post("/logout").url
    assert "is over" not in browser.get(url).text


@pytest.mark.parametrize("value", ["<b>x", "zzzz", "abcde", ""])
def test_only_beginning_of_id_gets_from_link_to_page(browser: TestClient, value: str) -> None:
    assert "is over" not in browser.get("/", params={"ended": value}).text


@pytest.mark.parametrize(("path", "field"), [("/login", "user"), ("/cart", "item")])
def test_unknown_choices_are_refused(browser: TestClient, path: str, field: str) -> None:
    assert browser.post(path, data={field: "Mallory"}).status_code == 400
    assert browser.post(path).status_code == 400
    assert browser.post(path, files={field: b"Alice"}).status_code == 400


def test_idle_time_of_one_session_can_be_short_and_usual_again(any_browser: TestClient) -> None:
    assert 'value="15"' in any_browser.post("/idle-time").text
    assert 'value="1800"' in any_browser.post("/idle-time").text


def test_only_the_latest_events_are_remembered(browser: TestClient) -> None:
    browser.post("/login", data={"user": "Alice"})
    for _ in range(6):
        html = browser.post("/cart", data={"item": "Moss"}).text
    assert html.count("<time") == 6
    assert "Alice logged in" not in html


def test_reading_the_page_in_prod_creates_no_session(redis_browser: TestClient) -> None:
    html = redis_browser.get("/").text
    assert "None so far." in html
    assert COOKIE not in redis_browser.cookies


def test_prod_shows_the_latest_end_too(redis_browser: TestClient) -> None:
    html = redis_browser.post("/cart", data={"item": "Jar"}).text
    assert "At the latest" in html
    assert "store <b>redis</b>" in html


def test_a_login_in_the_file_survives_a_restart_of_the_demo(file_config: Config) -> None:
    with TestClient(create_app(file_config)) as browser:
        browser.post("/login", data={"user": "Alice"})
        cookies = dict(browser.cookies)
    with TestClient(create_app(file_config), cookies=cookies) as browser:
        html = browser.get("/").text
    assert "Alice logged in" in html
    assert "store <b>sql</b>" in html
    assert "the database still knows you" in html


def test_page_loads_nothing_from_elsewhere_and_runs_no_inline_script(browser: TestClient) -> None:
    answer = browser.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    sources = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert all(source.startswith("/") for source in sources)
    for source in (each for each in sources if each != "/"):
        asset = browser.get(source)
        assert asset.status_code == 200
        assert "set-cookie" not in asset.headers


def test_plain_http_takes_secure_from_the_prod_cookie_only() -> None:
    config = demo_config("prod")
    assert allow_plain_http(config)
    assert config["pyfly"]["session"]["cookie"]["secure"] is False
    assert not allow_plain_http(demo_config("dev"))


@pytest.mark.parametrize(
    ("variable", "value"), [("COOKIE_SECURE", "true"), ("COOKIE_NAME", "__Host-demo")]
)
def test_secure_stays_where_environment_asks(monkeypatch: Patch, variable: str, value: str) -> None:
    monkeypatch.setenv(f"PYFLY_SESSION_{variable}", value)
    assert not allow_plain_http(demo_config("prod"))


@for_each(
    ("seconds", "text"),
    [(-1, "0:00"), (0, "0:00"), (59.9, "0:59"), (60, "1:00"), (3599, "59:59"), (3600, "1:00:00")],
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.fixture
async def presses(monkeypatch: Patch) -> AsyncIterator[httpx2.AsyncClient]:
    """Return a client that can press several buttons at once, of a demo that hurries."""
    monkeypatch.setattr(scenes, "_WORK_SECONDS", 0.01)
    monkeypatch.setattr(scenes, "_SLOW_SECONDS", 0.05)
    monkeypatch.setattr(scenes, "_OUTAGE_SECONDS", 0.05)
    transport = httpx2.ASGITransport(create_app(demo_config("dev")))
    async with httpx2.AsyncClient(transport=transport, base_url="http://demo") as client:
        await client.get("/")
        yield client


async def test_forty_requests_at_once_are_forty_lanterns(presses: httpx2.AsyncClient) -> None:
    await presses.post("/forty?start")
    await asyncio.gather(*(presses.post("/forty") for _ in range(40)))
    told = (await presses.get("/forty")).json()
    assert told["here"] == 40
    assert told["elsewhere"] < 40


async def test_a_slow_request_does_not_revive_the_session_that_was_logged_out(
    presses: httpx2.AsyncClient,
) -> None:
    short_id = presses.cookies[COOKIE][:4]
    slow = asyncio.ensure_future(presses.post("/slow"))
    await asyncio.sleep(0)
    await presses.post("/logout")
    await slow
    assert (await presses.get(f"/fate?id={short_id}")).json() == {"alive": False}
    assert (await presses.get("/fate?id=none")).status_code == 404


async def test_a_second_device_is_added_and_signed_out(presses: httpx2.AsyncClient) -> None:
    assert (await presses.post("/device")).status_code == 409
    await presses.post("/login", data={"user": "Alice"})
    await presses.post("/device")
    assert "Alice is logged in on 2 devices" in (await presses.get("/")).text
    await presses.post("/sign-out-others")
    assert "Alice is logged in on this device alone" in (await presses.get("/")).text


async def test_store_goes_and_comes_back_with_what_it_held(presses: httpx2.AsyncClient) -> None:
    await presses.post("/cart", data={"item": "Jar"})
    assert (await presses.post("/outage")).status_code == 204
    assert (await presses.get("/")).status_code == 503
    await asyncio.sleep(scenes._OUTAGE_SECONDS)
    # Its timer was set before this one.
    assert cart_total((await presses.get("/")).text) == 1
