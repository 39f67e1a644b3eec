"""An id never leaves on an answer that a shared cache may keep and give to others.

Source: RFC 9111, section 3 (what a shared cache may store), section 5.2.2 (directives).
"""

import logging
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pyfly_session import SecurityContext, enable_sessions
from pyfly_session.security import context_of, login
from tests.support.cases import for_each
from tests.support.types import Log
from tests.web.driver import Answer, ask

SHARED = [
    "public", "public, max-age=60", "max-age=60, Public", "s-maxage=60", "max-age=0, S-MAXAGE=60",
    "public, max-age=31536000, immutable",
]  # fmt: skip
PRIVATE = ["private", "private, max-age=60", "Private", "no-store", "no-store, max-age=0"]
# A shared cache may keep these, too: nothing says that it may not.
FOR_ANYBODY = ["max-age=60", "no-cache", "must-revalidate", 'private="x-name", max-age=60']


def heard(request: Request, text: object = "ok") -> Response:
    """Answer with the ``Cache-Control`` that the test asks for."""
    response = PlainTextResponse(str(text))
    for value in request.headers.getlist("x-cache-control"):
        response.headers.append("cache-control", value)
    return response


async def landing(request: Request) -> Response:
    """Do not look at the session."""
    return heard(request)


async def cart(request: Request) -> Response:
    return heard(request, request.state.session.get_attribute("cart"))


async def add(request: Request) -> Response:
    session = request.state.session
    session.set_attribute(
        "cart", f"{session.get_attribute('cart') or ''}{request.query_params['n']}"
    )
    return heard(request, session.get_attribute("cart"))


async def renew(request: Request) -> Response:
    request.state.session.rotate_id()
    return heard(request)


async def enter(request: Request) -> Response:
    await login(request, SecurityContext(user_id="alice"))
    return heard(request)


async def who(request: Request) -> Response:
    return heard(request, context_of(request.state.session).user_id)


class Shop:
    """An application whose answers say of themselves who may keep them."""

    def __init__(self, **settings: Any) -> None:
        pages: list[Any] = [landing, cart, add, renew, enter, who]
        routes = [Route(f"/{page.__name__}", page) for page in pages]
        config = {"pyfly": {"session": {"enabled": True, **settings}}}
        self.app = enable_sessions(Starlette(routes=routes), config=config)

    async def get(self, path: str, cookie: str | None = None, *cache_control: str) -> Answer:
        headers = [("x-cache-control", value) for value in cache_control]
        return await ask(self.app, path, cookie=cookie, headers=headers)


class SharedCache:
    """Keeps what says that it is public, for every request with the same cookie.

    Args:
        shop: What it asks.
        heeds_vary: Keeps answers apart that depend on the cookie; not every cache does.
    """

    def __init__(self, shop: Shop, *, heeds_vary: bool) -> None:
        self._shop = shop
        self._heeds_vary = heeds_vary
        self._kept: dict[tuple[str, str | None], Answer] = {}

    async def get(self, path: str, cookie: str | None = None, *cache_control: str) -> Answer:
        key = (path, cookie if self._heeds_vary else None)
        if key not in self._kept:
            answer = await self._shop.get(path, cookie, *cache_control)
            if "public" not in (answer.get("cache-control") or ""):
                return answer
            self._kept[key] = answer
        return self._kept[key]


def warnings(caplog: Log) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("pyfly_session") and record.levelno == logging.WARNING
    ]


async def test_visitors_of_a_public_page_do_not_share_a_session() -> None:
    """Two visitors get a public page from a cache between; the second has no cart of the first."""
    shop = Shop()
    cache = SharedCache(shop, heeds_vary=True)
    carts = []
    for visitor in "ab":
        answer = await cache.get("/landing", None, "public, max-age=60")
        given = answer.cookie()
        carts.append((await shop.get(f"/add?n={visitor}", given.value if given else None)).text)
    assert carts == ["a", "b"]


async def test_static_file_that_is_kept_for_everybody_hands_out_no_login() -> None:
    """Alice loads a script that a network of caches keeps; a stranger who gets it is nobody."""
    shop = Shop(creation="if-required")
    alice = (await shop.get("/enter")).session_id
    cache = SharedCache(shop, heeds_vary=False)
    await cache.get("/landing", alice, "public, max-age=31536000, immutable")
    given = (await cache.get("/landing")).cookie()
    assert (await shop.get("/who", given.value if given else None)).text == "None"


