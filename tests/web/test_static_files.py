"""Files that are the same for everybody stay cacheable, and make no session."""

from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Answer, App, Browser, ask
from tests.web.pages import Page

KNOWN = "a" * 32


async def page(session: Any) -> Response:
    """Show something of the session, with a validator."""
    text = str(session.get_attribute("n"))
    return PlainTextResponse(text, headers={"etag": '"1"'})


async def write(session: Any) -> Response:
    session.set_attribute("n", 5)
    return PlainTextResponse("ok", headers={"last-modified": "Thu, 01 Jan 1970 00:00:00 GMT"})


async def renew(session: Any) -> Response:
    session.rotate_id()
    return PlainTextResponse("ok", headers={"etag": '"1"'})


@pytest.fixture(params=["our chain", "foreign chain"])
def app(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> App:
    (tmp_path / "a.css").write_text("a {}", "utf-8")
    routes: list[Any] = [
        Mount("/static", StaticFiles(directory=tmp_path)),
        *(Page(f"/{each.__name__}", each) for each in (page, write, renew)),
    ]
    return site.app(*routes, foreign=request.param == "foreign chain")


def of_sessions(answer: Answer) -> list[str | None]:
    return [answer.get(name) for name in ("set-cookie", "cache-control", "vary")]


async def test_a_file_for_a_visitor_makes_no_session(app: App, site: Site) -> None:
    answer = await ask(app, "/static/a.css")
    assert (of_sessions(answer), site.probe.new_ids) == ([None, None, None], [])


async def test_a_file_for_a_user_may_be_kept(app: App, site: Site) -> None:
    await site.seed(KNOWN, n=1)
    answer = await ask(app, "/static/a.css", cookie=KNOWN)
    assert of_sessions(answer) == [None, None, None]
    headers = [("if-none-match", answer.get("etag") or "")]
    again = await ask(app, "/static/a.css", cookie=KNOWN, headers=headers)
    assert (again.status, of_sessions(again)) == (304, [None, None, None])


async def test_a_file_slides_the_session_all_the_same(app: App, site: Site) -> None:
    await site.seed(KNOWN, n=1)
    site.clock.advance(1700)
    await ask(app, "/static/a.css", cookie=KNOWN)
    site.clock.advance(1700)
    assert (await ask(app, "/page", cookie=KNOWN)).text == "1"


async def test_a_page_with_a_validator_renews_the_cookie(app: App, site: Site) -> None:
    """Somebody looked at the session, so the page is nobody else's."""
    await site.seed(KNOWN, n=1)
    answer = await ask(app, "/page", cookie=KNOWN)
    assert (answer.session_id, answer.get("cache-control")) == (KNOWN, "no-store")
    assert answer.get("vary") == "Cookie"


@for_each("path", ["/page", "/write"])
async def test_a_page_that_needs_a_session_makes_one(app: App, path: str) -> None:
    assert (await ask(app, path)).cookie() is not None


async def test_a_new_id_goes_out_with_whatever_answer(app: App, site: Site) -> None:
    await site.seed(KNOWN, n=1)
    browser = Browser(app)
    browser.cookie = KNOWN
    assert (await browser.get("/renew")).session_id != KNOWN
    assert (await browser.get("/page")).text == "1"
