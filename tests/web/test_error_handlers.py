"""Handlers of any error, which Starlette runs outside of all middleware, and what is outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from dependency_injector import providers
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from pyfly_session import SecurityContext, SessionReadOnlyError
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration import close_sessions, create_container, enable_sessions
from pyfly_session.security import context_of, login, logout
from tests.support.cases import for_each
from tests.web.driver import Browser, ask
from tests.web.pages import Page
from tests.web.stores import Probe

KNOWN = "a" * 32
CONFIG = {"pyfly": {"session": {"enabled": True}}}
Handler = Callable[..., Any]


async def enter(request: Request) -> Response:
    await login(request, SecurityContext(user_id="ann"))
    return PlainTextResponse("welcome")


async def show(session: Any) -> Response:
    names = sorted(each for each in session.get_attribute_names() if each.islower())
    found = {name: session.get_attribute(name) for name in names}
    return PlainTextResponse(f"{context_of(session).user_id} {found}")


async def pay(request: Request) -> Response:
    request.session["step"] = "paid"
    raise RuntimeError("the books do not balance")


async def stream(request: Request) -> Response:
    async def body() -> AsyncIterator[str]:
        yield "a"
        raise RuntimeError("the books do not balance")

    return StreamingResponse(body())


async def pack(request: Request) -> None:
    request.session["parcel"] = object()


ROUTES = [
    Page(f"/{name}", handler)
    for name, handler in {
        "enter": enter, "show": show, "pay": pay, "pack": pack, "stream": stream,
    }.items()
]  # fmt: skip


def shop(handler: Handler, *, kind: Any = Starlette, key: Any = Exception, **options: Any) -> Any:
    """Return an application with sessions, and with a handler of its errors."""
    app = kind(routes=ROUTES, exception_handlers={key: handler}, **options)
    return enable_sessions(app, config=CONFIG)


frameworks = pytest.mark.parametrize("kind", [Starlette, FastAPI])
keys = pytest.mark.parametrize("key", [Exception, 500])


@frameworks
@keys
@pytest.mark.parametrize("when", ["before", "after"])
async def test_logout_in_the_handler_holds(kind: Any, key: Any, when: str) -> None:
    """However the handler was registered, before sessions were enabled or after."""

    async def say_sorry(request: Request, error: Exception) -> Response:
        await logout(request)
        return PlainTextResponse("you were logged out", 500, {"x-mine": "yes"})

    if when == "before":
        app = shop(say_sorry, kind=kind, key=key)
    else:
        app = enable_sessions(kind(routes=ROUTES), config=CONFIG)
        app.add_exception_handler(key, say_sorry)
    browser = Browser(app)
    stolen = (await browser.get("/enter")).session_id
    answer = await browser.get("/pay", swallow=True)
    assert (answer.status, answer.text, answer.get("x-mine")) == (500, "you were logged out", "yes")
    assert answer.own_cookie.is_deletion
    assert (await ask(app, "/show", cookie=stolen)).text == "None {}"
    # Starlette hands the error on, so that the server logs it.
    assert isinstance(answer.error, RuntimeError)


@frameworks
@keys
async def test_what_the_handler_writes_is_saved(kind: Any, key: Any) -> None:
    async def take_note(request: Request, error: Exception) -> Response:
        request.session["notice"] = f"please call us, {request.session['step']}"
        return PlainTextResponse("sorry", 520)

    browser = Browser(shop(take_note, kind=kind, key=key))
    await browser.get("/enter")
    answer = await browser.get("/pay", swallow=True)
    assert (answer.status, answer.text, answer.session_id) == (520, "sorry", browser.cookie)
    found = (await browser.get("/show")).text
    assert found == "ann {'notice': 'please call us, paid', 'step': 'paid'}"


async def test_handler_that_is_no_coroutine_writes_as_well() -> None:
    """Starlette runs it in a thread."""

    def take_note(request: Request, error: Exception) -> Response:
        request.session["notice"] = str(error)
        return PlainTextResponse("sorry", 500)

    browser = Browser(shop(take_note))
    await browser.get("/enter")
    assert (await browser.get("/pay", swallow=True)).text == "sorry"
    assert "'notice': 'the books do not balance'" in (await browser.get("/show")).text


async def test_visitor_without_a_session_gets_it_with_the_answer_of_the_handler() -> None:
    async def take_note(request: Request, error: Exception) -> Response:
        request.session["notice"] = "please call us"
        return PlainTextResponse("sorry", 500)

    browser = Browser(shop(take_note))
    answer = await browser.get("/pay", swallow=True)
    assert answer.text == "sorry"
    assert answer.session_id
    assert "'notice': 'please call us'" in (await browser.get("/show")).text


async def test_login_in_the_handler_gives_the_browser_the_new_id() -> None:
    async def let_in(request: Request, error: Exception) -> Response:
        await login(request, SecurityContext(user_id="bob"))
        return PlainTextResponse("welcome", 500)

    app = shop(let_in)
    browser = Browser(app)
    former = (await browser.get("/show")).session_id
    answer = await browser.get("/pay", swallow=True)
    assert answer.text == "welcome"
    assert answer.session_id != former
    assert (await browser.get("/show")).text == "bob {'step': 'paid'}"
    assert (await ask(app, "/show", cookie=former)).text == "None {}"


@keys
async def test_session_that_cannot_be_saved_is_never_answered_200(key: Any) -> None:
    """The handler's own response finds the same value in the session, and goes out all the same."""

    async def say_sorry(request: Request, error: Exception) -> Response:
        return PlainTextResponse("sorry", 500)

    browser = Browser(shop(say_sorry, key=key))
    await browser.get("/enter")
    answer = await browser.get("/pack", swallow=True)
    assert (answer.status, answer.text) == (500, "sorry")
    assert (await browser.get("/show")).text == "ann {}"


