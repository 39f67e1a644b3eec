"""What happens to the session while the body streams and in background tasks."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from pyfly_session import SessionReadOnlyError, SessionStoreError
from tests.support.cases import for_each
from tests.web.conftest import EACH_STORE, Site
from tests.web.driver import Connection, ask
from tests.web.pages import rotate

KNOWN = "a" * 32


async def test_nothing_is_buffered_and_the_session_is_stored_before_the_head(site: Site) -> None:
    go_on = asyncio.Event()

    async def slow(session: Any) -> Response:
        session.set_attribute("user", "alice")

        async def body() -> AsyncIterator[str]:
            yield "first"
            await go_on.wait()
            yield "second"

        return StreamingResponse(body())

    connection = Connection(site.app(slow=slow), "/slow").start()
    answer = await connection.started()
    assert await site.stored(answer.session_id) == {"user": "alice"}
    await connection.messages(2)
    assert connection.answer.text == "first"
    go_on.set()
    assert (await connection.end()).text == "firstsecond"


async def test_writes_during_the_stream_are_kept(site: Site) -> None:
    async def page(session: Any) -> Response:
        session.set_attribute("cart", [1])

        async def body() -> AsyncIterator[str]:
            yield "a"
            session.set_attribute("streamed", 1)
            session.get_attribute("cart").append(2)
            yield "b"

        return StreamingResponse(body())

    answer = await ask(site.app(page=page), "/page")
    assert await site.stored(answer.session_id) == {"cart": [1, 2], "streamed": 1}


@for_each("ends", [False, True])
@EACH_STORE
async def test_change_during_the_stream_survives_a_rotation_elsewhere(
    site: Site, ends: bool
) -> None:
    """The former id was moved before the head left; what follows goes to the new one too."""
    loaded, moved = asyncio.Event(), asyncio.Event()

    async def slow(session: Any) -> Response:
        session.set_attribute("early", 1)
        loaded.set()
        await moved.wait()

        async def body() -> AsyncIterator[str]:
            yield "a"
            if ends:
                session.invalidate()
            else:
                session.set_attribute("late", 1)

        return StreamingResponse(body())

    await site.seed(KNOWN)
    app = site.app(slow=slow, rotate=rotate)
    connection = Connection(app, "/slow", cookie=KNOWN).start()
    await loaded.wait()
    new_id = (await ask(app, "/rotate", cookie=KNOWN)).session_id
    moved.set()
    assert ((await connection.end()).cookie(), await site.stored(KNOWN)) == (None, None)
    if hasattr(site.probe, "rename"):
        assert await site.stored(new_id) == (None if ends else {"early": 1, "late": 1})


async def test_rotating_during_the_stream_raises_and_changes_nothing(site: Site) -> None:
    async def page(session: Any) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "a"
            session.rotate_id()

        return StreamingResponse(body())

    answer = await site.visit(page, swallow=True, user="alice")
    assert isinstance(answer.error, SessionReadOnlyError)
    assert "rotate_id() must be called before" in str(answer.error)
    assert (answer.session_id, await site.stored(KNOWN)) == (KNOWN, {"user": "alice"})


async def test_creating_during_the_stream_raises(site: Site) -> None:
    async def page(session: Any) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "a"
            session.set_attribute("late", 1)

        return StreamingResponse(body())

    site.configure(creation="if-required")
    answer = await ask(site.app(page=page), "/page", swallow=True)
    assert isinstance(answer.error, SessionReadOnlyError)
    assert "must be written to before" in str(answer.error)
    assert (answer.cookie(), site.probe.calls) == (None, [])


async def test_error_in_the_stream_keeps_what_was_written_before_it(site: Site) -> None:
    async def page(session: Any) -> Response:
        async def body() -> AsyncIterator[str]:
            session.set_attribute("late", 1)
            yield "a"
            raise ValueError("broken")

        return StreamingResponse(body())

    answer = await site.visit(page, swallow=True)
    assert (type(answer.error), await site.stored(KNOWN)) == (ValueError, {"late": 1})


async def test_write_that_fails_after_the_head_is_reported(site: Site) -> None:
    async def page(session: Any) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "a"
            session.set_attribute("late", 1)
            site.probe.fail()

        return StreamingResponse(body())

    answer = await site.visit(page, swallow=True)
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


async def test_session_found_gone_is_not_looked_for_again(site: Site) -> None:

    async def page(session: Any) -> Response:
        session.set_attribute("early", 1)
        await site.probe.inner.delete(KNOWN)

        async def body() -> AsyncIterator[str]:
            yield "a"
            session.set_attribute("late", 1)

        return StreamingResponse(body())

    assert (await site.visit(page)).cookie() is None
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


@for_each("stage", ["first", "later"])
async def test_client_that_goes_away_during_stream_loses_no_write(site: Site, stage: str) -> None:
    gone = asyncio.Event()

    async def page(session: Any) -> Response:
        async def body() -> AsyncIterator[str]:
            session.set_attribute("late", 1)
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
