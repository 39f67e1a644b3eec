"""Two requests change the id of one session: the first wins, and nobody learns a foreign id.

An attacker knows the id of the session that the victim's browser uses before she logs in,
because it was planted there. They present it too, with a request that the page holds open.
"""

import asyncio
import itertools

from tests.identity.conftest import MakeSite
from tests.identity.site import Picture, Process, Site
from tests.support.cases import for_each
from tests.web.driver import Answer

NO_ROOM = {"enabled": True, "max-sessions": 1, "strategy": "reject-new"}

# What the attacker's request does with the session, and the status if it comes too late.
LATE_CHANGES = ["/renew", "/renew?cart=bait", "/enter?user=bob", "/write?cart=bait"]


async def require_safe(site: Process, victim: str, planted: str, attackers: Answer) -> None:
    """Fail if the attacker got hold of the session in which alice is logged in."""
    assert ((await site.opens(victim)).user, (await site.opens(planted)).user) == ("alice", None)
    cookie = attackers.cookie()
    if cookie is not None:
        assert cookie.value != victim
        assert (await site.opens(cookie.value)).user in (None, "bob")


async def test_of_two_changes_of_id_the_first_wins(site: Site) -> None:
    """The request that is stored first gives the session its id; the other one gets no cookie."""
    former = await site.here.visit("/write?cart=tea")
    late = await site.here.begin("/renew?late=1", former)
    winner = (await site.there.ask("/renew?first=1", former)).session_id
    answer = await late.finish()
    assert (answer.status, answer.all("set-cookie")) == (200, [])
    attributes = {"cart": "tea", "first": "1", "late": "1"}
    assert (await site.here.opens(winner)).attributes == attributes


async def test_later_change_of_id_yields_however_often_the_id_was_changed(site: Site) -> None:
    """A change of id that comes after three others leaves the id where they have brought it."""
    former = await site.here.visit()
    late = await site.here.begin("/renew?late=1", former)
    current = former
    for _ in range(3):
        current = (await site.there.ask("/renew", current)).session_id
    assert (await late.finish()).all("set-cookie") == []
    assert (await site.there.opens(current)).attributes == {"cart": "tea", "late": "1"}


async def test_of_many_changes_of_id_at_once_one_wins_and_no_write_is_lost(site: Site) -> None:
    """Six requests change the id at once: one tells the new id, which has what all six wrote."""
    former = await site.here.visit("/write?n=0")
    processes = [site.here, site.there] * 3
    held = [
        await process.begin(f"/renew?n{number}=1", former)
        for number, process in enumerate(processes)
    ]
    answers = await asyncio.gather(*(each.finish() for each in held))
    assert [answer.status for answer in answers] == [200] * 6
    told = [cookie.value for answer in answers if (cookie := answer.cookie()) is not None]
    assert len(told) == 1
    everything = {"n": "0", **{f"n{number}": "1" for number in range(6)}}
    assert (await site.here.opens(told[0])).attributes == everything


async def test_late_renewal_of_a_planted_id_does_not_tell_the_victims_id(site: Site) -> None:
    """An attacker without an account has a planted id renewed while the victim logs in."""
    planted = await site.here.visit()
    attack = await site.here.begin("/renew?cart=bait", planted)
    victim = (await site.there.ask("/enter?user=alice", planted)).session_id
    answer = await attack.finish()
    assert (answer.all("set-cookie"), (await site.there.opens(victim)).user) == ([], "alice")


async def test_refused_login_does_not_tell_the_victims_id(make_site: MakeSite) -> None:
    """An attacker who may not log in once more tries it with a planted id during her login."""
    site = await make_site(concurrency=NO_ROOM)
    await site.here.ask("/enter?user=bob")
    planted = await site.here.visit()
    attack = await site.here.begin("/enter?user=bob", planted)
    victim = (await site.there.ask("/enter?user=alice", planted)).session_id
    answer = await attack.finish()
    assert (answer.status, answer.all("set-cookie")) == (409, [])
    assert (await site.there.opens(victim)).user == "alice"


@for_each("attack", ["/enter?user=bob", "/renew", "/write?cart=bait"])
async def test_thief_of_an_id_does_not_survive_a_change_of_password(
    make_site: MakeSite, attack: str
) -> None:
    """A thief of alice's id holds a request open while she changes her password and her id."""
    site = await make_site(concurrency=NO_ROOM)
    await site.here.ask("/enter?user=bob")
    stolen = (await site.here.ask("/enter?user=alice")).session_id
    held = await site.here.begin(attack, stolen)
    alice = (await site.there.ask("/password", stolen)).session_id
    answer = await held.finish()
    assert (answer.all("set-cookie"), (await site.there.opens(alice)).user) == ([], "alice")
    assert (await site.there.opens(stolen)).user is None


@for_each("path", ["/news", "/look", *LATE_CHANGES, "/password", "/clear"])
async def test_former_id_does_not_tell_the_one_that_replaced_it(site: Site, path: str) -> None:
    """A request that arrives with the planted id after the login learns nothing of the new one."""
    planted = await site.here.visit()
    victim = (await site.here.ask("/enter?user=alice&note=hers", planted)).session_id
    answer = await site.there.ask(path, planted)
    assert answer.status == 200
    assert victim not in f"{answer.messages}"
    await require_safe(site.here, victim, planted, answer)
    assert (await site.here.opens(victim)).attributes == {"cart": "tea", "note": "hers"}


@for_each("attack", [*LATE_CHANGES, "/attempt?user=carol"])
async def test_login_at_any_moment_of_an_attack_is_safe(
    make_native_site: MakeSite, attack: str
) -> None:
    """The victim's whole login comes before any of the store's calls that the attack makes."""
    for number in itertools.count():
        site = await make_native_site(watched=True, concurrency=NO_ROOM)
        elsewhere = site.another()
        await elsewhere.ask("/enter?user=carol")
        planted = await elsewhere.visit()
        held = await site.here.begin(attack, planted)
        answers: list[Answer] = []

        async def victim_logs_in(
            process: Process = elsewhere, planted: str = planted, answers: list[Answer] = answers
        ) -> None:
            answers.append(await process.ask("/enter?user=alice", planted))

        site.here.watch.at(number, victim_logs_in)
        answer = await held.finish()
        site.here.watch.recover()
        if not answers:
            break
        await require_safe(elsewhere, answers[0].session_id, planted, answer)
    assert number > 0, "the attack made no call of the store"


@for_each("attack", [*LATE_CHANGES, "/attempt?user=carol"])
async def test_attack_at_any_moment_of_a_login_is_safe(
    make_native_site: MakeSite, attack: str
) -> None:
    """The attack ends before any of the store's calls that the victim's login makes."""
    for number in itertools.count():
        site = await make_native_site(watched=True, concurrency=NO_ROOM)
        elsewhere = site.another()
        await elsewhere.ask("/enter?user=carol")
        planted = await elsewhere.visit()
        held = await elsewhere.begin(attack, planted)
        login = await site.here.begin("/enter?user=alice", planted)
        site.here.watch.at(number, held.finish)
        answer = await login.finish()
        site.here.watch.recover()
        assert held.connection.task is not None
        attacked = held.connection.task.done()
        attackers = await held.finish()
        assert (answer.status, Picture.of(answer).user) == (200, "alice")
        await require_safe(elsewhere, answer.session_id, planted, attackers)
        assert await elsewhere.count("alice") == 1
        if not attacked:
            break
    assert number > 0, "the login made no call of the store"
