"""Listeners that are slow, fail or hang; requests that are cancelled; how they are wired."""

import asyncio
import contextvars
from typing import Any

import pytest
from dependency_injector import providers
from starlette.applications import Starlette

from pyfly_session import SessionRepository, SessionStoreError, ids
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration import SessionContainer, close_sessions, enable_sessions
from pyfly_session.core.event_publisher import EventPublisher
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.core.tasks import BackgroundTasks
from pyfly_session.events import SessionCreated, SessionDestroyed, SessionEvent, SessionIdChanged
from tests.conftest import Clock
from tests.support.cases import for_each
from tests.support.types import Log
from tests.web.conftest import Site
from tests.web.driver import Connection, ask
from tests.web.listening import Shop, destroyed, handle, write
from tests.web.pages import Page, leave


async def test_a_listener_that_fails_keeps_nobody_from_anything(site: Site, caplog: Log) -> None:
    def fails(event: SessionEvent) -> None:
        raise ValueError("mine")

    shop = Shop(site, fails)
    answer = await shop.ask("/write")
    assert (answer.status, len(await shop.news())) == (200, 1)
    assert "failed on SessionCreated" in caplog.text
    assert answer.session_id not in caplog.text


async def test_listener_whose_task_was_cancelled_silences_none(site: Site, caplog: Log) -> None:
    async def mailer(event: SessionEvent) -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    shop = Shop(site, mailer)
    known = (await shop.ask("/enter")).session_id
    await shop.ask("/leave", known)
    assert [type(each) for each in await shop.news()] == [SessionCreated, SessionDestroyed]
    assert caplog.text.count("CancelledError") >= 2


async def test_a_publisher_that_is_cancelled_keeps_nothing_of_the_session(clock: Clock) -> None:
    told: list[SessionEvent] = []
    heard = asyncio.Event()

    async def listen(event: SessionEvent) -> None:
        told.append(event)
        if len(told) == 1:
            heard.set()
            await asyncio.Event().wait()

    work = BackgroundTasks()
    store = CapableStore(InMemorySessionStore(clock=clock))
    publisher = EventPublisher([listen], store, work, clock=clock)
    others = asyncio.all_tasks()
    publisher.publish(SessionCreated(handle=ids.mask("a" * 32)[1:], principal=None, at=0))
    await heard.wait()
    moved = {"handle": ids.mask("b" * 32)[1:], "former": ids.mask("a" * 32)[1:]}
    publisher.publish(SessionIdChanged(principal=None, at=0, **moved))
    for task in asyncio.all_tasks() - others:
        task.cancel()
    await work.drain()
    publisher.destroyed("b" * 32, None, "invalidated")
    await work.drain()
    assert [type(each) for each in told] == [SessionCreated, SessionDestroyed]


async def test_nobody_waits_for_a_slow_listener_but_the_shutdown(site: Site) -> None:
    heard, go_on = asyncio.Event(), asyncio.Event()

    async def slow(event: SessionEvent) -> None:
        heard.set()
        await go_on.wait()

    shop = Shop(site, slow)
    first = (await shop.ask("/write")).session_id
    await heard.wait()
    # The same session has to wait, another one does not.
    await shop.ask("/leave", first)
    assert shop.told == []
    shutdown = asyncio.ensure_future(shop.repository.drain())
    await asyncio.sleep(0)
    assert not shutdown.done()
    go_on.set()
    await shutdown
    assert [type(each) for each in shop.told] == [SessionCreated, SessionDestroyed]


async def test_sessions_do_not_wait_for_each_other(site: Site) -> None:
    told: list[str] = []
    second_told, go_on = asyncio.Event(), asyncio.Event()

    async def slow_at_first(event: SessionEvent) -> None:
        told.append(event.handle)
        if len(told) == 1:
            await go_on.wait()
        else:
            second_told.set()

    shop = Shop(site, slow_at_first)
    first = (await shop.ask("/write")).session_id
    second = (await shop.ask("/write")).session_id
    await second_told.wait()
    go_on.set()
    news = await shop.news()
    assert [each.handle for each in news] == [handle(shop, each) for each in (second, first)]


