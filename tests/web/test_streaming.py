"""What happens to the session while the body streams and in background tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from pyfly_session import SessionReadOnlyError, SessionStoreError
from tests.support.cases import for_each
from tests.web.conftest import EACH_STORE, Site
from tests.web.driver import Browser, Connection, ask

KNOWN = "a" * 32


async def test_streaming_response_carries_the_cookie(site: Site) -> None:
    async def numbers(request: Request) -> Response:
        request.state.session.set_attribute("seen", True)

        async def body() -> AsyncIterator[str]:
            for number in range(3):
                yield str(number)

        return StreamingResponse(body())

    answer = await ask(site.app(numbers=numbers), "/numbers")
    assert answer.text == "012"
    assert await site.stored(answer.session_id) == {"seen": True}


async def test_nothing_is_buffered(site: Site) -> None:
    go_on = asyncio.Event()

    async def slow(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "first"
            await go_on.wait()
            yield "second"

        return StreamingResponse(body())

    connection = Connection(site.app(slow=slow), "/slow").start()
    await connection.messages(2)
    assert connection.answer.session_id
    assert connection.answer.text == "first"
    go_on.set()
    assert (await connection.end()).text == "firstsecond"


async def test_session_is_stored_before_the_head_leaves(site: Site) -> None:
    go_on = asyncio.Event()

    async def slow(request: Request) -> Response:
        request.state.session.set_attribute("user", "alice")

        async def body() -> AsyncIterator[str]:
            await go_on.wait()
            yield "late"

        return StreamingResponse(body())

    connection = Connection(site.app(slow=slow), "/slow").start()
    answer = await connection.started()
    assert await site.stored(answer.session_id) == {"user": "alice"}
    go_on.set()
    await connection.end()


async def test_writes_during_the_stream_are_kept(site: Site) -> None:
    async def page(request: Request) -> Response:
        session = request.state.session
        session.set_attribute("cart", [1])

        async def body() -> AsyncIterator[str]:
            yield "a"
            session.set_attribute("streamed", 1)
            session.get_attribute("cart").append(2)
            yield "b"

        return StreamingResponse(body())

    answer = await ask(site.app(page=page), "/page")
    assert await site.stored(answer.session_id) == {"cart": [1, 2], "streamed": 1}


@EACH_STORE
async def test_write_during_the_stream_survives_a_rotation_elsewhere(site: Site) -> None:
    """The former id was moved before the head left; what follows goes to the new one too."""
    loaded, moved = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        session = request.state.session
        session.set_attribute("early", 1)
        loaded.set()
        await moved.wait()

        async def body() -> AsyncIterator[str]:
            yield "a"
            session.set_attribute("late", 1)

        return StreamingResponse(body())

    async def rotate(request: Request) -> Response:
        request.state.session.rotate_id()
        return PlainTextResponse("ok")

    await site.seed(KNOWN)
    app = site.app(slow=slow, rotate=rotate)
    connection = Connection(app, "/slow", cookie=KNOWN).start()
    await loaded.wait()
    new_id = (await ask(app, "/rotate", cookie=KNOWN)).session_id
    moved.set()
    answer = await connection.end()
    assert answer.cookie() is None
    assert await site.stored(KNOWN) is None
    if hasattr(site.probe, "rename"):
        assert await site.stored(new_id) == {"early": 1, "late": 1}


@EACH_STORE
async def test_logout_during_the_stream_survives_a_rotation_elsewhere(site: Site) -> None:
    loaded, moved = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        session = request.state.session
        session.set_attribute("early", 1)
        loaded.set()
        await moved.wait()

        async def body() -> AsyncIterator[str]:
            yield "a"
            session.invalidate()

        return StreamingResponse(body())

    async def rotate(request: Request) -> Response:
        request.state.session.rotate_id()
        return PlainTextResponse("ok")

    await site.seed(KNOWN)
    app = site.app(slow=slow, rotate=rotate)
    connection = Connection(app, "/slow", cookie=KNOWN).start()
    await loaded.wait()
    new_id = (await ask(app, "/rotate", cookie=KNOWN)).session_id
    moved.set()
    await connection.end()
    assert await site.stored(KNOWN) is None
    if hasattr(site.probe, "rename"):
        assert await site.stored(new_id) is None


async def test_logout_during_the_stream_ends_the_session(site: Site) -> None:
    async def page(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "a"
            request.state.session.invalidate()

        return StreamingResponse(body())

    await site.seed(KNOWN)
    await ask(site.app(page=page), "/page", cookie=KNOWN)
    assert await site.stored(KNOWN) is None


async def test_rotating_during_the_stream_raises_and_changes_nothing(site: Site) -> None:
    async def page(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "a"
            request.state.session.rotate_id()

        return StreamingResponse(body())

    await site.seed(KNOWN, user="alice")
    answer = await ask(site.app(page=page), "/page", cookie=KNOWN, swallow=True)
    assert isinstance(answer.error, SessionReadOnlyError)
    assert "rotate_id() must be called before" in str(answer.error)
    assert answer.session_id == KNOWN
    assert await site.stored(KNOWN) == {"user": "alice"}


async def test_creating_during_the_stream_raises(site: Site) -> None:
    async def page(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "a"
            request.state.session.set_attribute("late", 1)

        return StreamingResponse(body())

    site.configure(creation="if-required")
    answer = await ask(site.app(page=page), "/page", swallow=True)
    assert isinstance(answer.error, SessionReadOnlyError)
    assert "must be written to before" in str(answer.error)
    assert answer.cookie() is None
    assert site.probe.calls == []


async def test_error_in_the_stream_keeps_what_was_written_before_it(site: Site) -> None:
    async def page(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            request.state.session.set_attribute("late", 1)
            yield "a"
            raise ValueError("broken")

        return StreamingResponse(body())

    await site.seed(KNOWN)
    answer = await ask(site.app(page=page), "/page", cookie=KNOWN, swallow=True)
    assert isinstance(answer.error, ValueError)
    assert await site.stored(KNOWN) == {"late": 1}


async def test_write_that_fails_after_the_head_is_reported(site: Site) -> None:
    async def page(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "a"
            request.state.session.set_attribute("late", 1)
            site.probe.fail()

        return StreamingResponse(body())

    await site.seed(KNOWN)
    answer = await ask(site.app(page=page), "/page", cookie=KNOWN, swallow=True)
    assert isinstance(answer.error, SessionStoreError)


async def test_untouched_stream_costs_no_second_commit(site: Site) -> None:
    async def page(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "a"
            site.clock.advance(60)

        return StreamingResponse(body())

    await site.seed(KNOWN)
    app = site.app(page=page)
    site.probe.calls.clear()
    await ask(app, "/page", cookie=KNOWN)
    assert len(site.probe.calls) == site.probe.loads


async def test_session_found_gone_is_not_looked_for_again(memory_site: Site) -> None:
    site = memory_site

    async def page(request: Request) -> Response:
        session = request.state.session
        session.set_attribute("early", 1)
        await site.probe.inner.delete(KNOWN)

        async def body() -> AsyncIterator[str]:
            yield "a"
            session.set_attribute("late", 1)

        return StreamingResponse(body())

    await site.seed(KNOWN)
    assert (await ask(site.app(page=page), "/page", cookie=KNOWN)).cookie() is None
    assert site.probe.names == ["load_and_slide", "compare_and_swap"]


async def test_background_task_does_not_hold_up_the_response(site: Site) -> None:
    finish = asyncio.Event()

    async def work() -> None:
        await finish.wait()

    async def page(request: Request) -> Response:
        return PlainTextResponse("done", background=BackgroundTask(work))

    connection = Connection(site.app(page=page), "/page").start()
    await connection.messages(2)
    assert connection.answer.text == "done"
    assert not connection.answer.messages[-1].get("more_body", False)
    assert connection.task is not None
    assert not connection.task.done()
    finish.set()
    await connection.end()


async def test_writes_of_a_background_task_are_kept(site: Site) -> None:
    async def page(request: Request) -> Response:
        async def work() -> None:
            await asyncio.sleep(0)
            request.state.session.set_attribute("job", "done")

        return PlainTextResponse("ok", background=BackgroundTask(work))

    browser = Browser(site.app(page=page))
    answer = await browser.get("/page")
    assert await site.stored(answer.session_id) == {"job": "done"}


async def test_background_task_does_not_revive_a_session_that_was_logged_out(site: Site) -> None:
    finish = asyncio.Event()

    async def page(request: Request) -> Response:
        async def work() -> None:
            await finish.wait()
            request.state.session.set_attribute("job", "done")

        return PlainTextResponse("ok", background=BackgroundTask(work))

    async def logout(request: Request) -> Response:
        request.state.session.invalidate()
        return PlainTextResponse("bye")

    await site.seed(KNOWN)
    app = site.app(page=page, logout=logout)
    connection = Connection(app, "/page", cookie=KNOWN).start()
    await connection.started()
    await ask(app, "/logout", cookie=KNOWN)
    finish.set()
    await connection.end()
    assert await site.stored(KNOWN) is None


@for_each("stage", ["first", "later"])
async def test_client_that_goes_away_during_the_stream_loses_no_write(
    site: Site, stage: str
) -> None:
    gone = asyncio.Event()

    async def page(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            request.state.session.set_attribute("late", 1)
            if stage == "later":
                yield "a"
            gone.set()
            await asyncio.Event().wait()
            yield "never"

        return StreamingResponse(body())

    await site.seed(KNOWN)
    connection = Connection(site.app(page=page), "/page", cookie=KNOWN)
    # An older server: Starlette then watches for the disconnect and cancels the stream.
    connection.scope["asgi"] = {"version": "3.0", "spec_version": "2.3"}
    connection.start()
    await gone.wait()
    connection.receive({"type": "http.disconnect"})
    await connection.end()
    assert await site.stored(KNOWN) == {"late": 1}
