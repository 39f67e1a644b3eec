"""The page of the management endpoint, as an operator sees and uses it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.browser.conftest import Visit
from tests.browser.shop import Shop, serving
from tests.browser.visitor import Visitor
from tests.management.conftest import application

_FOCUSED = "document.activeElement.textContent.trim() || document.activeElement.id"


@pytest.fixture(params=["memory", "valkey"])
def office(request: pytest.FixtureRequest) -> Iterator[Shop]:
    """Return a running application with its management endpoint, over each kind of store."""
    properties: dict[str, Any] = {"enabled": True}
    if request.param == "valkey":
        url = request.getfixturevalue("valkey_url")
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        properties |= {"store": "redis", "hash-ids": True, "redis": {"url": url}}
    app, _ = application(properties)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with serving(app, listener):
            yield Shop(url, "", app)


@pytest.fixture
def expect(chromium: Any) -> Any:
    """Return what waits for a page to say something."""
    from playwright.sync_api import expect

    return expect


def somebody(visit: Visit, office: Shop, name: str) -> Visitor:
    visitor = visit(office)
    assert visitor.context.request.get(f"{office.url}/in", params={"name": name}).ok
    return visitor


def who(visitor: Visitor) -> str:
    return str(visitor.context.request.get(f"{visitor.shop.url}/who").text())


def tab_to(page: Any, name: str) -> None:
    """Press the key Tab until something of this name has the focus."""
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(re.sub(r"\s+", " ", page.evaluate(_FOCUSED)))
        if seen[-1] == name:
            return
    raise AssertionError(f"the key Tab does not lead to {name}, but to {seen}")


def enter(page: Any) -> None:
    """Press the key Enter where it leads to another page."""
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_an_operator_ends_a_session_with_nothing_but_keys(
    office: Shop, visit: Visit, expect: Any
) -> None:
    phone, laptop = (somebody(visit, office, "alice") for _ in range(2))
    root = somebody(visit, office, "root")
    root.go("/manage/")
    page = root.page
    tab_to(page, "principal")
    page.keyboard.type("alice")
    enter(page)
    expect(page.get_by_role("heading", name="alice has 2 sessions")).to_be_visible()
    # The oldest login is the first.
    handle = page.get_by_role("rowheader").first.inner_text().strip()
    tab_to(page, f"End session {handle}…")
    enter(page)
    expect(page.get_by_role("heading", name=f"End the session {handle} of alice?")).to_be_visible()
    assert who(phone) == "alice"
    tab_to(page, "Keep it")
    enter(page)
    assert who(phone) == "alice"
    tab_to(page, f"End session {handle}…")
    enter(page)
    tab_to(page, "End the session")
    enter(page)
    # Whoever hears the page is told at once.
    expect(page.get_by_role("status")).to_be_focused()
    expect(page.get_by_role("status")).to_contain_text("1 session was ended.")
    expect(page.get_by_role("heading", name="alice has 1 session")).to_be_visible()
    assert (who(phone), who(laptop)) == ("nobody", "alice")
    page.reload()
    assert who(laptop) == "alice"


def test_it_works_without_scripts(office: Shop, visit: Visit, chromium: Any) -> None:
    alice, root = somebody(visit, office, "alice"), somebody(visit, office, "root")
    with chromium.new_context(java_script_enabled=False) as context:
        context.add_cookies(root.context.cookies())
        page = context.new_page()
        page.goto(f"{office.url}/manage/")
        page.get_by_label("Session id").fill(alice.cookie)
        page.get_by_role("button", name="Show").click()
        assert alice.cookie is not None
        assert alice.cookie not in page.url + page.content()
        page.get_by_role("link", name="End this session…").click()
        page.get_by_role("button", name="End the session").click()
        assert "1 session was ended." in page.inner_text("main")
    assert who(alice) == "nobody"


def test_figures_are_live_until_the_operator_is_logged_out(
    office: Shop, visit: Visit, expect: Any
) -> None:
    root, other = (somebody(visit, office, "root") for _ in range(2))
    root.page.clock.install()
    root.go("/manage/")
    expect(root.page.locator("#live")).to_contain_text("live, ")
    ended = root.page.locator("[data-event=ended]")
    expect(ended).to_have_text("0")
    somebody(visit, office, "alice")
    other.go("/manage/confirm?principal=alice")
    other.press("End them")
    root.page.clock.run_for(5_000)
    expect(ended).to_have_text("1")
    other.go("/manage/?principal=root")
    other.follow("End all but yours…")
    other.press("End them")
    assert other.sees("1 session was ended.")
    root.page.clock.run_for(5_000)
    expect(root.page.locator("#live")).to_have_text("not live: the answer was 403")
    root.expect_status(403)


def test_a_hostile_name_is_a_name(office: Shop, visit: Visit, expect: Any) -> None:
    name = "</title><script>alert(1)</script><img src=x onerror=alert(2)>'\""
    mallory, root = somebody(visit, office, name), somebody(visit, office, "root")
    dialogs: list[Any] = []
    # Nobody answers it: a page with a dialog waits.
    root.page.on("dialog", lambda dialog: dialogs.append(dialog))
    root.go("/manage/")
    root.page.get_by_label("User").fill(name)
    root.press("Search")
    expect(root.page.get_by_role("heading", name="has 1 session")).to_contain_text(name)
    root.follow("End all…")
    root.press("End them")
    assert root.sees("1 session was ended.")
    assert who(mallory) == "nobody"
    assert dialogs == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(office: Shop, visit: Visit, width: int) -> None:
    root = somebody(visit, office, "root")
    page = root.page
    page.set_viewport_size({"width": width, "height": 800})
    root.go("/manage/?principal=root")
    for each in page.locator("summary").all():
        each.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("rowheader").first.get_by_role("link").click()
    root.follow("Show the values")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    root.follow("End this session…")
    assert root.sees("you will be logged out, too")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
