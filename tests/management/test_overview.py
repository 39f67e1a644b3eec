"""The overview: who is logged in and which sessions there are, to pick from and to end."""

import asyncio
import html
import logging
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from starlette.requests import Request

from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.errors import SessionStoreUnavailableError
from pyfly_session.management.operations import PAGE_SIZE
from pyfly_session.ports import Scanned
from tests.broken.sound import SoundStore
from tests.conftest import Clock
from tests.management.conftest import OpenShop, Person, Shop
from tests.management.test_pages import forms, link
from tests.support.types import Log, Patch

BROWSER = {"User-Agent": "Netscape/4.0 <b>"}


def overview(root: Person, query: str = "") -> dict[str, Any]:
    told: dict[str, Any] = root.json(f"/manage/sessions?{query}")
    return told


def names(told: dict[str, Any]) -> list[str]:
    return [each["principal"] for each in told["sessions"]]


def test_users_are_listed_by_the_front_of_their_names_and_counted(shop: Shop, root: Person) -> None:
    people = [shop.person(name) for name in ("anna", "alice", "alice", "bob")]
    shop.visitor().remember("cart", [1])
    told = overview(root)
    assert sorted(names(told)) == ["alice", "alice", "anna", "bob", "root"]
    assert (told["total"], told["logged_in"], told["complete"]) == (6, 5, True)
    assert sorted(names(overview(root, "prefix=al"))) == ["alice", "alice"]
    assert sorted(names(overview(root, "visitors=true"))) == ["", *sorted(names(told))]
    assert names(overview(root, "prefix=x")) == []
    assert {each["handle"] for each in told["sessions"]} >= {*map(shop.handle, people)}
    assert not [each for each in people if str(each.session_id) in str(told)]


def test_the_session_that_was_used_last_is_the_first(open_shop: OpenShop) -> None:
    shop, clock = open_shop(), Clock()
    shop.container.clock.override(clock)
    people = {}
    for name in ("anna", "bob", "carl", "root"):
        people[name] = shop.person(name)
        clock.advance(60)
    # To look around is to use it, though nothing is written.
    people["bob"].who()
    clock.advance(60)
    told = overview(people["root"])
    assert names(told) == ["root", "bob", "carl", "anna"]
    _, bob, *_ = told["sessions"]
    assert bob["last_used"] > bob["last_accessed"]
    assert bob["ends_at"] > bob["last_used"]
    assert int(bob["size"]) > 100
    assert (bob["login"], bob["address"], bob["browser"]) == ("form", "", "")


def test_a_page_has_so_many_and_the_next_one_the_rest(memory_shop: Shop) -> None:
    root = memory_shop.person("root")
    for number in range(PAGE_SIZE + 3):
        memory_shop.person(f"user{number}")
    first, second = overview(root, "prefix=user"), overview(root, "prefix=user&page=2")
    assert (len(first["sessions"]), first["pages"]) == (PAGE_SIZE, 2)
    assert len({*names(first), *names(second)}) == PAGE_SIZE + 3
    page = root.get(link(root.get("/manage/?prefix=user").text, "Next page")).text
    assert page.count('name="pick"') == 3


@pytest.mark.parametrize("kept", [False, True])
def test_address_and_browser_are_kept_only_if_allowed(open_shop: OpenShop, kept: bool) -> None:
    shop = open_shop(session={"keep-client": kept})
    root, alice = shop.person("root"), shop.visitor()
    alice.get("/in", params={"name": "alice"}, headers=BROWSER)
    [told] = overview(root, "prefix=alice")["sessions"]
    expected = ("testclient", BROWSER["User-Agent"]) if kept else ("", "")
    assert (told["address"], told["browser"]) == expected
    for path in (
        "?prefix=alice",
        "?principal=alice",
        f"session?principal=alice&handle={told['handle']}",
    ):
        assert ("Netscape/4.0 &lt;b&gt;" in root.get(f"/manage/{path}").text) is kept


