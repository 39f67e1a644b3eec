"""A dead store and errors of the application: what the browser gets, and what is kept."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pyfly_session import SessionStoreError, WebFilterChainMiddleware
from tests.support.cases import for_each
from tests.web.conftest import EACH_STORE, Site
from tests.web.driver import Answer, Browser, Connection, ask
from tests.web.pages import Page

KNOWN = "a" * 32


async def idle(request: Request) -> Response:
    return PlainTextResponse("idle")


async def fail(session: Any) -> None:
    session.set_attribute("user", "bob")
    raise ValueError("mine")


async def rotate_and_fail(session: Any) -> None:
    session.set_attribute("user", "bob")
    session.rotate_id()
    raise ValueError("mine")


async def logout_and_fail(session: Any) -> Response:
    session.invalidate()
    raise ValueError("mine")


async def rotate_logout_and_fail(session: Any) -> Response:
    session.rotate_id()
    session.invalidate()
    raise ValueError("mine")


HANDLERS: dict[str, Any] = {
    "read": lambda session: JSONResponse(session.get_attribute("user")),
    "write": lambda session: session.set_attribute("user", "bob"),
    "idle": idle,
    "logout": lambda session: session.invalidate(),
    "fail": fail,
    "rotate_and_fail": rotate_and_fail,
    "logout_and_fail": logout_and_fail,
    "rotate_logout_and_fail": rotate_logout_and_fail,
}


def assert_unavailable(answer: Answer) -> None:
    assert (answer.status, answer.get("retry-after")) == (503, "5")
    assert (answer.get("cache-control"), answer.cookie()) == ("no-store", None)
    assert b"store is unavailable" in answer.body


@EACH_STORE
async def test_store_that_fails_to_load_gives_503_before_the_handler_runs(site: Site) -> None:
    site.probe.fail()
    ran = []

    async def handler(request: Request) -> None:
        ran.append(True)

    assert_unavailable(await ask(site.app(page=handler), "/page", cookie=KNOWN))
    assert ran == []


@for_each("seeded", [True, False])
@for_each("how", ["write", "logout", "rotate"])
@EACH_STORE
async def test_store_that_dies_under_handler_gives_503(site: Site, how: str, seeded: bool) -> None:
    async def page(session: Any) -> None:
        if how == "write":
            session.set_attribute("user", "bob")
        elif how == "logout":
            session.invalidate()
        else:
            session.rotate_id()
        site.probe.fail()

    await site.seed(KNOWN, user="alice")
    answer = await ask(site.app(page=page), "/page", cookie=KNOWN if seeded else None)
    if how == "logout" and not seeded:
        assert answer.status == 200  # Nothing was stored, so nothing could fail.
        return
    assert_unavailable(answer)
    assert await site.stored(KNOWN) == {"user": "alice"}


async def test_only_what_needs_the_store_fails_with_it(site: Site) -> None:
    site.configure(creation="if-required")
    site.probe.fail()
    app = site.app(**HANDLERS)
    assert ((await ask(app, "/idle")).status, (await ask(app, "/read")).status) == (200, 200)
    assert site.probe.calls == []
    assert_unavailable(await ask(app, "/write"))


@pytest.mark.parametrize("path", ["/health", "/static/css/site.css"])
async def test_excluded_paths_work_with_the_store_down(site: Site, path: str) -> None:
    site.configure(exclude_patterns=["/health", "/static/*"])
    site.probe.fail()
    app = WebFilterChainMiddleware(PlainTextResponse("fine"), [site.filter])
    answer = await ask(app, path, cookie=KNOWN)
    assert (answer.status, answer.text, answer.cookie()) == (200, "fine", None)
    assert site.probe.calls == []
    assert_unavailable(await ask(app, "/healthy", cookie=KNOWN))


@for_each(
    ("hidden", "host"),
    [
        *(
            (path, "example.test")
            for path in ("/health?", "/health#", "health", "/HEALTH", "/health/")
        ),
        ("/account", "example.test/health#"),
    ],
)
async def test_what_resembles_an_excluded_path_has_sessions(
    site: Site, hidden: str, host: str
) -> None:
    site.configure(exclude_patterns=["/health"])
    app = WebFilterChainMiddleware(PlainTextResponse("fine"), [site.filter])
    connection = Connection(app)
    connection.scope["path"] = hidden
    connection.scope["headers"] = [(b"host", host.encode())]
    assert (await connection.run()).session_id


@pytest.mark.parametrize(
    "path", ["/fail", "/rotate_and_fail", "/logout_and_fail", "/rotate_logout_and_fail"]
)
@pytest.mark.parametrize("error", [SessionStoreError("gone"), ConnectionError("raw")], ids=repr)
async def test_error_of_the_handler_is_not_masked_by_the_stores(
    site: Site, path: str, error: Exception
) -> None:
    async def dying(session: Any) -> None:
        site.probe.fail(error=error)
        await HANDLERS[path[1:]](session)

    answer = await site.visit(dying, swallow=True, user="alice")
    assert answer.status == 500
    assert isinstance(answer.error, ValueError)
    assert str(answer.error) == "mine"


async def test_write_before_an_error_is_kept(site: Site) -> None:
    """As in Spring Session, whose commit runs in ``finally``."""
    await site.seed(KNOWN, user="alice")
    answer = await ask(site.app(**HANDLERS), "/fail", cookie=KNOWN, swallow=True)
    assert (answer.status, type(answer.error)) == (500, ValueError)
    assert await site.stored(KNOWN) == {"user": "bob"}


async def test_new_session_of_a_failed_request_is_not_stored(site: Site) -> None:
    answer = await ask(site.app(**HANDLERS), "/fail", swallow=True)
    assert (type(answer.error), site.probe.calls) == (ValueError, [])


@EACH_STORE
async def test_handler_that_rotates_then_raises_logs_nobody_out(site: Site) -> None:
    await site.seed(KNOWN, user="alice")
    browser = Browser(site.app(**HANDLERS), cookie=KNOWN)
    answer = await browser.get("/rotate_and_fail", swallow=True)
    assert (answer.status, type(answer.error)) == (500, ValueError)
    assert answer.session_id != KNOWN
    assert (await site.stored(KNOWN), (await browser.get("/read")).text) == (None, '"bob"')


@for_each("path", ["/logout_and_fail", "/rotate_logout_and_fail"])
async def test_logout_before_an_error_holds(site: Site, path: str) -> None:
    await site.seed(KNOWN, user="alice")
    answer = await ask(site.app(**HANDLERS), path, cookie=KNOWN, swallow=True)
    assert (type(answer.error), await site.stored(KNOWN)) == (ValueError, None)


async def test_http_exception_is_an_ordinary_answer(site: Site) -> None:
    async def teapot(session: Any) -> Response:
        session.rotate_id()
        session.set_attribute("user", "bob")
        raise HTTPException(418)

    answer = await site.visit(teapot, user="alice")
    assert answer.status == 418
    assert answer.session_id != KNOWN
    assert await site.stored(answer.session_id) == {"user": "bob"}


@for_each("rotates", [False, True])
async def test_unencodable_value_before_error_does_not_mask_it(site: Site, rotates: bool) -> None:
    async def page(session: Any) -> Response:
        if rotates:
            session.rotate_id()
        session.set_attribute("broken", object())
        raise ValueError("mine")

    answer = await site.visit(page, swallow=True, user="alice")
    assert (answer.status, type(answer.error)) == (500, ValueError)
    assert await site.stored(KNOWN) == {"user": "alice"}


def inside_out(site: Site) -> Any:
    """Wrap the whole of a Starlette application, its error page included."""
    routes = [Page(f"/{name}", each) for name, each in HANDLERS.items()]
    return WebFilterChainMiddleware(Starlette(routes=routes), [site.filter])


async def test_error_page_inside_the_chain_carries_the_new_id(site: Site) -> None:
    await site.seed(KNOWN, user="alice")
    answer = await ask(inside_out(site), "/rotate_and_fail", cookie=KNOWN, swallow=True)
    assert (answer.status, type(answer.error), await site.stored(KNOWN)) == (500, ValueError, None)
    assert await site.stored(answer.session_id) == {"user": "bob"}


async def test_error_page_inside_the_chain_gets_out_with_the_store_down(site: Site) -> None:
    async def page(session: Any) -> None:
        site.probe.fail()
        await rotate_and_fail(session)

    await site.seed(KNOWN, user="alice")
    app = WebFilterChainMiddleware(Starlette(routes=[Page("/page", page)]), [site.filter])
    answer = await ask(app, "/page", cookie=KNOWN, swallow=True)
    assert (answer.status, type(answer.error)) == (500, ValueError)
    assert (answer.cookie(), await site.stored(KNOWN)) == (None, {"user": "alice"})


async def test_change_of_id_that_failed_is_not_made_up_for_unheard(site: Site) -> None:
    """The store recovers between the error page and the last commit."""

    async def page(session: Any) -> Response:
        session.rotate_id()
        site.probe.fail()
        return PlainTextResponse(
            "upstream is down", status_code=502, background=BackgroundTask(recover)
        )

    async def recover() -> None:
        site.probe.recover()

    answer = await site.visit(page, user="alice")
    assert (answer.status, answer.cookie()) == (502, None)
    assert await site.stored(KNOWN) == {"user": "alice"}


async def test_answer_of_the_application_with_5xx_survives_a_dead_store(site: Site) -> None:
    async def page(session: Any) -> Response:
        session.set_attribute("user", "bob")
        site.probe.fail()
        return PlainTextResponse("upstream is down", status_code=502)

    answer = await site.visit(page, user="alice")
    assert (answer.status, answer.text, answer.cookie()) == (502, "upstream is down", None)


async def test_application_that_swallows_the_stores_error_still_sends_no_200(site: Site) -> None:
    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        Request(scope).state.session.set_attribute("user", "bob")
        site.probe.fail()
        for _ in range(2):
            try:
                await PlainTextResponse("all is well")(scope, receive, send)
            except SessionStoreError:
                continue

    app = WebFilterChainMiddleware(stubborn, [site.filter])
    assert_unavailable(await ask(app))


async def test_handler_for_store_errors_does_not_turn_them_into_a_500(site: Site) -> None:
    async def page(session: Any) -> None:
        session.set_attribute("user", "bob")
        site.probe.fail()

    async def mine(request: Request, error: Exception) -> Response:
        return PlainTextResponse("handled")

    app = Starlette(
        routes=[Page("/page", page)],
        exception_handlers={SessionStoreError: mine},
        middleware=[Middleware(WebFilterChainMiddleware, filters=[site.filter])],
    )
    assert_unavailable(await ask(app, "/page"))


@for_each("how", ["rotate", "write", "logout"])
async def test_application_that_answers_nothing_logs_nobody_out(site: Site, how: str) -> None:
    """A change of id that no answer can carry is dropped; everything else is kept."""

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        session = Request(scope).state.session
        session.set_attribute("user", "bob")
        if how == "rotate":
            session.rotate_id()
        elif how == "logout":
            session.invalidate()

    await site.seed(KNOWN, user="alice")
    app = WebFilterChainMiddleware(silent, [site.filter])
    assert (await ask(app, cookie=KNOWN)).messages == []
    expected = {"rotate": {"user": "alice"}, "write": {"user": "bob"}, "logout": None}
    assert await site.stored(KNOWN) == expected[how]


async def test_application_that_answers_nothing_creates_no_session(site: Site) -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        Request(scope).state.session.set_attribute("user", "bob")

    await ask(WebFilterChainMiddleware(silent, [site.filter]))
    assert not set(site.probe.names) & {"save", "create_if_absent"}


@for_each("status", [200, 302, 404, 499])
async def test_answer_below_500_never_leaves_with_lost_data(site: Site, status: int) -> None:
    async def page(session: Any) -> Response:
        session.set_attribute("user", "bob")
        site.probe.fail()
        return PlainTextResponse("so be it", status_code=status)

    assert_unavailable(await site.visit(page, user="alice"))


async def test_slow_reader_whose_session_cannot_be_looked_at_again_gets_503(site: Site) -> None:
    async def page(session: Any) -> None:
        session.get_attribute("user")
        site.clock.advance(1)
        site.probe.fail()

    assert_unavailable(await site.visit(page, user="alice"))


async def test_change_of_id_that_failed_once_is_not_made_behind_the_error_page(site: Site) -> None:
    async def page(session: Any) -> None:
        session.rotate_id()
        site.probe.fail(times=1)

    assert_unavailable(await site.visit(page, user="alice"))
    assert await site.stored(KNOWN) == {"user": "alice"}
