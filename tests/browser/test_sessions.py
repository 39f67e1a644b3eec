"""One user in several browsers: seen, ended, limited."""

from tests.browser.conftest import OpenShop, Visit
from tests.browser.visitor import Visitor


def test_whoever_logs_out_everywhere_else_stays_logged_in(visitor: Visitor, visit: Visit) -> None:
    phone = visit(visitor.shop)
    phone.log_in("carol")
    assert not phone.sees("Log out everywhere else")
    visitor.log_in("carol")
    assert visitor.places() == ["In another browser", "Here"]
    kept = visitor.cookie
    visitor.press("Log out everywhere else")
    assert (visitor.places(), visitor.cookie) == (["Here"], kept)
    phone.go("/account")
    assert phone.sees("You ended this session from another browser.")
    assert not phone.sees("Carol")
    # Nothing keeps them from coming back, if it was them.
    phone.follow("Log in")
    phone.go("/account")
    assert phone.sees("Hello, Carol")


def test_one_login_too_many_ends_the_oldest(open_shop: OpenShop, visit: Visit) -> None:
    shop = open_shop("memory", most=2, strategy="evict-oldest")
    first, second, third = (visit(shop) for _ in range(3))
    # What counts is who logged in first, and not who came first.
    second.go("/")
    second.press("Add Sencha")
    for each in (first, second, third):
        each.log_in("dave")
    first.go("/account")
    assert first.sees("You logged in somewhere else, and this was the oldest of your logins.")
    for each in (second, third):
        each.go("/account")
        assert each.sees("Hello, Dave")
    assert second.cart() == "1 Sencha"


def test_one_login_too_many_is_refused(open_shop: OpenShop, visit: Visit) -> None:
    shop = open_shop("valkey", most=1, strategy="reject-new")
    first, second = visit(shop), visit(shop)
    first.log_in("erin")
    second.go("/")
    second.press("Add Oolong")
    second.go("/account")
    second.sign_in("erin")
    second.press("Continue")
    assert second.sees("You are logged in at as many places as you may be at once")
    second.expect_status(409)
    first.go("/account")
    assert first.sees("Hello, Erin")
    # Again in the same browser is not one too many.
    first.go("/oauth2/authorization/accounts")
    assert first.sees("Hello, Erin")
    first.log_out()
    second.follow("Try again")
    assert (second.path(), second.cart()) == ("/account", "1 Oolong")
