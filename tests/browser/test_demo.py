"""The demo, started by its command and used as its visitors use it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Visit
from tests.browser.shop import Shop
from tests.browser.visitor import Visitor

_COMMAND = [sys.executable, "-c", "from pyfly_session.cli import main; main()", "demo"]
_PHONE = {"width": 390, "height": 844}
_OVERHANG = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_FOCUSED = "document.activeElement.ariaLabel || document.activeElement.textContent.trim()"
# The least contrast of a text with what is behind it, and which text it is.
_CONTRAST = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = channels(color).map((each) => each / 255)
      .map((each) => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    const clear = channels(color).length === 4 && channels(color)[3] === 0;
    return clear && element.parentElement ? behind(element.parentElement) : color;
  };
  const seen = [...document.body.querySelectorAll("*")].filter((each) => each.checkVisibility()
    && [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  return seen.map((each) => {
    const [a, b] = [light(getComputedStyle(each).color), light(behind(each))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), each.textContent.trim()];
  }).sort((one, other) => one[0] - other[0])[0];
}"""


@pytest.fixture(scope="module")
def demo() -> Iterator[Shop]:
    """Return the running demo, ended as its visitors end it."""
    environment = {name: value for name, value in os.environ.items() if "PYFLY_" not in name}
    with subprocess.Popen(  # noqa: S603 - our own command line
        [*_COMMAND, "--port", "0"], stdout=subprocess.PIPE, encoding="utf-8", env=environment
    ) as process:
        try:
            assert process.stdout is not None
            url = next(line.split()[1] for line in process.stdout if "http://" in line)
            yield Shop(url, "", None)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=10)[0].endswith("The demo has ended.\n")
        finally:
            process.kill()


@pytest.fixture
def visitor(demo: Shop, visit: Visit) -> Visitor:
    """Return somebody with a fresh browser, on the page."""
    visitor = visit(demo)
    # A name of its own: on this host may be an application with the common one.
    visitor.cookie_name = "PYFLY_DEMO"
    visitor.go()
    return visitor


def cart(visitor: Visitor) -> str:
    return str(visitor.page.locator("#cart b").inner_text())


def shown_id(visitor: Visitor) -> str:
    return str(visitor.page.locator(".id code").inner_text())


def test_a_visit_from_the_first_look_to_the_log_out(visitor: Visitor) -> None:
    anonymous = visitor.cookie
    assert anonymous is not None
    assert shown_id(visitor) == f"{anonymous[:4]}…"
    for name in ("Add Lantern", "Add Moss", "Add Lantern"):
        visitor.press(name)
    assert (cart(visitor), visitor.cookie) == ("3", anonymous)

    visitor.press("Alice")
    logged_in = visitor.cookie
    assert logged_in not in (None, anonymous)
    assert visitor.sees("You are Alice")
    assert visitor.sees(f"The id changed from {anonymous[:4]}… to {str(logged_in)[:4]}…")
    assert cart(visitor) == "3"

    visitor.press("New id")
    renewed = visitor.cookie
    assert renewed not in (None, anonymous, logged_in)
    assert shown_id(visitor) == f"{str(renewed)[:4]}…"

    visitor.page.reload()
    assert (cart(visitor), visitor.cookie) == ("3", renewed)
    assert visitor.sees("You are Alice")

    visitor.press("Log out")
    assert visitor.sees(f"The session {str(renewed)[:4]}… is over")
    assert visitor.sees("Who are you?")
    assert cart(visitor) == "0"
    for copied in (anonymous, logged_in, renewed):
        visitor.cookie = str(copied)
        visitor.go()
        assert visitor.sees("Who are you?")
        assert cart(visitor) == "0"
        # Nor is it adopted: what is put in there is not kept under it.
        assert shown_id(visitor) != f"{str(copied)[:4]}…"
        visitor.press("Add Lantern")
        visitor.cookie = str(copied)
        visitor.go()
        assert cart(visitor) == "0"


def test_another_browser_has_a_session_of_its_own(visitor: Visitor, visit: Visit) -> None:
    visitor.press("Alice")
    visitor.press("Add Jar")
    other = visit(visitor.shop)
    other.go()
    assert other.cookie != visitor.cookie
    assert other.sees("Who are you?")
    assert cart(other) == "0"


