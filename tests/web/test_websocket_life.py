"""An open WebSocket and its session: kept alive, saved, closed when the session ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from pyfly_session.core.metadata import PRINCIPAL
from pyfly_session.security import SecurityContext, login
from pyfly_session.web import WebSocketRules
from tests.support.cases import for_each
from tests.support.types import Log
from tests.web.conftest import EACH_NATIVE_STORE, EACH_STORE, Site
from tests.web.driver import Connection, ask

KNOWN = "a" * 32
ALICE: dict[str, Any] = {PRINCIPAL: "alice"}
CLOSED = {"type": "websocket.close", "code": 1008, "reason": "the session has ended"}


def fast(site: Site, *, ttl: int = 1800, **rules: Any) -> Site:
    """Let the site look after its sockets all the time."""
    return site.configure(ttl=ttl, websocket=WebSocketRules(check_interval=0.001, **rules))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task does; the test's timeout bounds it."""
    while not condition():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.001)


async def until_stored(site: Site, expected: dict[str, Any] | None) -> None:
    """Wait until the store holds this of the session."""
    while await site.stored(KNOWN) != expected:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.001)


class Talk:
    """An open WebSocket whose application echoes what it gets.

    Attributes:
        disconnects: What ended the application's loop, codes.
    """

    def __init__(self, site: Site, *, cookie: str | None = KNOWN) -> None:
        self.site = site
        self.disconnects: list[int] = []
        self.session: Any = None

        async def logout(session: Any) -> None:
            session.invalidate()

        async def rotate(session: Any) -> None:
            session.rotate_id()

        self.app = site.app(WebSocketRoute("/", self.echo), logout=logout, rotate=rotate)
        connect = [{"type": "websocket.connect"}]
        self.socket = Connection(
            self.app, kind="websocket", cookie=cookie, incoming=connect, swallow=True
        )

    async def echo(self, websocket: WebSocket) -> None:
        self.session = websocket.state.session
        await websocket.accept()
        try:
            while True:
                text = await websocket.receive_text()
                if text.startswith("set "):
                    websocket.state.session.set_attribute("said", text[4:])
                if text == "leave":
                    websocket.state.session.invalidate()
                await websocket.send_text(text)
        except WebSocketDisconnect as error:
            self.disconnects.append(error.code)

    async def open(self) -> Talk:
        self.socket.start()
        await self.socket.started()
        return self

    async def say(self, text: str) -> None:
        """Send one message and wait for its echo."""
        count = len(self.socket.answer.messages) + 1
        self.socket.receive({"type": "websocket.receive", "text": text})
        await self.socket.messages(count)

    async def looks(self, count: int = 2) -> None:
        """Wait until the session has been looked at so often; the first may have begun before."""
        names = ("exists", "load_and_slide", "get")
        seen = len(self.site.probe.calls)
        calls = self.site.probe.calls
        await until(lambda: sum(name in names for name, _ in calls[seen:]) >= count)

    async def hang_up(self) -> None:
        self.socket.receive({"type": "websocket.disconnect", "code": 1000})
        await self.socket.end()

    @property
    def sent(self) -> list[dict[str, Any]]:
        return self.socket.answer.messages[1:]


