"""Requests that arrive with an id that was replaced or ended a moment ago.

Such a request left the browser before the answer of a login or logout arrived there. Its own
answer must not overwrite the cookie that came with the other one.
"""

import itertools
import logging
from collections.abc import Awaitable, Callable

from pyfly_session import ids
from tests.identity.conftest import HASHED, MakeSite
from tests.identity.site import Held, Picture, Process, Site
from tests.support.cases import for_each
from tests.support.types import Log
from tests.web.driver import Answer

NOTHING = Picture(None, True, {})
A_MOMENT = 10


def lines_about(session_id: str, caplog: Log) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("pyfly_session") and ids.mask(session_id) in record.getMessage()
    ]


async def replaced(site: Site, path: str = "/enter?user=alice&note=hers") -> tuple[str, str]:
    """Return an id that was replaced just now, and the one that replaced it."""
    former = await site.here.visit("/write?cart=tea")
    site.clock.advance(1)
    current = (await site.here.ask(path, former)).session_id
    return former, current


async def log_out(process: Process, session_id: str) -> None:
    assert (await process.ask("/leave", session_id)).status == 200


async def end_all(process: Process, session_id: str) -> None:
    assert await process.container.principal_sessions().end_all("alice") == 1


@for_each("page", ["/news", "/look", "/write?cart=late", "/renew", "/clear"])
@for_each("change", ["/enter?user=alice&note=hers", "/renew?note=hers"])
@HASHED
async def test_replaced_id_opens_an_empty_session_that_is_not_saved(
    make_site: MakeSite, change: str, page: str, hash_ids: bool
) -> None:
    """A poll with the id before the login sees nothing, stores nothing and sets no cookie."""
    site = await make_site(hash_ids=hash_ids)
    former, current = await replaced(site, change)
    before = await site.here.opens(current)
    answer = await site.there.ask(page, former)
    assert (answer.status, answer.all("set-cookie")) == (200, [])
    assert (await site.here.opens(current), await site.there.opens(former)) == (before, NOTHING)


async def test_id_that_was_replaced_several_times_opens_nothing(site: Site) -> None:
    """Each of three former ids of a session is known as one."""
    former, current = await replaced(site)
    known = [former]
    for _ in range(2):
        known.append(current)
        current = (await site.here.ask("/renew", current)).session_id
    for each in known:
        answer = await site.there.ask("/look", each)
        assert (Picture.of(answer), answer.all("set-cookie")) == (NOTHING, [])


@for_each("end", [log_out, end_all])
async def test_ended_id_opens_an_empty_session_that_is_not_saved(
    make_native_site: MakeSite, end: Callable[[Process, str], Awaitable[None]]
) -> None:
    """A poll that arrives after the logout, in the process that ended the session."""
    site = await make_native_site()
    ended = (await site.here.ask("/enter?user=alice")).session_id
    await end(site.here, ended)
    for page in ("/news", "/look", "/write?cart=late"):
        answer = await site.here.ask(page, ended)
        assert (answer.status, answer.all("set-cookie")) == (200, [])
    assert await site.here.opens(ended) == NOTHING


async def test_unknown_id_gets_a_session_as_a_visitor_does(site: Site) -> None:
    """An id that never was, or ended long ago, is no former id: a new session, with a cookie."""
    await replaced(site)
    answer = await site.there.ask("/write?cart=tea", ids.new_id())
    assert await site.there.opens(answer.session_id) == Picture(None, False, {"cart": "tea"})


@for_each("path", ["/renew", "/leave"])
async def test_former_id_is_forgotten_after_a_while(make_memory_site: MakeSite, path: str) -> None:
    """A browser that kept a former id for an hour gets a session again, as a visitor does."""
    site = await make_memory_site()
    former = (await site.here.ask("/enter?user=alice")).session_id
    await site.here.ask(path, former)
    assert await site.here.opens(former) == NOTHING
    site.clock.advance(3600)
    answer = await site.here.ask("/write?cart=tea", former)
    assert answer.session_id != former
    assert await site.here.opens(answer.session_id) == Picture(None, False, {"cart": "tea"})


@for_each("path", ["/enter?user=alice", "/renew"])
async def test_log_tells_once_of_each_replaced_id(site: Site, caplog: Log, path: str) -> None:
    """However often a page polls with a former id, the log has one line about it."""
    first, second = (await replaced(site, path))[0], (await replaced(site, path))[0]
    caplog.set_level(logging.INFO, "pyfly_session")
    caplog.clear()
    for former in (first, first, second, first):
        assert (await site.there.ask("/news", former)).status == 200
        assert (await site.there.ask("/write?cart=late", former)).status == 200
    assert [len(lines_about(each, caplog)) for each in (first, second)] == [1, 1]
    assert first not in caplog.text


async def test_log_tells_once_of_an_ended_id(make_native_site: MakeSite, caplog: Log) -> None:
    """The log has one line about an ended id, too."""
    site = await make_native_site()
    ended = (await site.here.ask("/enter?user=alice")).session_id
    await log_out(site.here, ended)
    caplog.set_level(logging.INFO, "pyfly_session")
    caplog.clear()
    for _ in range(3):
        await site.here.ask("/look", ended)
    assert len(lines_about(ended, caplog)) == 1


# Logins that arrive with a former id


async def test_login_with_a_replaced_id_gets_a_session_of_its_own(site: Site) -> None:
    """Bob logs in with the id that alice's login replaced: his own session, hers untouched."""
    former, alice = await replaced(site)
    before = await site.here.opens(alice)
    answer = await site.there.ask("/enter?user=bob&own=1", former)
    assert await site.here.opens(answer.session_id) == Picture("bob", False, {"own": "1"})
    assert await site.here.opens(alice) == before
    assert [await site.there.count(user) for user in ("alice", "bob")] == [1, 1]