async def test_only_the_process_that_did_it_tells(site: Site) -> None:
    shop, other = Shop(site), Shop(site.another_node())
    known = (await shop.ask("/enter")).session_id
    await other.ask("/leave", known)
    assert [type(each) for each in await shop.news()] == [SessionCreated]
    assert await other.news() == [destroyed(shop, known, "invalidated", "ada")]


async def test_a_listener_that_hangs_is_given_up(clock: Clock, caplog: Log) -> None:
    async def hangs(event: SessionEvent) -> None:
        await asyncio.Event().wait()

    work = BackgroundTasks()
    store = CapableStore(InMemorySessionStore(clock=clock))
    EventPublisher([hangs], store, work, clock=clock, patience=0).destroyed("a" * 32, None, "ended")
    await work.drain()
    assert "TimeoutError" in caplog.text


@for_each("where", ["before", "after"])
async def test_a_logout_is_told_wherever_its_request_is_cancelled(site: Site, where: Any) -> None:
    shop = Shop(site)
    known = (await shop.ask("/write")).session_id
    shop.site.probe.calls.clear()
    await shop.ask("/leave", known)
    calls = len(shop.site.probe.calls)
    assert calls >= 3
    for number in range(2, calls + 1):
        known = (await shop.ask("/write")).session_id
        await shop.news()
        hold = shop.site.probe.hold(number, where)
        connection = Connection(shop.app, "/leave", cookie=known, swallow=True).start()
        await hold.reached.wait()
        await connection.cancel()
        hold.release.set()
        assert await shop.news() == [destroyed(shop, known, "invalidated")], f"call {number}"


async def test_a_store_that_fails_has_nothing_to_tell(site: Site) -> None:
    shop = Shop(site)
    known = (await shop.ask("/write")).session_id
    await shop.news()
    hold = shop.site.probe.hold(2, "before")
    leaving = Connection(shop.app, "/leave", cookie=known, swallow=True).start()
    await hold.reached.wait()
    shop.site.probe.down = SessionStoreError("down")
    hold.release.set()
    await leaving.end()
    shop.site.probe.down = None
    assert await shop.news() == []
    await shop.ask("/leave", known)
    assert await shop.news() == [destroyed(shop, known, "invalidated")]


async def test_without_listeners_a_logout_asks_the_store_for_nothing_more(site: Site) -> None:
    app = site.app(write=write, leave=leave)
    known = (await ask(app, "/write")).session_id
    site.probe.calls.clear()
    await ask(app, "/leave", cookie=known)
    assert [name for name, _ in site.probe.calls] == ["load_and_slide", "delete_moved"]


async def test_the_container_has_the_listeners_and_follows_an_override() -> None:
    told: list[SessionEvent] = []
    replaced: list[SessionEvent] = []
    container = SessionContainer()
    container.config.from_dict({"pyfly": {"session": {"enabled": True}}})
    container.session_listeners.add_args(providers.Object(told.append))
    app = Starlette(routes=[Page("/write", write)])
    enable_sessions(app, container)
    repository = container.session_repository()
    await ask(app, "/write")
    assert container.session_repository() is repository
    with container.session_listeners.override(providers.Object([replaced.append])):
        await ask(app, "/write")
        await container.session_repository().drain()
    await ask(app, "/write")
    await close_sessions(container)
    assert (len(told), len(replaced)) == (2, 1)


@for_each("wrong", [42, InMemorySessionStore, "told.append"])
def test_what_cannot_be_called_with_an_event_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="must be a function"):
        SessionRepository(InMemorySessionStore(), listeners=[wrong])


async def test_listeners_see_nothing_of_the_request(site: Site) -> None:
    secret = contextvars.ContextVar("secret", default="none")
    seen: list[str] = []
    shop = Shop(site, lambda event: seen.append(secret.get()))
    secret.set("of one request")
    await shop.ask("/write")
    await shop.news()
    assert seen == ["none"]
