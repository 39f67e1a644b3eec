"""Out again: here, at the provider, and for whoever comes after."""

from tests.browser.conftest import Visit
from tests.browser.visitor import Visitor


def test_log_out_ends_the_session_here_and_at_the_provider(visitor: Visitor) -> None:
    visitor.log_in()
    visitor.press("Log out")
    assert visitor.page.url.startswith(f"{visitor.shop.issuer}/session/end?")
    # Whatever the user answers there, here they are out.
    assert visitor.cookie is None
    visitor.press("Yes, sign me out")
    assert visitor.path() == "/"
    assert visitor.sees("Log in with Local accounts")
    visitor.go("/account")
    visitor.page.get_by_placeholder("and password").wait_for()


def test_the_back_button_shows_nothing_of_the_account(visitor: Visitor) -> None:
    visitor.go("/")
    visitor.log_in("alice")
    assert visitor.sees("alice@example.test")
    visitor.log_out()
    # One step back is the provider's question, which sends on to the shop again.
    visitor.page.evaluate("history.go(-2)")
    visitor.page.get_by_placeholder("and password").wait_for()
    assert not visitor.sees("Alice")


def test_cookie_that_was_copied_before_logout_opens_nothing(visitor: Visitor, visit: Visit) -> None:
    visitor.log_in()
    thief = visit(visitor.shop)
    thief.cookie = visitor.cookie or ""
    thief.go("/account")
    assert thief.sees("Hello, Alice")
    visitor.log_out()
    thief.page.reload()
    assert thief.page.url.startswith(visitor.shop.issuer)
    assert not thief.sees("Alice")


def test_the_next_user_of_the_browser_finds_nothing_of_the_former_one(visitor: Visitor) -> None:
    visitor.log_in("alice")
    visitor.go("/")
    visitor.press("Add Oolong")
    visitor.log_out()
    visitor.log_in("bob")
    assert visitor.sees("Hello, Bob")
    assert visitor.cart().startswith("Nothing yet")


def test_another_site_cannot_log_anybody_out(visitor: Visitor) -> None:
    visitor.log_in()
    page = f'<link rel="icon" href="data:,"><form method="post" action="{visitor.shop.url}/logout">'
    visitor.page.route(
        "http://evil.test/",
        lambda route: route.fulfill(content_type="text/html", body=f"{page}<button>Win</button>"),
    )
    visitor.page.goto("http://evil.test/")
    visitor.press("Win")
    assert visitor.sees("Another site cannot log you out.")
    visitor.expect_status(403)
    visitor.go("/account")
    assert visitor.sees("Hello, Alice")


def test_a_logout_at_the_provider_ends_the_session_here(visitor: Visitor, visit: Visit) -> None:
    visitor.log_in("grace")
    elsewhere = visit(visitor.shop)
    elsewhere.log_in("grace")
    at_the_provider = visitor.context.new_page()
    at_the_provider.goto(f"{visitor.shop.issuer}/session/end")
    visitor.press("Yes, sign me out", at_the_provider)
    at_the_provider.get_by_role("heading", name="Sign-out Success").wait_for()
    visitor.page.reload()
    assert visitor.sees("You logged out at Local accounts.")
    # That was one login of two.
    elsewhere.page.reload()
    assert elsewhere.sees("Hello, Grace")