async def test_store_that_is_down_is_never_answered_200() -> None:
    """The handler of an error says that all is well, but what the request wrote is not saved."""

    async def make_light_of_it(request: Request, error: Exception) -> Response:
        return PlainTextResponse("never mind")

    probe = Probe(InMemorySessionStore())
    container = create_container(CONFIG)
    container.session_store.override(providers.Object(probe.store))
    app = Starlette(routes=ROUTES, exception_handlers={Exception: make_light_of_it})
    browser = Browser(enable_sessions(app, container))
    await browser.get("/enter")
    probe.fail("compare_and_swap")
    assert (await browser.get("/pay", swallow=True)).status == 503
    await close_sessions(container)


async def test_handler_after_the_head_is_saved_or_told_that_it_cannot_be() -> None:
    """Its response goes nowhere; what it does to the session does not."""
    refused: list[SessionReadOnlyError] = []

    async def take_note(request: Request, error: Exception) -> Response:
        try:
            request.session["notice"] = "please call us"
        except SessionReadOnlyError as refusal:
            refused.append(refusal)
        return PlainTextResponse("sorry", 500)

    browser = Browser(shop(take_note))
    await browser.get("/enter")
    answer = await browser.get("/stream", swallow=True)
    assert (answer.status, answer.text) == (200, "a")
    assert ("'notice': 'please call us'" in (await browser.get("/show")).text) != bool(refused)


async def test_handler_that_fails_hides_nothing_of_what_was_done_before() -> None:
    async def fail(request: Request, error: Exception) -> Response:
        raise KeyError("mine")

    browser = Browser(shop(fail))
    await browser.get("/enter")
    answer = await ask(browser.app, "/pay", cookie=browser.cookie, swallow=True)
    assert isinstance(answer.error, KeyError)
    assert (await browser.get("/show")).text == "ann {'step': 'paid'}"


async def test_debug_page_stays_what_it_is() -> None:
    """With it Starlette does not ask the handler."""

    async def say_sorry(request: Request, error: Exception) -> Response:
        return PlainTextResponse("sorry", 500)

    answer = await ask(shop(say_sorry, debug=True), "/pay", swallow=True)
    assert answer.status == 500
    assert "RuntimeError: the books do not balance" in answer.text


async def test_handler_of_a_mounted_application_answers_for_it() -> None:
    ran = []

    async def take_note(request: Request, error: Exception) -> Response:
        ran.append(error)
        request.session["notice"] = "please call us"
        return PlainTextResponse("sorry", 520)

    inner = Starlette(routes=ROUTES, exception_handlers={Exception: take_note})
    browser = Browser(enable_sessions(Starlette(routes=[Mount("/in", inner)]), config=CONFIG))
    await browser.get("/in/enter")
    answer = await browser.get("/in/pay", swallow=True)
    assert (answer.status, answer.text, len(ran)) == (520, "sorry", 1)
    found = (await browser.get("/in/show")).text
    assert found == "ann {'notice': 'please call us', 'step': 'paid'}"


class Outside:
    """Middleware that writes to the session when everything inside of it is over."""

    def __init__(self, app: ASGIApp, write: Callable[[Scope], None]) -> None:
        self._app = app
        self._write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._write(scope)


def by_request_session(scope: Scope) -> None:
    Request(scope).session["late"] = 1


def by_the_session(scope: Scope) -> None:
    Request(scope).state.session.set_attribute("late", 1)


def by_invalidate(scope: Scope) -> None:
    Request(scope).state.session.invalidate()


@for_each("write", [by_request_session, by_the_session, by_invalidate])
@for_each("path", ["/enter", "/show", "/pay"])
async def test_middleware_outside_is_told_remedy(write: Callable[[Scope], None], path: str) -> None:
    app = enable_sessions(Starlette(routes=ROUTES), config=CONFIG)
    browser = Browser(app)
    await browser.get("/enter")
    before = (await browser.get("/show")).text
    outside = Outside(app, write)
    answer = await ask(outside, path, cookie=browser.cookie, swallow=True)
    browser.take(answer)
    assert isinstance(answer.error, SessionReadOnlyError)
    assert "BackgroundTask" in str(answer.error)
    expected = before.replace("{}", "{'step': 'paid'}") if path == "/pay" else before
    assert (await browser.get("/show")).text == expected