@for_each("cache_control", SHARED)
@for_each("page", ["/landing", "/cart"])
async def test_known_session_not_written_gets_no_cookie(page: str, cache_control: str) -> None:
    """The page is public and leaves the session as it is: it stays public, without an id."""
    shop = Shop()
    known = (await shop.get("/add?n=1")).session_id
    answer = await shop.get(page, known, cache_control)
    assert (answer.all("set-cookie"), answer.all("cache-control")) == ([], [cache_control])
    assert (await shop.get("/cart", known)).text == "1"


@for_each("cache_control", SHARED)
@for_each("page", ["/landing", "/cart"])
async def test_visitor_of_a_public_page_gets_no_session(page: str, cache_control: str) -> None:
    """Where every visitor gets a session, one who comes for a public page does not."""
    shop = Shop(creation="always")
    answer = await shop.get(page, None, cache_control)
    assert (answer.all("set-cookie"), answer.all("cache-control")) == ([], [cache_control])
    assert len(shop.app.state.session_container.session_store()) == 0


async def test_every_cache_control_header_counts() -> None:
    """Two headers of that name mean both together, and one of them says public."""
    shop = Shop()
    answer = await shop.get("/landing", None, "max-age=60", "public")
    assert (answer.all("set-cookie"), answer.all("cache-control")) == ([], ["max-age=60", "public"])


@for_each("cache_control", SHARED)
@for_each("page", ["/add?n=2", "/renew", "/enter"])
async def test_answer_that_must_tell_an_id_is_kept_by_no_cache(
    page: str, cache_control: str, caplog: Log
) -> None:
    """The session was written to or has a new id: the cookie goes out, and nobody keeps it."""
    shop = Shop()
    known = (await shop.get("/add?n=1")).session_id
    caplog.clear()
    answer = await shop.get(page, known, cache_control)
    assert (answer.session_id == known) is page.startswith("/add")
    assert (answer.all("cache-control"), len(warnings(caplog))) == (["no-store"], 1)


@for_each("creation", ["always", "if-required"])
@for_each("page", ["/add?n=1", "/enter"])
async def test_new_session_that_was_written_to_is_told_and_kept_by_no_cache(
    page: str, creation: str, caplog: Log
) -> None:
    """A visitor's first cart on a public page: the cookie goes out, and nobody keeps it."""
    shop = Shop(creation=creation)
    caplog.clear()
    answer = await shop.get(page, None, "public, max-age=60", "s-maxage=60")
    assert (await shop.get("/cart", answer.session_id)).status == 200
    assert (answer.all("cache-control"), len(warnings(caplog))) == (["no-store"], 1)


@for_each("cache_control", PRIVATE)
@for_each("page", ["/landing", "/cart", "/add?n=2"])
async def test_answer_that_no_shared_cache_keeps_tells_the_id_as_ever(
    page: str, cache_control: str, caplog: Log
) -> None:
    """What is private or not kept at all carries the cookie, and stays as the page said."""
    shop = Shop()
    known = (await shop.get("/add?n=1")).session_id
    answer = await shop.get(page, known, cache_control)
    assert (answer.session_id, answer.all("cache-control")) == (known, [cache_control])
    assert warnings(caplog) == []


@for_each("cache_control", FOR_ANYBODY)
@for_each("page", ["/landing", "/cart", "/add?n=2"])
async def test_answer_that_anybody_may_keep_becomes_the_browsers_own(
    page: str, cache_control: str, caplog: Log
) -> None:
    """The browser keeps it as the page said; a cache for several browsers does not."""
    shop = Shop()
    known = (await shop.get("/add?n=1")).session_id
    answer = await shop.get(page, known, cache_control)
    assert (answer.session_id, answer.all("cache-control")) == (
        known,
        [f"{cache_control}, private"],
    )
    assert warnings(caplog) == []


async def test_answer_that_begins_a_session_is_the_browsers_own() -> None:
    answer = await Shop().get("/landing", None, "max-age=60")
    assert (len(answer.all("set-cookie")), answer.get("cache-control")) == (
        1,
        "max-age=60, private",
    )


async def test_former_id_on_a_public_page_sets_no_cookie_either() -> None:
    """A poll with a former id on a public page, which reads its session, stays public."""
    shop = Shop()
    former = (await shop.get("/add?n=1")).session_id
    await shop.get("/enter", former)
    answer = await shop.get("/add?n=2", former, "public")
    assert (answer.all("set-cookie"), answer.all("cache-control")) == ([], ["public"])
