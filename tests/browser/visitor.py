"""Somebody with a browser: clicks, types and looks, as people do."""

from typing import Any

from tests.browser.shop import Shop

COOKIE = "PYFLY_SESSION"


class Visitor:
    """A visitor of the shop, with cookies of their own.

    Attributes:
        context: The browser's side: cookies, pages.
        page: The tab that was opened first.
        cookie_name: What the session's cookie is called.
        console: Warnings and errors of all pages.
    """

    def __init__(self, context: Any, shop: Shop) -> None:
        self.context = context
        self.shop = shop
        self.cookie_name = COOKIE
        self.console: list[str] = []
        context.on("console", self._note)
        context.on("weberror", lambda error: self.console.append(str(error.error)))
        self.page = context.new_page()

    def _note(self, message: Any) -> None:
        if message.type in ("warning", "error"):
            self.console.append(f"{message.page and message.page.url}: {message.text}")

    def go(self, path: str = "/", page: Any = None) -> None:
        """Type an address of the shop."""
        (page or self.page).goto(self.shop.url + path)

    def press(self, name: str, page: Any = None) -> None:
        """Press a button, and wait for the page that it leads to."""
        page = page or self.page
        self._leave(page, page.get_by_role("button", name=name, exact=True))

    def follow(self, name: str, page: Any = None) -> None:
        """Follow a link, and wait for the page that it leads to."""
        page = page or self.page
        self._leave(page, page.get_by_role("link", name=name))

    @staticmethod
    def _leave(page: Any, way: Any) -> None:
        # The next page may have the same address, so that nothing else tells it from this one.
        with page.expect_navigation():
            way.click()

    def sign_in(self, name: str = "alice", page: Any = None) -> None:
        """Say at the provider who one is."""
        page = page or self.page
        page.get_by_placeholder("Enter any login").fill(name)
        page.get_by_placeholder("and password").fill("any")
        self.press("Sign-in", page)

    def log_in(self, name: str = "alice") -> None:
        """Go the whole way from the shop to the account."""
        self.go("/account")
        self.sign_in(name)
        self.press("Continue")
        self.page.wait_for_url(f"{self.shop.url}/account")

    def log_out(self) -> None:
        """Go the whole way out, over the provider."""
        self.press("Log out")
        self.press("Yes, sign me out")
        self.page.wait_for_url(f"{self.shop.url}/")

    def cart(self) -> str:
        """Return what the account's page says of the cart."""
        return str(self.page.locator("#cart").inner_text()).strip()

    def places(self) -> list[str]:
        """Return where the account's page says that its owner is logged in."""
        return [
            str(each).split(",")[0] for each in self.page.locator("#places li").all_inner_texts()
        ]

    @property
    def cookie(self) -> str | None:
        """The session id that the browser would send to the shop."""
        cookies = self.context.cookies(self.shop.url)
        return next((each["value"] for each in cookies if each["name"] == self.cookie_name), None)

    @cookie.setter
    def cookie(self, value: str) -> None:
        self.context.add_cookies([{"name": self.cookie_name, "value": value, "url": self.shop.url}])

    def forget_cookie(self) -> None:
        """Lose the session, and keep what the provider set."""
        self.context.clear_cookies(name=self.cookie_name)

    def expect_status(self, status: int) -> None:
        """Forget what the browser itself says to the console of a page with such a status."""
        assert self.console
        assert all(
            f"the server responded with a status of {status}" in each for each in self.console
        )
        self.console.clear()

    def path(self, page: Any = None) -> str:
        """Return where a tab is in the shop."""
        return str((page or self.page).url).removeprefix(self.shop.url)

    def sees(self, text: str, page: Any = None) -> bool:
        """Tell whether a text is on the page, without waiting for it."""
        return text in (page or self.page).inner_text("body")
