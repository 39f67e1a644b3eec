"""The page of the management endpoint, as an operator sees and uses it."""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis

from tests.browser.conftest import Visit
from tests.browser.shop import Shop, serving
from tests.browser.visitor import Visitor
from tests.conftest import started_valkey
from tests.management.conftest import application

_FOCUSED = "document.activeElement.textContent.trim() || document.activeElement.id"


@pytest.fixture
def office(valkey_url: str) -> Iterator[Shop]:
    """Return a running application with its management endpoint."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushdb()
    redis_properties = {"store": "redis", "hash-ids": True, "redis": {"url": valkey_url}}
    with open_office({"enabled": True, **redis_properties}) as office:
        yield office


@contextmanager
def open_office(properties: dict[str, Any], **options: Any) -> Iterator[Shop]:
    """Run an application with properties below ``pyfly.session`` and options of `Management`."""
    app, _ = application(properties, **options)
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


def test_operator_ends_session_by_keys_alone(office: Shop, visit: Visit, expect: Any) -> None:
    phone, laptop = (somebody(visit, office, "alice") for _ in range(2))
    root = somebody(visit, office, "root")
    root.go("/manage/")
    page = root.page
    tab_to(page, "prefix")
    page.keyboard.type("alice")
    enter(page)
    tab_to(page, "All of one user: alice")
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
    # Told once, and done once.
    page.reload()
    expect(page.get_by_role("heading", name="alice has 1 session")).to_be_visible()
    assert not root.sees("was ended")
    assert who(laptop) == "alice"


def test_several_are_ended_by_keys_alone(office: Shop, visit: Visit, expect: Any) -> None:
    anna, bob = somebody(visit, office, "anna"), somebody(visit, office, "bob")
    root = somebody(visit, office, "root")
    root.go("/manage/")
    page = root.page
    boxes = page.get_by_role("checkbox", name=re.compile("Pick session .* of (anna|bob)"))
    expect(boxes).to_have_count(2)
    for box in boxes.all():
        box.focus()
        page.keyboard.press("Space")
    tab_to(page, "End the picked ones…")
    enter(page)
    expect(page.get_by_role("heading", name="End these 2 sessions?")).to_be_visible()
    tab_to(page, "End them")
    enter(page)
    expect(page.get_by_role("status")).to_contain_text("2 sessions were ended.")
    assert (who(anna), who(bob), who(root)) == ("nobody", "nobody", "root")


def test_keys_skip_the_header_and_open_what_is_folded(visit: Visit, expect: Any) -> None:
    with open_office({"enabled": True}) as office:
        root = somebody(visit, office, "root")
        root.go("/manage/")
        page = root.page
        tab_to(page, "Skip to the content")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.get_by_label("User, or how the name begins")).to_be_focused()
        tab_to(page, "Conditions")
        page.keyboard.press("Enter")
        expect(page.get_by_role("cell", name="InMemorySessionStore")).to_be_visible()


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


def test_figures_live_until_operator_is_out(office: Shop, visit: Visit, expect: Any) -> None:
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
    why = "you are not logged in as an operator any more; reload the page"
    expect(root.page.locator("#health")).to_have_text(f"unknown {why}")
    expect(root.page.locator("#live")).to_have_text(f"not live: {why}")
    root.expect_status(403)


def test_a_store_that_stops_is_down_on_an_open_page(visit: Visit, expect: Any) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(started_valkey())
        url = f"redis://127.0.0.1:{server.port}/0"
        properties = {"enabled": True, "store": "redis", "redis": {"url": url, "retries": 0}}
        office = stack.enter_context(open_office(properties))
        root = somebody(visit, office, "root")
        root.page.clock.install()
        root.go("/manage/")
        health = root.page.locator("#health")
        expect(health).to_have_text(re.compile(r"UP\s+[\d.]+ ms"))
        up = colour(health.locator("b"))
        server.stop()
        root.page.clock.run_for(5_000)
        # Without the sessions nobody knows who is an operator, and that is what is said.
        why = "The session store is unavailable. Please try again in a moment."
        expect(health).to_have_text(f"DOWN {why}")
        expect(root.page.locator("#live")).to_have_text(f"not live: {why}")
        assert colour(health.locator("b")) != up
        root.expect_status(503)


def test_operator_who_needs_no_session_sees_why_store_is_down(visit: Visit, expect: Any) -> None:
    properties = {
        "enabled": True, "store": "redis", "redis": {"url": "redis://127.0.0.1:1/0", "retries": 0},
        "exclude-patterns": ["/manage/*"],
    }  # fmt: skip
    with open_office(properties, guard=lambda request: True) as office:
        somebody_else = visit(office)
        somebody_else.go("/manage/")
        page = somebody_else.page
        expect(page.locator("#live")).to_contain_text("live, ")
        expect(page.locator("#health")).to_contain_text("DOWN the session store was not reached")


def test_health_is_shown_though_path_is_for_balancers(visit: Visit, expect: Any) -> None:
    properties = {"enabled": True, "exclude-patterns": ["/manage/health"]}
    with open_office(properties, open_health=True) as office:
        root = somebody(visit, office, "root")
        root.go("/manage/")
        expect(root.page.locator("#live")).to_contain_text("live, ")
        expect(root.page.locator("#health")).to_have_text(re.compile(r"UP\s+[\d.]+ ms"))


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (None, "unknown the server does not answer"),
        ({"status": 502, "body": "<h1>Bad gateway</h1>"}, "unknown the answer was 502"),
        ({"status": 503, "body": "<h1>Busy</h1>"}, "DOWN the answer was 503"),
        ({"status": 200, "body": "<h1>Log in</h1>"}, "unknown the answer was 200"),
        ({"status": 200, "body": '{"health": {'}, "unknown the answer was 200"),
    ],
    ids=["nobody", "a proxy", "a busy proxy", "a login", "half"],
)
def test_an_answer_that_tells_nothing_leaves_the_state_unknown(
    visit: Visit, expect: Any, answer: dict[str, Any] | None, state: str
) -> None:
    with open_office({"enabled": True}) as office:
        root = somebody(visit, office, "root")
        root.page.clock.install()
        root.go("/manage/")
        expect(root.page.locator("#live")).to_contain_text("live, ")

        def answered(route: Any) -> None:
            if answer is None:
                route.abort()
            else:
                route.fulfill(content_type="text/html", **answer)

        root.page.route("**/manage/live", answered)
        root.page.clock.run_for(5_000)
        expect(root.page.locator("#health")).to_have_text(state)
        root.page.unroute("**/manage/live")
        root.page.clock.run_for(5_000)
        expect(root.page.locator("#health")).to_contain_text("UP ")
        # What the browser itself says of such an answer.
        root.console.clear()


def test_what_first_happens_on_open_page_gets_figure_of_its_own(visit: Visit, expect: Any) -> None:
    with open_office({"enabled": True}) as office:
        root = somebody(visit, office, "root")
        root.page.clock.install()
        root.go("/manage/")
        figure = root.page.locator("[data-event='<b>new</b>']")
        expect(figure).to_have_count(0)
        container = office.app.state.session_container
        container.session_repository().counts["<b>new</b>"] += 2
        root.page.clock.run_for(5_000)
        expect(figure).to_have_text("2")
        root.page.clock.run_for(5_000)
        expect(figure).to_have_count(1)
        expect(root.page.get_by_text("<b>new</b>", exact=True)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_day_and_by_night(
    visit: Visit, expect: Any, chromium: Any, scheme: str
) -> None:
    with open_office({"enabled": True}) as office:
        root = somebody(visit, office, "root")
        root.page.emulate_media(color_scheme=scheme)
        root.go("/manage/?principal=root")
        expect(root.page.locator("#live")).to_contain_text("live, ")
        page = background(root.page.locator("body"))
        assert (luminance(page) < 0.2) == (scheme == "dark")
        card = background(root.page.locator("section").first)
        for part in ("h1", "label", "#health b", "#live", "#found b", "td", "td a", "dt", "dd"):
            shown = root.page.locator(part).first
            under = page if part.startswith("#health") else card
            assert contrast(colour(shown), under) >= 4.5, part
        root.follow("End all…")
        button = root.page.get_by_role("button", name="End them")
        assert contrast(colour(button), background(button)) >= 4.5


def colour(element: Any, name: str = "color") -> list[float]:
    """Return a computed colour as red, green and blue."""
    text = element.evaluate("(each, name) => getComputedStyle(each)[name]", name)
    return [float(each) for each in re.findall(r"[\d.]+", text)[:3]]


def background(element: Any) -> list[float]:
    return colour(element, "backgroundColor")


def luminance(colour: list[float]) -> float:
    """Return the relative luminance. Source: WCAG 2.2, definition of relative luminance."""
    parts = [each / 255 for each in colour]
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: list[float], other: list[float]) -> float:
    """Return the contrast ratio, from 1 to 21; 4.5 is needed to read a text."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_a_hostile_name_is_a_name(office: Shop, visit: Visit, expect: Any) -> None:
    name = "</title><script>alert(1)</script><img src=x onerror=alert(2)>'\""
    mallory, root = somebody(visit, office, name), somebody(visit, office, "root")
    dialogs: list[Any] = []
    # Nobody answers it: a page with a dialog waits.
    root.page.on("dialog", lambda dialog: dialogs.append(dialog))
    root.go("/manage/")
    root.page.get_by_label("User, or how the name begins").fill(name)
    root.press("Search")
    expect(root.page.get_by_role("rowheader")).to_contain_text(name)
    root.follow("All of one user:")
    expect(root.page.get_by_role("heading", name="has 1 session")).to_contain_text(name)
    root.follow("End all…")
    root.press("End them")
    assert root.sees("1 session was ended.")
    assert (who(mallory), dialogs) == ("nobody", [])


def test_names_of_properties_and_beans_are_whole_on_wide_screen(visit: Visit, expect: Any) -> None:
    with open_office({"enabled": True}) as office:
        root = somebody(visit, office, "root")
        page = root.page
        page.set_viewport_size({"width": 1100, "height": 800})
        root.go("/manage/")
        for each in page.locator("summary").all():
            each.click()
        names = page.locator(".names th code")
        lines = names.evaluate_all(
            "all => all.map((each) => new Set([...each.getClientRects()].map((r) => r.top)).size)"
        )
        assert len(lines) > 40
        assert set(lines) == {1}
        assert page.evaluate("document.documentElement.scrollWidth") <= 1100


def test_times_are_in_utc_on_a_narrow_screen_too(visit: Visit) -> None:
    with open_office({"enabled": True}) as office:
        root = somebody(visit, office, "root")
        root.page.set_viewport_size({"width": 390, "height": 800})
        root.go("/manage/?principal=root")
        times = root.page.locator("td[data-label]:visible")
        labels = times.evaluate_all(
            "all => all.slice(0, 2).map((each) => getComputedStyle(each, '::before').content)"
        )
        assert labels == ['"Logged in"', '"Last written"']


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