def test_everything_is_done_with_nothing_but_keys(visitor: Visitor) -> None:
    page = visitor.page

    def use(name: str) -> None:
        seen = []
        for _ in range(20):
            page.keyboard.press("Tab")
            seen.append(page.evaluate(_FOCUSED))
            if seen[-1] == name:
                break
        else:
            raise AssertionError(f"the key Tab does not lead to {name}, but to {seen}")
        # Who sees where the focus is knows what the key will do.
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        with page.expect_navigation():
            page.keyboard.press("Enter")

    for name in ("Add Lantern", "Bob", "New id", "End after 15 s idle", "Usual idle time"):
        use(name)
    assert visitor.sees("You are Bob")
    assert visitor.sees("The session has its usual idle time again.")
    assert cart(visitor) == "1"
    use("Log out")
    assert visitor.sees("Who are you?")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_legible_and_fits_a_phone(visitor: Visitor, theme: str) -> None:
    page = visitor.page
    page.set_viewport_size(_PHONE)
    page.emulate_media(color_scheme=theme)
    for name in (None, "Add Lantern", "Alice", "New id", "End after 15 s idle", "Log out"):
        if name is not None:
            visitor.press(name)
        assert page.evaluate(_OVERHANG) <= 0
        ratio, text = page.evaluate(_CONTRAST)
        assert ratio >= 4.5, text
    lightness = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert lightness == {"light": "rgb(238, 241, 234)", "dark": "rgb(13, 20, 17)"}[theme]


def test_the_rest_of_the_id_is_left_out_in_letters_of_the_page(visitor: Visitor) -> None:
    # In a monospaced font they are three blocks as wide as letters.
    family = "each => getComputedStyle(each).fontFamily"
    page: Any = visitor.page
    assert page.locator(".id code").evaluate(family).startswith("ui-monospace")
    assert page.locator(".id code span").evaluate(family) == "system-ui, sans-serif"


def test_the_time_that_is_left_is_counted_down(visitor: Visitor) -> None:
    page = visitor.page
    page.clock.install()
    visitor.go()
    left = page.locator("dd").first
    assert left.inner_text() == "30:00"
    page.clock.run_for(61_000)
    assert left.inner_text() == "28:59"
    page.clock.run_for(1800_000)
    assert visitor.sees("This session has ended.")


def told(visitor: Visitor, name: str) -> str:
    """Press the button of a scene, and return what is told of it."""
    page = visitor.page
    with page.expect_navigation():
        page.get_by_role("button", name=name).click()
    # Where the focus was it is again.
    assert page.evaluate(_FOCUSED) == name
    return str(page.locator(".told:not(:empty)").inner_text())


def test_forty_requests_at_once_lose_nothing_and_elsewhere_most(visitor: Visitor) -> None:
    text = told(visitor, "Forty requests at once")
    here, elsewhere = (int(each) for each in re.findall(r"\d+", text)[1:])
    assert here == 40
    assert elsewhere < 40
    assert cart(visitor) == "40"


def test_a_logout_beats_a_slow_request(visitor: Visitor) -> None:
    visitor.press("Alice")
    text = told(visitor, "A logout and a slow request")
    assert text == "The slow request wrote after the logout. The session stayed ended."
    assert visitor.sees("Who are you?")


def test_a_second_device_is_signed_out(visitor: Visitor, demo: Shop, visit: Visit) -> None:
    visitor.press("Bob")
    phone = visit(demo)
    phone.go()
    phone.press("Bob")
    visitor.press("Log in on a second device")
    assert visitor.sees("Bob is logged in on 3 devices")
    visitor.press("Sign out all others")
    assert visitor.sees("Bob is logged in on this device alone")
    phone.page.reload()
    assert phone.sees("Who are you?")


def test_a_store_that_goes_away_and_comes_back_logs_nobody_out(visitor: Visitor) -> None:
    visitor.press("Add Moss")
    visitor.press("Alice")
    text = told(visitor, "Send the store away")
    assert re.fullmatch(r"[1-9]\d* requests got 503\. The store is back, .*", text)
    assert visitor.sees("You are Alice")
    assert cart(visitor) == "1"
    visitor.expect_status(503)


def test_other_tabs_follow(visitor: Visitor) -> None:
    other = visitor.context.new_page()
    visitor.go("/", other)
    with other.expect_navigation():
        visitor.press("Alice")
    assert other.get_by_text("You are Alice").is_visible()
    with other.expect_navigation():
        visitor.press("Log out")
    assert other.get_by_text("Who are you?").is_visible()
    # What was logged out is gone from under the keys, so its heading has the focus.
    assert visitor.page.evaluate(_FOCUSED) == "Who are you?"