class TestSliding:
    @EACH_STORE
    async def test_messages_of_the_client_keep_it_alive_on_a_real_server(self, site: Site) -> None:
        """The store is told to slide, once for any number of messages."""
        await site.seed(KNOWN)
        talk = await Talk(fast(site)).open()
        before = site.probe.names.count("exists")
        await talk.looks()
        assert site.probe.names.count("exists") > before
        slides = "load_and_slide" if site.probe.loads == 1 else "save"
        before = site.probe.names.count(slides)
        await talk.say("still here")
        await until(lambda: site.probe.names.count(slides) > before)
        await talk.looks(3)
        assert site.probe.names.count(slides) == before + 1
        await talk.hang_up()

    async def test_message_counts_though_the_store_failed_just_then(self, site: Site) -> None:
        await site.seed(KNOWN)
        talk = await Talk(fast(site)).open()
        slides = site.probe.names.count("load_and_slide")
        site.probe.fail("load_and_slide", times=1)
        await talk.say("still here")
        await until(lambda: site.probe.names.count("load_and_slide") > slides + 1)
        await talk.hang_up()

    async def test_user_who_only_talks_stays_in_the_list_of_sessions(self, site: Site) -> None:
        async def enter(request: Request) -> None:
            await login(request, SecurityContext(user_id="alice"))

        known = (await ask(fast(site).app(enter=enter), "/enter")).session_id
        talk = await Talk(site, cookie=known).open()
        for _ in range(8):
            site.clock.advance(1700)
            await talk.say("still here")
            await talk.looks()
        await site.filter.repository.drain()
        listed = await site.filter.repository.principals.find_by_principal("alice")
        assert [each.session_id for each in listed] == [known]
        await talk.hang_up()

    async def test_silence_ends_the_session_exactly(self, site: Site) -> None:
        await site.seed(KNOWN, **ALICE)
        talk = await Talk(fast(site)).open()
        site.clock.advance(1799)
        await talk.looks()
        assert talk.sent == []
        site.clock.advance(1)
        await talk.socket.end()
        assert talk.sent == [CLOSED]

    @for_each("counts", [True, False])
    async def test_messages_to_client_count_if_asked_to(self, site: Site, counts: bool) -> None:
        async def ticker(websocket: WebSocket) -> None:
            await websocket.accept()
            for _ in range(2):
                await going_on.acquire()
                await websocket.send_text("tick")
            await websocket.receive()

        going_on = asyncio.Semaphore(0)
        await site.seed(KNOWN)
        talk = Talk(fast(site, slide_on_send=counts))
        talk.socket = Connection(
            site.socket(ticker), kind="websocket", cookie=KNOWN,
            incoming=[{"type": "websocket.connect"}],
        )  # fmt: skip
        await talk.open()
        for number in (1, 2):
            site.clock.advance(1000)
            going_on.release()
            await talk.socket.messages(1 + number)
            if counts or number == 1:
                await talk.looks()
        assert (await site.stored(KNOWN) is not None) is counts
        await talk.hang_up()

    async def test_no_message_outlives_the_absolute_lifetime(self, site: Site) -> None:
        await site.seed(KNOWN, **ALICE)
        rules = WebSocketRules(check_interval=0.001)
        talk = await Talk(site.configure(max_lifetime=3600, websocket=rules)).open()
        for _ in range(3):
            site.clock.advance(1000)
            await talk.say("still here")
            await talk.looks()
        site.clock.advance(599.5)
        await talk.say("a slide of a whole second would be too long")
        await talk.looks()
        site.clock.advance(0.6)
        await talk.socket.end()
        assert talk.sent[-1] == CLOSED

    async def test_idle_time_that_another_request_gave_it_is_kept(self, site: Site) -> None:
        async def shorter(session: Any) -> None:
            session.set_max_inactive_interval(60)

        await site.seed(KNOWN, **ALICE)
        talk = await Talk(fast(site)).open()
        await ask(site.app(shorter=shorter), "/shorter", cookie=KNOWN)
        site.clock.advance(59)
        await talk.say("still here")
        await talk.looks()
        site.clock.advance(60)
        await talk.socket.end()
        assert talk.sent[-1] == CLOSED


class TestSaving:
    async def test_changes_are_saved_while_the_socket_is_open(self, site: Site) -> None:
        await site.seed(KNOWN)
        talk = await Talk(fast(site)).open()
        await talk.say("set hello")
        await until_stored(site, {"said": "hello"})
        await talk.say("set goodbye")
        await talk.hang_up()
        assert await site.stored(KNOWN) == {"said": "goodbye"}

    async def test_logout_over_the_socket_ends_the_session_at_once(self, site: Site) -> None:
        await site.seed(KNOWN, **ALICE)
        talk = await Talk(fast(site)).open()
        await talk.say("leave")
        await until_stored(site, None)
        await talk.say("and its socket stays, for the application knows")
        await talk.hang_up()
        assert CLOSED not in talk.sent

    async def test_store_down_for_a_while_closes_nothing(self, site: Site, caplog: Log) -> None:
        await site.seed(KNOWN, **ALICE)
        talk = await Talk(fast(site)).open()
        site.probe.fail()
        await talk.looks()
        await talk.say("set hello")
        site.probe.recover()
        await until_stored(site, {"said": "hello"})
        await talk.hang_up()
        assert CLOSED not in talk.sent
        warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
        assert sum("could not look after session #" in each for each in warnings) == 1
        assert not any(KNOWN in each for each in warnings)


