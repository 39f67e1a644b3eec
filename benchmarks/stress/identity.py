"""Races about who may have which session: planted ids, double logins, requests that come late.

An id is planted in a victim's browser by somebody who knows it, and who presents it, too. What is
to hold is said in ``docs/explanation/identity.md``, and shown one by one in ``tests/identity``.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.stress.races import Node, Raced, UnansweredError
from benchmarks.stress.site import Site
from pyfly_session.errors import SessionStoreError
from tests.web.driver import Answer

# A request that took longer asks once more what became of its session.
_LONG_SECONDS = 0.06
# About as long as a login takes when all are busy.
_MEANWHILE_SECONDS = 0.03
_REFUSED = 409
_UNAVAILABLE = 503


@dataclass(frozen=True)
class Said:
    """A request, and what it was answered.

    Attributes:
        client: Who sent it.
        path: What it asked for.
        presented: The id that it came with.
        site: Which application was asked.
        answer: The answer.
    """

    client: str
    path: str
    presented: str
    site: Site
    answer: Answer

    @property
    def told(self) -> str | None:
        """The id that the client has by this answer, and did not bring."""
        cookie = self.answer.cookie()
        if cookie is None or cookie.is_deletion or cookie.value == self.presented:
            return None
        return cookie.value

    @property
    def accepted(self) -> bool:
        """False for a login that was refused."""
        return self.answer.status != _REFUSED

    @property
    def page(self) -> dict[str, Any]:
        """What the page saw of its session."""
        page: dict[str, Any] = json.loads(self.answer.body) if self.accepted else {}
        return page

    @property
    def wrote(self) -> str | None:
        """The attribute that was set, if it was in a session that is saved."""
        _, found, name = self.path.partition("name=")
        return name if found and self.accepted and not self.page["unsaved"] else None

    def __str__(self) -> str:
        cookies = [each.partition(";")[0][:24] for each in self.answer.all("set-cookie")]
        return (
            f"{self.client} {self.path} with {self.presented[:8]}: {self.answer.status} {cookies}"
            f" head {self.answer.head['number']}"
        )


Finish = Callable[[], Awaitable[Said | None]]


class Meeting:
    """All that clients ask and are told about one planted id.

    Args:
        node: Where.
        number: Of the race.
        raced: What is counted.
        strategy: What becomes of a second session of a user; None if there may be many.

    Attributes:
        name: Unlike that of any other one.
        planted: The id.
    """

    def __init__(
        self, node: Node, number: int, raced: Raced, *, strategy: str | None = None
    ) -> None:
        self.name = f"{node.worker}.{number}"
        self.planted = ""
        self._sites = node.sites if strategy is None else node.limited(strategy)
        self._raced = raced
        self._strategy = strategy
        self._said: list[Said] = []
        self._gates = 0
        self._unanswered = 0

    async def plant(self) -> None:
        """Have somebody get an id by an anonymous visit."""
        visit = await self.ask("visitor", "add?name=cart")
        if visit is None or visit.told is None:
            raise UnansweredError
        self.planted = visit.told

    async def ask(self, client: str, path: str, cookie: str | None = None) -> Said | None:
        """Send a request to any of the applications; None if it was answered by an error."""
        site = random.choice(self._sites)
        answer = await site.ask(f"/{path}", cookie)
        return self._heard(client, path, cookie or "", site, answer)

    async def meet(self, client: str, path: str) -> Said | None:
        """Send a request with the planted id, at any moment."""
        await asyncio.sleep(random.random() * _MEANWHILE_SECONDS)
        return await self.ask(client, path, self.planted)

    async def hold(self, client: str, path: str) -> Finish:
        """Send a request with the planted id, which stops when it has loaded its session."""
        site = random.choice(self._sites)
        self._gates += 1
        gate = f"{self.name}.{self._gates}"
        task = await site.late(path.replace("?", "&"), self.planted, gate)

        async def finish() -> Said | None:
            site.open_gate(gate)
            return self._heard(client, path, self.planted, site, await task)

        return finish

    async def either(self, client: str, path: str, *, held_open: bool | None = None) -> Finish:
        """Send a request with the planted id that goes on at any moment, held open or not."""
        if held_open is None:
            held_open = random.random() < 0.5
        if not held_open:
            return lambda: self.meet(client, path)
        held = await self.hold(client, path)

        async def finish() -> Said | None:
            await asyncio.sleep(random.random() * _MEANWHILE_SECONDS)
            return await held()

        return finish

    def _heard(
        self, client: str, path: str, presented: str, site: Site, answer: Answer | None
    ) -> Said | None:
        if answer is None or answer.status not in (200, _REFUSED):
            self._unanswered += 1
            self._complain(path, answer)
            return None
        said = Said(client, path, presented, site, answer)
        self._said.append(said)
        return said

    def _complain(self, path: str, answer: Answer | None) -> None:
        """Take note of an answer that no race expects; one of a store that is too slow is none."""
        told = "nothing" if answer is None else f"{answer.status} {answer.text[:200]}"
        what = f"{path.partition('?')[0]} was answered {told}"
        if answer is not None and answer.status == _UNAVAILABLE:
            self._raced.note(what)
        else:
            self._raced.tally.odd.append(what)

    async def look(self, cookie: str) -> dict[str, Any]:
        """Return what whoever has an id sees."""
        answer = await random.choice(self._sites).ask("/look", cookie)
        if answer is None or answer.status != 200:
            self._complain("look", answer)
            raise UnansweredError
        page: dict[str, Any] = json.loads(answer.body)
        return {**page, "cookies": answer.all("set-cookie")}

    async def count(self, user: str) -> int:
        """Return how many sessions a user has."""
        try:
            return await random.choice(self._sites).count(user)
        except SessionStoreError as error:
            self._raced.note(f"count: {error}")
            raise UnansweredError from error

    def require(self, what: str, why: str, *, holds: bool) -> None:
        """Count what does not hold, as ``lost``, ``leaked`` or ``revived``."""
        if holds:
            return
        setattr(self._raced, what, getattr(self._raced, what) + 1)
        story = "; ".join(map(str, self._said))
        where = f"{self.name}, {self._strategy}"
        self._raced.tally.odd.append(f"{what}: {why} [{where}: {story}]")

    async def end(self, user: str) -> bool:
        """Check what holds of every meeting; False if a request was answered by an error.

        Args:
            user: Whose requests are alice's, and nobody else's.
        """
        if self._unanswered:
            return False
        for said in self._said:
            if said.client != "alice":
                self.require_hidden(said.page, user)
        for each in {said.told for said in self._said} - {None, self.planted}:
            owners = [said for said in self._said if said.told == each]
            self.require("leaked", "an id was told twice", holds=len(owners) == 1)
            for said in self._said:
                here = said.client != owners[0].client and str(each) in str(said.answer.messages)
                self.require("leaked", "an id is in another one's answer", holds=not here)
        former = await self.look(self.planted)
        empty = former["user"] is None and not former["attributes"]
        self.require("leaked", "the former id opens something", holds=empty)
        silent = former["unsaved"] and not former["cookies"]
        self.require("revived", "the former id is given a session", holds=silent)
        return True

    def require_hidden(self, page: dict[str, Any], user: str) -> None:
        """Fail if one sees a session of a user, or what is only in hers."""
        hers = {"of.alice", "secret"} & page.get("attributes", {}).keys()
        hidden = page.get("user") != user and not hers
        self.require("leaked", f"somebody else sees {page}", holds=hidden)

    async def require_counted(self, user: str, expected: int) -> None:
        """Fail if a user has more or fewer sessions."""
        count = await self.count(user)
        why = f"{count} sessions instead of {expected}"
        self.require("lost" if count < expected else "revived", why, holds=count == expected)

    def require_kept(self, page: dict[str, Any], names: Iterable[str]) -> None:
        """Fail if attributes are missing."""
        missing = set(names) - page["attributes"].keys()
        self.require("lost", f"{missing} of {page}", holds=not missing)


async def held_race(node: Node, number: int, raced: Raced) -> bool:
    """Hold requests with a planted id open while the victim logs in with it."""
    is_full = random.random() < 0.25
    meeting = Meeting(node, number, raced, strategy="reject-new" if is_full else None)
    alice, bob = f"alice{meeting.name}", f"bob{meeting.name}"
    if is_full:
        await meeting.ask("bob", f"enter?user={bob}")
    await meeting.plant()
    kinds = ["add?name=bait", "rotate?name=bait", f"enter?user={bob}&name=of.bob"]
    attacks = [f"{kind}{n}" for n, kind in enumerate(random.choices(kinds, k=random.randint(1, 3)))]
    held = [await meeting.hold("attacker", attack) for attack in attacks]
    keeps_cart = random.random() < 0.5
    path = f"enter?user={alice}&name=of.alice"
    victims = await meeting.either("alice", path, held_open=keeps_cart)

    async def attack(finish: Finish) -> Said | None:
        await asyncio.sleep(random.random() * _MEANWHILE_SECONDS)
        return await finish()

    async def log_in() -> Said | None:
        said = await victims()
        if said is not None and said.told is not None:
            await meeting.ask("alice", "add?name=secret", said.told)
        return said

    login, *answers = await asyncio.gather(log_in(), *map(attack, held))
    await _probe(meeting)
    if not await meeting.end(alice) or login is None:
        return False

    meeting.require("lost", "the login has no cookie", holds=login.told is not None)
    hers = await meeting.look(login.told or "")
    meeting.require("lost", f"she is not logged in: {hers}", holds=hers["user"] == alice)
    meeting.require_kept(hers, ["of.alice", "secret", *(["cart"] if keeps_cart else [])])
    others = [name for name in hers["attributes"] if name.startswith("of.bob")]
    meeting.require("leaked", f"{others} is in her session", holds=not others)
    await meeting.require_counted(alice, 1)

    seen, bobs = {*hers["attributes"]}, int(is_full)
    for said in filter(None, answers):
        if said.told is not None:
            theirs = await _attackers(meeting, said, alice, bob)
            bobs += theirs["user"] == bob
            seen |= theirs["attributes"].keys()
    await meeting.require_counted(bob, bobs)
    for said in filter(None, answers):
        kept = said.wrote is None or said.wrote in seen
        meeting.require("lost", f"{said.wrote} is nowhere", holds=kept)
    if any(said is not None and said.told is not None for said in answers):
        raced.note("in which the attacker got an id of their own")
    return True


async def _probe(meeting: Meeting) -> None:
    """Have the attacker come again, with the planted id."""
    for path in random.sample(["look", "news", "add?name=late", "rotate?name=late"], 2):
        said = await meeting.ask("attacker", path, meeting.planted)
        silent = said is not None and said.wrote is None and not said.answer.all("set-cookie")
        meeting.require("revived", "a request with the former id counts", holds=silent)


async def _attackers(meeting: Meeting, said: Said, alice: str, bob: str) -> dict[str, Any]:
    """Return what the attacker sees with an id that they were told, and check it."""
    page = await meeting.look(said.told or "")
    meeting.require_hidden(page, alice)
    expected = bob if said.path.startswith("enter") else None
    meeting.require("lost", f"an id opens {page}", holds=page["user"] == expected)
    return page


async def double_race(node: Node, number: int, raced: Raced) -> bool:
    """Press the login button twice, or three times: one session, one answer with its cookie."""
    strategy = random.choice([None, "evict-oldest", "reject-new"])
    meeting = Meeting(node, number, raced, strategy=strategy)
    user = f"alice{meeting.name}"
    await meeting.plant()
    paths = [f"enter?user={user}&name=n{n}" for n in range(random.choice([2, 2, 3]))]
    clicks = [await meeting.either("alice", path) for path in paths]
    answers = [said for said in await asyncio.gather(*(each() for each in clicks)) if said]
    if not await meeting.end(user):
        return False
    refused = [said for said in answers if not said.accepted]
    meeting.require("lost", "a login was refused", holds=not refused)
    told = [said.told for said in answers if said.told is not None]
    meeting.require("lost", "no login has a cookie", holds=bool(told))
    meeting.require("revived", "several have a cookie", holds=len(told) <= 1)
    page = await meeting.look(told[0] if told else "")
    meeting.require("lost", f"the user is not logged in: {page}", holds=page["user"] == user)
    meeting.require_kept(page, ["cart", *filter(None, (said.wrote for said in answers))])
    await meeting.require_counted(user, 1)
    return True


async def late_race(node: Node, number: int, raced: Raced) -> bool:
    """Poll with an id while its user logs in, and after that: no poll's answer sets a cookie."""
    meeting = Meeting(node, number, raced)
    user = f"alice{meeting.name}"
    await meeting.plant()
    pages = ["news", "look", "add?name=poll"]

    def polls(kind: str, most: int, more: Iterable[str] = ()) -> list[str]:
        chosen = random.choices([*pages, *more], k=random.randint(0, most))
        return [f"{path}.{kind}{n}" if "=" in path else path for n, path in enumerate(chosen)]

    slow = [await meeting.hold("poll", path) for path in polls("slow", 2, ["rotate?name=poll"])]
    entering = await meeting.either("alice", f"enter?user={user}&name=of.alice")
    meanwhile = [meeting.meet("poll", path) for path in polls("meanwhile", 3)]
    login, *met = await asyncio.gather(entering(), *meanwhile)
    late = await asyncio.gather(
        *(
            meeting.ask("poll", path, meeting.planted)
            for path in ["look", *polls("late", 3, ["rotate?name=poll"])]
        )
    )
    if slow:
        await asyncio.sleep(_LONG_SECONDS)
    slowly = await asyncio.gather(*(finish() for finish in slow))
    if not await meeting.end(user) or login is None:
        return False

    page = await meeting.look(login.told or "")
    meeting.require("lost", f"the user is not logged in: {page}", holds=page["user"] == user)
    for said in filter(None, [*late, *slowly]):
        silent = not said.answer.all("set-cookie")
        meeting.require("lost", "a late answer takes the login's place", holds=silent)
    for said in filter(None, met):
        after = said.answer.head["number"] > login.answer.head["number"]
        if after and said.answer.all("set-cookie"):
            # The page says how long another process may not know of the login.
            excused = said.site is not login.site
            meeting.require("lost", "an answer takes the login's place", holds=excused)
            raced.note("answers of another process that were sent too early to know of the login")
    everything = [said for said in [*met, *late, *slowly] if said is not None]
    meeting.require_kept(
        page, ["cart", "of.alice", *(said.wrote for said in everything if said.wrote)]
    )
    uncounted = [said.wrote for said in late if said is not None and said.wrote]
    meeting.require("leaked", f"{uncounted} was written by a former id", holds=not uncounted)
    await meeting.require_counted(user, 1)
    return True