async def test_login_with_an_ended_id_gets_a_session_of_its_own(make_native_site: MakeSite) -> None:
    """Who logs out in one tab and in again in another, with the ended id, is logged in."""
    site = await make_native_site()
    ended = (await site.here.ask("/enter?user=alice&note=old")).session_id
    await log_out(site.here, ended)
    answer = await site.here.ask("/enter?user=alice&own=1", ended)
    assert answer.session_id != ended
    assert await site.here.opens(answer.session_id) == Picture("alice", False, {"own": "1"})
    assert await site.here.count("alice") == 1


@HASHED
@for_each("after", [[], ["/renew"]])
async def test_second_click_that_arrives_late_joins_the_first(
    make_site: MakeSite, after: list[str], hash_ids: bool
) -> None:
    """The second POST of a double click carries the former id and is handled after the first."""
    site = await make_site(hash_ids=hash_ids)
    former, alice = await replaced(site)
    for path in after:
        alice = (await site.here.ask(path, alice)).session_id
    site.clock.advance(A_MOMENT - 2)
    second = await site.there.ask("/enter?user=alice", former)
    assert (second.status, second.all("set-cookie")) == (200, [])
    assert (await site.there.opens(alice)).attributes == {"cart": "tea", "note": "hers"}
    assert await site.there.count("alice") == 1


@for_each("strategy", ["evict-oldest", "reject-new"])
async def test_late_second_click_needs_no_second_place(make_site: MakeSite, strategy: str) -> None:
    """Where one session is allowed, the second click neither is refused nor ends the first."""
    limit = {"enabled": True, "max-sessions": 1, "strategy": strategy}
    site = await make_site(concurrency=limit)
    former, alice = await replaced(site)
    second = await site.there.ask("/enter?user=alice", former)
    assert (second.status, second.all("set-cookie")) == (200, [])
    assert ((await site.there.opens(alice)).user, await site.there.count("alice")) == ("alice", 1)


async def test_login_after_more_than_a_moment_is_a_login_of_its_own(site: Site) -> None:
    """Eleven seconds after the first login the second one is no double click any more."""
    former, alice = await replaced(site)
    site.clock.advance(A_MOMENT + 1)
    second = await site.there.ask("/enter?user=alice&own=1", former)
    assert await site.there.opens(second.session_id) == Picture("alice", False, {"own": "1"})
    assert (await site.there.opens(alice)).attributes == {"cart": "tea", "note": "hers"}
    assert await site.there.count("alice") == 2


async def test_login_with_an_id_that_a_thief_renewed_is_a_login_of_its_own(site: Site) -> None:
    """The id was replaced by no login: alice logs in, and the thief has nothing of that."""
    alice = (await site.here.ask("/enter?user=alice&note=old")).session_id
    site.clock.advance(1)
    thief = (await site.here.ask("/renew", alice)).session_id
    site.clock.advance(1)
    answer = await site.there.ask("/enter?user=alice&second_factor=yes", alice)
    hers = Picture("alice", False, {"second_factor": "yes"})
    assert await site.there.opens(answer.session_id) == hers
    assert (await site.there.opens(thief)).attributes == {"note": "old"}


# A login beside a page that polls


class Jar:
    """The browser's cookie: each answer that sets it replaces the one before."""

    def __init__(self, cookie: str) -> None:
        self.cookie = cookie

    def take(self, answer: Answer) -> None:
        told = answer.cookie()
        if told is not None:
            self.cookie = told.value


class Trip:
    """A request in four moments: sent by the browser, begun, ended, its answer arrived."""

    def __init__(self, process: Process, path: str, jar: Jar) -> None:
        self._process, self._path, self._jar = process, path, jar
        self._held: Held
        self._answer: Answer
        self._moments = iter([self._send, self._begin, self._end, self._arrive])

    async def go_on(self) -> None:
        await next(self._moments)()

    async def _send(self) -> None:
        self._cookie = self._jar.cookie

    async def _begin(self) -> None:
        self._held = await self._process.begin(self._path, self._cookie, reads=False)

    async def _end(self) -> None:
        self._answer = await self._held.finish()

    async def _arrive(self) -> None:
        assert self._answer.status == 200
        self._jar.take(self._answer)


def orders() -> list[tuple[int, ...]]:
    """Return at which of eight moments a poll goes on; at the others a login does.

    Answers arrive in the order in which they were sent. What a server sent before it knew of
    the login, it cannot take back.
    """
    found: list[tuple[int, ...]] = []
    for polls in itertools.combinations(range(8), 4):
        logins = [moment for moment in range(8) if moment not in polls]
        if (polls[2] < logins[2]) == (polls[3] < logins[3]):
            found.append(polls)
    return found


@for_each(
    ("poll", "creation"),
    [
        ("/news", "always"), ("/look", "always"), ("/look", "if-required"),
        ("/write?seen=1", "if-required"),
    ],
)  # fmt: skip
async def test_no_login_is_lost_to_polling(make_site: MakeSite, poll: str, creation: str) -> None:
    """In whatever order a poll meets a login, the browser is logged in when both are over."""
    site = await make_site(creation=creation)
    lost = []
    for polls in orders():
        jar = Jar(await site.here.visit())
        trips = [Trip(site.here, "/enter?user=ann", jar), Trip(site.there, poll, jar)]
        for moment in range(8):
            # A request takes its time, and a moment is over long before any note is.
            site.clock.advance(0.1)
            await trips[moment in polls].go_on()
        if (await site.here.opens(jar.cookie)).user != "ann":
            lost.append(polls)
    assert lost == []