class TestClosing:
    async def test_end_in_the_same_process_is_noticed_at_once(self, site: Site) -> None:
        await site.seed(KNOWN, **ALICE)
        rules = WebSocketRules(check_interval=3600)
        talk = await Talk(site.configure(websocket=rules)).open()
        await ask(talk.app, "/logout", cookie=KNOWN)
        await talk.socket.end()
        assert (talk.sent, talk.disconnects) == ([CLOSED], [1008])

    async def test_all_sockets_of_a_session_are_closed_and_no_other(self, site: Site) -> None:
        await site.seed(KNOWN, **ALICE)
        other = await site.seed("b" * 32, **ALICE)
        site.configure(websocket=WebSocketRules(check_interval=3600))
        talks = [await Talk(site, cookie=each).open() for each in (KNOWN, KNOWN, other)]
        await site.filter.repository.principals.end(KNOWN)
        for talk in talks[:2]:
            await talk.socket.end()
        await talks[2].say("still here")
        await talks[2].hang_up()
        assert [CLOSED in talk.sent for talk in talks] == [True, True, False]

    @for_each("path", ["/logout", "/rotate"])
    @EACH_NATIVE_STORE
    async def test_socket_closes_when_session_ends_elsewhere(self, site: Site, path: str) -> None:
        await site.seed(KNOWN, **ALICE)
        talk = await Talk(fast(site)).open()
        await ask(Talk(site.another_node()).app, path, cookie=KNOWN)
        await talk.socket.end()
        assert (talk.sent, talk.disconnects) == ([CLOSED], [1008])

    @for_each(
        ("rule", "attributes", "closes"),
        [
            ("authenticated", {}, False),
            ("authenticated", ALICE, True),
            ("authenticated", {"SECURITY_CONTEXT": {"user_id": "alice"}}, True),
            ("always", {}, True),
            ("never", ALICE, False),
        ],
    )
    async def test_rule_says_whose_sockets_are_closed(
        self, site: Site, rule: str, attributes: dict[str, Any], closes: bool
    ) -> None:
        await site.seed(KNOWN, **attributes)
        talk = await Talk(fast(site, close_on_session_end=rule)).open()
        await site.probe.inner.delete(KNOWN)
        if closes:
            await talk.socket.end()
        else:
            calls = len(site.probe.calls)
            await talk.looks(1)
            await talk.say("still here")
            await talk.hang_up()
            # Nothing is left to look after.
            assert len(site.probe.calls) <= calls + 2
        assert (CLOSED in talk.sent) is closes

    async def test_application_that_goes_on_sending_reaches_nobody(self, site: Site) -> None:
        errors: list[int] = []

        async def chatter(websocket: WebSocket) -> None:
            await websocket.accept()
            await ended.wait()
            try:
                await websocket.send_text("secret")
            except WebSocketDisconnect as error:
                errors.append(error.code)

        ended = asyncio.Event()
        await site.seed(KNOWN, **ALICE)
        app = fast(site).socket(chatter)
        socket = Connection(
            app, kind="websocket", cookie=KNOWN, incoming=[{"type": "websocket.connect"}]
        ).start()
        await socket.started()
        await site.probe.inner.delete(KNOWN)
        await socket.messages(2)
        ended.set()
        await socket.end()
        assert (socket.answer.messages[1:], errors) == ([CLOSED], [1006])

    async def test_message_that_comes_too_late_reaches_no_application(self, site: Site) -> None:
        await site.seed(KNOWN, **ALICE)
        talk = await Talk(fast(site)).open()
        await site.probe.inner.delete(KNOWN)
        await talk.socket.messages(2)
        talk.socket.receive({"type": "websocket.receive", "text": "set late"})
        await talk.socket.end()
        assert (talk.sent, talk.disconnects) == ([CLOSED], [1008])

    async def test_cancellation_is_not_taken_for_the_end_of_the_session(self, site: Site) -> None:
        await site.seed(KNOWN, **ALICE)
        talk = await Talk(fast(site)).open()
        await talk.say("set hello")
        await talk.socket.cancel()
        await site.filter.repository.drain()
        assert (await site.stored(KNOWN), talk.disconnects) == ({"said": "hello"}, [])

    async def test_socket_without_a_stored_session_costs_nothing(self, site: Site) -> None:
        rules = WebSocketRules(check_interval=0.001)
        site.configure(creation="if-required", websocket=rules)
        talk = await Talk(site, cookie=None).open()
        await talk.say("hello")
        await asyncio.sleep(0.01)
        await talk.hang_up()
        assert site.probe.calls == []

    async def test_nothing_is_looked_at_once_the_socket_is_gone(self, site: Site) -> None:
        await site.seed(KNOWN, **ALICE)
        talk = await Talk(fast(site)).open()
        await talk.looks()
        await talk.hang_up()
        calls = len(site.probe.calls)
        await asyncio.sleep(0.01)
        assert len(site.probe.calls) == calls


@pytest.mark.parametrize("passive", [True, False])
async def test_socket_of_passive_path_keeps_nothing_alive(site: Site, *, passive: bool) -> None:
    """However much its client says, and is told."""
    rules = WebSocketRules(check_interval=0.001, close_on_session_end="never", slide_on_send=True)
    patterns = ["/"] if passive else []
    site.configure(ttl=100, websocket=rules, passive_patterns=patterns)
    await site.seed(KNOWN)
    talk = await Talk(site).open()
    site.clock.advance(60)
    await talk.say("set still here")
    await talk.looks(3)
    site.clock.advance(60)
    assert await site.stored(KNOWN) == (None if passive else {"said": "still here"})
    await talk.hang_up()


async def test_socket_of_a_session_that_ends_before_it_is_accepted_never_opens(site: Site) -> None:
    """Alice logs out while the handshake is under way: nothing of hers reaches the client."""
    shaken, gone = asyncio.Event(), asyncio.Event()

    async def talk(websocket: WebSocket) -> None:
        shaken.set()
        await gone.wait()
        await websocket.accept()
        await websocket.send_text("of alice")

    async def leave(session: Any) -> None:
        session.invalidate()

    app = fast(site).app(WebSocketRoute("/talk", talk), leave=leave)
    await site.seed(KNOWN, **ALICE)
    connect = [{"type": "websocket.connect"}]
    options: Any = {"kind": "websocket", "cookie": KNOWN, "incoming": connect, "swallow": True}
    socket = Connection(app, "/talk", **options).start()
    await shaken.wait()
    await ask(app, "/leave", cookie=KNOWN)
    gone.set()
    answer = await socket.end()
    assert answer.messages == [CLOSED]
