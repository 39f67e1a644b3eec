"""A cookie for a part of the host: where sessions are made, and applications side by side."""

import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount

from pyfly_session import SessionReadOnlyError, enable_sessions
from pyfly_session.web import SessionCookie
from tests.support.cases import for_each
from tests.support.types import Log
from tests.web.conftest import Site
from tests.web.driver import Answer, App, Connection, SetCookie
from tests.web.pages import Page, enter, leave

KNOWN = "a" * 32


async def add(session: Any) -> Response:
    session.set_attribute("n", (session.get_attribute("n") or 0) + 1)
    return PlainTextResponse(str(session.get_attribute("n")))


async def look(session: Any) -> Response:
    return JSONResponse(session.why_transient)


ROUTES = [Page(f"/{each.__name__}", each) for each in (add, look, enter, leave)]


def application(**session: Any) -> Starlette:
    config = {"pyfly": {"session": {"enabled": True, **session}}}
    return enable_sessions(Starlette(routes=ROUTES), config=config)


class PathBrowser:
    """Keeps cookies of one name by their paths, as browsers do."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.cookies: dict[str, str] = {}

    async def get(self, path: str) -> Answer:
        sent = [
            ("cookie", f"PYFLY_SESSION={value}")
            for own, value in self.cookies.items()
            if path == own or path.startswith(own.rstrip("/") + "/")
        ]
        answer = await Connection(self.app, path, headers=sent).run()
        cookie: SetCookie | None = answer.cookie()
        if cookie is not None:
            self.cookies[cookie.attributes["path"]] = cookie.value
        return answer


class TestOutsideOfThePath:
    @pytest.fixture
    def narrow(self, site: Site) -> Site:
        return site.configure(cookie=SessionCookie(path="/shop"))

    async def ask(self, site: Site, path: str, root: str = "", **options: Any) -> Answer:
        app = site.app(Mount("/shop", routes=ROUTES), *ROUTES, Page("/shopping", look))
        connection = Connection(app, path, **options)
        connection.scope["root_path"] = root
        return await connection.run()

    @pytest.mark.parametrize("path", ["/look", "/shopping"])
    async def test_no_session_is_made(self, narrow: Site, path: str) -> None:
        """Each such request would store one that no browser ever comes back to."""
        answer = await self.ask(narrow, path)
        assert (answer.text, answer.cookie(), narrow.probe.calls) == ('"outside"', None, [])

    @pytest.mark.parametrize(("path", "root"), [("/shop/look", ""), ("/look", "/shop")])
    async def test_one_is_made_inside_a_proxy(self, narrow: Site, path: str, root: str) -> None:
        answer = await self.ask(narrow, path, root)
        assert answer.text == "null"
        assert answer.cookie() is not None

    @pytest.mark.parametrize("path", ["/add", "/enter", "/leave"])
    async def test_what_would_be_lost_is_refused(self, narrow: Site, path: str) -> None:
        with pytest.raises(SessionReadOnlyError, match=r"cookie\.path"):
            await self.ask(narrow, path)

    async def test_an_id_that_comes_all_the_same_counts(self, narrow: Site) -> None:
        """A client that is no browser sends it wherever it likes."""
        await narrow.seed(KNOWN, n=4)
        assert (await self.ask(narrow, "/add", cookie=KNOWN)).text == "5"

    @for_each(
        ("path", "covered"),
        [("/a b", True), ("/a b/c", True), ("/a bc", False), ("/a", False), ("/", False)],
    )
    def test_a_path_is_compared_as_browsers_do(self, path: str, covered: bool) -> None:
        assert SessionCookie(path="/a%20b").covers(path) is covered
        assert SessionCookie(path="/a b/").covers(f"{path}/") is covered
        assert SessionCookie().covers(path)


class TestSideBySide:
    def site(self, *paths: str) -> PathBrowser:
        mounts = [
            Mount(root, application(cookie={"path": path}))
            for root, path in zip(("/shop", "/blog"), paths, strict=True)
        ]
        return PathBrowser(Starlette(routes=mounts))

    async def test_each_has_its_own_sessions_by_one_property(self, caplog: Log) -> None:
        browser = self.site("/shop", "/blog")
        for number in ("1", "2", "3"):
            for root in ("/shop", "/blog"):
                assert (await browser.get(f"{root}/add")).text == number
        assert set(browser.cookies) == {"/shop", "/blog"}
        assert "the same cookie" not in caplog.text

    async def test_two_with_one_cookie_are_warned_of_once(self, caplog: Log) -> None:
        browser = self.site("/", "/")
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                await browser.get("/shop/add")
                await browser.get("/blog/add")
        # Whatever other applications of this process were below other paths.
        (line,) = [
            each for each in caplog.messages if "the same cookie" in each and "/blog" in each
        ]
        assert "below /shop and /blog" in line
        assert "pyfly.session.cookie.path, here /blog" in line