def test_several_are_picked_confirmed_and_ended(shop: Shop, root: Person, caplog: Log) -> None:
    anna, bob, carl = (shop.person(name) for name in ("anna with a blank", "bob", "carl"))
    page = root.get("/manage/").text
    picked = [
        html.unescape(each)
        for each in re.findall(r'name="pick" value="([^"]*)"', page)
        if not each.endswith((" carl", " root"))
    ]
    question = root.post("/manage/confirm", data={"pick": picked}).text
    assert "End these 2 sessions?" in question
    assert (anna.who(), bob.who()) == ("anna with a blank", "bob")
    assert [action for action, _ in forms(question)] == ["end"]
    with caplog.at_level(logging.INFO, "pyfly_session.audit"):
        result = root.post("/manage/end", data={"pick": picked})
    assert "2 sessions were ended." in result.text
    assert sorted(caplog.messages) == sorted(
        f"session #{shop.handle(each)} of {name!r} was ended by 'root'"
        for each, name in ((anna, "anna with a blank"), (bob, "bob"))
    )
    assert (anna.who(), bob.who(), carl.who()) == ("nobody", "nobody", "carl")
    assert root.post("/manage/confirm", data={"prefix": ""}).status_code == 400


def test_a_program_ends_several(shop: Shop, root: Person) -> None:
    anna, bob = shop.person("anna"), shop.person("bob")
    body = [
        {"principal": name, "handle": shop.handle(each)}
        for each, name in ((anna, "anna"), (bob, "bob"))
    ]
    ended = root.post("/manage/sessions/end", json={"sessions": [*body, body[0]]}).json()
    assert ended == {"ended": 2, "handles": [each["handle"] for each in body]}
    assert (anna.who(), bob.who()) == ("nobody", "nobody")


def test_store_that_cannot_list_finds_one_user(open_shop: OpenShop, clock: Clock) -> None:
    shop = open_shop()
    shop.container.session_store.override(SoundStore(clock))
    root, _ = shop.person("root"), shop.person("alice")
    answer = root.get("/manage/sessions")
    assert answer.status_code == 501
    assert "SoundStore cannot list its sessions" in answer.json()["error"]
    page = root.get("/manage/").text
    assert "SoundStore cannot list its sessions" in page
    assert 'name="principal"' in page
    assert "<b>alice</b> has 1 session" in root.get("/manage/?principal=alice").text


def test_what_takes_too_long_is_told_so_far(memory_shop: Shop, monkeypatch: Patch) -> None:
    root = memory_shop.person("root")
    whole = InMemorySessionStore.scan_sessions

    async def halting(self: InMemorySessionStore) -> AsyncIterator[Sequence[Scanned]]:
        async for step in whole(self):
            yield step
        await asyncio.Event().wait()

    monkeypatch.setattr(InMemorySessionStore, "scan_sessions", halting)
    told = overview(root)
    assert (told["complete"], told["total"], names(told)) == (False, 1, ["root"])
    page = root.get("/manage/").text
    assert "Only the first 1 sessions were looked at" in page
    monkeypatch.setattr(InMemorySessionStore, "scan_sessions", whole)
    assert "were looked at" not in root.get(link(page, "Look at all of them")).text


def by_password(request: Request) -> bool:
    request.state.operator = "anna of operations"
    return request.headers.get("Authorization") == "Bearer hunter2"


def test_page_works_with_store_down(open_shop: OpenShop, monkeypatch: Patch, caplog: Log) -> None:
    shop = open_shop(session={"exclude-patterns": ["/manage/*"]}, guard=by_password)
    key = {"Authorization": "Bearer hunter2"}
    alice, operator = shop.person("alice"), shop.visitor()
    with caplog.at_level(logging.INFO, "pyfly_session.audit"):
        operator.delete("/manage/sessions?principal=alice", headers=key)
    assert caplog.messages == ["1 sessions of 'alice' were ended by 'anna of operations'"]
    assert alice.who() == "nobody"

    async def fail(*args: Any) -> Any:
        raise SessionStoreUnavailableError("the session store was not reached", operation="x")

    async def fail_to_scan(*args: Any) -> Any:
        await fail()
        yield []

    for verb in ("get", "delete", "load_and_slide"):
        monkeypatch.setattr(f"pyfly_session.adapters.memory.InMemorySessionStore.{verb}", fail)
    scan = "pyfly_session.adapters.memory.InMemorySessionStore.scan_sessions"
    monkeypatch.setattr(scan, fail_to_scan)
    answer = operator.get("/manage/", headers=key)
    assert answer.status_code == 200
    page = answer.text.replace("<wbr>", "")
    assert '<b aria-live="polite">DOWN</b>' in page
    assert "The list is not complete: the session store was not reached" in page
    assert "<code>pyfly.session.ttl</code>" in page
    assert "<code>session_store</code>" in page
    assert operator.get("/manage/sessions", headers=key).status_code == 503
    assert operator.get("/manage/").status_code == 403
