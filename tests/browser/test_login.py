"""To the provider and back, as a person does it."""

import pytest

from tests.browser.conftest import Visit
from tests.browser.visitor import Visitor


@pytest.mark.parametrize("shop", ["memory", "valkey"], indirect=True)
def test_the_whole_way_from_the_shelf_to_the_account(visitor: Visitor) -> None:
    page = visitor.page
    visitor.go("/")
    assert visitor.cookie is None
    visitor.press("Add Sencha")
    visitor.press("Add Sencha")
    anonymous = visitor.cookie
    assert anonymous
    visitor.follow("Go to your account")
    assert page.url.startswith(f"{visitor.shop.issuer}/interaction/")
    visitor.sign_in("alice")
    page.get_by_role("heading", name="Authorize").wait_for()
    visitor.press("Continue")
    assert visitor.path() == "/account"
    assert page.get_by_role("heading").first.inner_text() == "Hello, Alice"
    assert page.locator("#user").inner_text() == "accounts:alice"
    assert visitor.cart() == "2 Sencha"
    assert visitor.cookie not in (None, anonymous)
    assert page.locator("#session").inner_text() == (visitor.cookie or "")[:4]


def test_the_id_from_before_the_login_opens_nothing(visitor: Visitor, visit: Visit) -> None:
    visitor.go("/")
    visitor.press("Add Oolong")
    planted = visitor.cookie or ""
    visitor.log_in()
    assert visitor.cart() == "1 Oolong"
    thief = visit(visitor.shop)
    thief.cookie = planted
    thief.go("/")
    assert thief.sees("Nothing in your cart")
    thief.go("/account")
    assert thief.page.url.startswith(visitor.shop.issuer)


def test_a_second_login_needs_no_password_while_the_provider_remembers(visitor: Visitor) -> None:
    visitor.log_in()
    former = visitor.cookie
    visitor.forget_cookie()
    visitor.go("/account")
    assert visitor.path() == "/account"
    assert visitor.cookie not in (None, former)


def test_whoever_cancels_at_the_provider_can_try_again(visitor: Visitor) -> None:
    visitor.go("/")
    visitor.press("Add Sencha")
    visitor.follow("Log in")
    visitor.follow("[ Cancel ]")
    assert visitor.path().startswith("/login/oauth2/code/accounts?error=access_denied&")
    assert visitor.sees("The login was refused or cancelled at the provider.")
    visitor.expect_status(400)
    visitor.follow("Try again")
    visitor.sign_in()
    visitor.press("Continue")
    assert visitor.path() == "/"
    visitor.go("/account")
    assert visitor.cart() == "1 Sencha"


def test_the_providers_answer_works_once_only(visitor: Visitor) -> None:
    addresses: list[str] = []
    visitor.page.on("request", lambda request: addresses.append(request.url))
    visitor.log_in()
    former = visitor.cookie
    answer = next(each for each in addresses if "/login/oauth2/code/" in each)
    visitor.page.goto(answer)
    assert (visitor.path(), visitor.cookie) == ("/account", former)
    assert visitor.sees("Hello, Alice")
    # Logged out, it leads to the provider; here that remembers nobody either.
    visitor.log_out()
    visitor.page.goto(answer)
    assert visitor.page.url.startswith(f"{visitor.shop.issuer}/interaction/")


def test_the_login_leads_to_no_other_site(visitor: Visitor) -> None:
    visitor.go("/oauth2/authorization/accounts?target=/\\evil.test")
    visitor.sign_in()
    visitor.press("Continue")
    assert visitor.path() == "/account"
