"""Who is let in, and what may not come from a foreign page."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.testclient import TestClient

from pyfly_session.auto_configuration import create_container, enable_sessions
from pyfly_session.management import Management
from tests.management.conftest import OpenShop, Shop
from tests.support.cases import for_each

PATHS = [
    "", "health", "live", "counts", "config", "conditions", "sessions?principal=alice", "session",
]  # fmt: skip


@pytest.mark.parametrize("path", [*PATHS, "nothing", "confirm?principal=alice"])
def test_without_a_guard_nobody_is_let_in(open_shop: OpenShop, path: str) -> None:
    assert open_shop(guard=None).person("root").get(f"/manage/{path}").status_code == 404


def test_log_says_once_how_to_open(open_shop: OpenShop, caplog: pytest.LogCaptureFixture) -> None:
    root = open_shop(guard=None).person("root")
    for _ in range(2):
        root.get("/manage/")
    [line] = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert line.endswith("it has no guard; open it with Management(container, guard=...)")


@for_each("path", [*PATHS, "nothing", "confirm?principal=alice"])
@for_each("name", ["nobody", "alice"])
def test_whom_the_guard_refuses_sees_nothing(memory_shop: Shop, path: str, name: str) -> None:
    person = memory_shop.visitor() if name == "nobody" else memory_shop.person(name)
    answer = person.get(f"/manage/{path}")
    assert (answer.status_code, answer.text) == (403, "Forbidden\n")


def test_whom_the_guard_refuses_ends_nothing(memory_shop: Shop) -> None:
    alice, mallory = memory_shop.person("alice"), memory_shop.person("mallory")
    handle = memory_shop.handle(alice)
    answers = [
        mallory.delete("/manage/sessions?principal=alice"),
        mallory.delete(f"/manage/sessions/{handle}?principal=alice"),
        mallory.post("/manage/sessions/end", json={"id": alice.session_id}),
        mallory.post("/manage/end", data={"principal": "alice", "all": "true"}),
    ]
    assert ([each.status_code for each in answers], alice.who()) == ([403] * 4, "alice")


def test_a_guard_may_be_a_coroutine_function(open_shop: OpenShop) -> None:
    async def guard(request: Request) -> bool:
        return bool(request.headers.get("x-operator") == "yes")

    visitor = open_shop(guard=guard).visitor()
    assert visitor.get("/manage/counts").status_code == 403
    assert visitor.get("/manage/counts", headers={"X-Operator": "yes"}).status_code == 200


@pytest.mark.parametrize("answer", [1, "no", None, object(), [False]])
def test_a_guard_that_answers_neither_true_nor_false_lets_nobody_in(
    open_shop: OpenShop, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    visitor = open_shop(guard=lambda request: answer).visitor()
    assert visitor.get("/manage/counts").status_code == 403
    assert "its guard must answer True or False, got a" in caplog.text


@for_each("excluded", [[], ["/manage/*"]])
def test_a_guard_may_answer_in_its_own_way(open_shop: OpenShop, excluded: list[str]) -> None:
    """Where there is no session, too."""

    def guard(request: Request) -> bool:
        raise HTTPException(401, "Log in first.")

    shop = open_shop(guard=guard, session={"exclude-patterns": excluded})
    answer = shop.visitor().get("/manage/counts")
    assert (answer.status_code, answer.text) == (401, "Log in first.")


def test_a_guard_that_fails_opens_nothing(open_shop: OpenShop) -> None:
    def guard(request: Request) -> bool:
        raise RuntimeError("no directory")

    with pytest.raises(RuntimeError, match="no directory"):
        open_shop(guard=guard).visitor().get("/manage/counts")


def test_a_path_without_a_session_is_forbidden_and_the_log_says_once_why(
    open_shop: OpenShop, caplog: pytest.LogCaptureFixture
) -> None:
    # The guard looks at request.state.session, which is not there.
    shop = open_shop(session={"exclude-patterns": ["/manage/health", "/manage/counts"]})
    root = shop.person("root")
    for path in ("health", "counts", "health"):
        answer = root.get(f"/manage/{path}")
        assert (answer.status_code, answer.text) == (403, "Forbidden\n")
    [line] = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert "its guard failed at /manage/health, where there is no session" in line
    assert "take the path out of pyfly.session.exclude-patterns" in line
    assert "open_health=True" in line
    assert root.get("/manage/config").status_code == 200


@for_each(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_pages_of_other_sites_change_nothing(memory_shop: Shop, headers: dict[str, str]) -> None:
    root, alice = memory_shop.person("root"), memory_shop.person("alice")
    handle = memory_shop.handle(alice)
    form = {"principal": "alice", "handle": handle}
    answers = [
        root.post("/manage/end", data=form, headers=headers),
        root.post("/manage/sessions/end", json={"id": alice.session_id}, headers=headers),
        root.delete("/manage/sessions?principal=alice", headers=headers),
        root.delete(f"/manage/sessions/{handle}?principal=alice", headers=headers),
    ]
    assert ([each.status_code for each in answers], alice.who()) == ([403] * 4, "alice")


@for_each(
    "headers",
    [{}, {"Sec-Fetch-Site": "same-origin", "Origin": "null"}, {"Origin": "http://testserver"}],
)
def test_own_page_and_programs_may_change(memory_shop: Shop, headers: dict[str, str]) -> None:
    root, alice = memory_shop.person("root"), memory_shop.person("alice")
    answer = root.delete("/manage/sessions?principal=alice", headers=headers)
    assert (answer.json(), alice.who()) == ({"ended": 1}, "nobody")


@for_each("path", ["end", "find", "sessions/end", "sessions/find"])
def test_nothing_that_changes_something_is_a_get(memory_shop: Shop, path: str) -> None:
    answer = memory_shop.person("root").get(f"/manage/{path}?principal=root&all=true&id=x")
    assert answer.status_code in (400, 405)


@pytest.mark.parametrize("path", ["", "counts", "sessions", "confirm?principal=alice"])
@pytest.mark.parametrize("name", ["root", "alice"])
def test_answers_are_neither_kept_nor_framed(memory_shop: Shop, path: str, name: str) -> None:
    headers = memory_shop.person(name).get(f"/manage/{path}").headers
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "same-origin")
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_it_is_mounted_in_an_application_whose_sessions_are_enabled_already() -> None:
    app = enable_sessions(FastAPI(), config={"pyfly": {"session": {"enabled": True}}})
    management = Management(app.state.session_container, guard=lambda request: True)
    app.mount("/manage", management)
    with TestClient(app) as client:
        assert client.get("/manage").url.path == "/manage/"
        assert client.get("/manage/sessions?visitors=true").json()["total"] == 1
        assert client.get("/manage/nothing").status_code == 404
        assert client.get("/manage/end").status_code == 405


def test_it_works_without_sessions_around_it() -> None:
    container = create_container({"pyfly": {"session": {"enabled": True}}})
    with TestClient(Management(container, guard=lambda request: True)) as client:
        assert client.get("/sessions").json()["total"] == 0
        assert client.delete("/sessions?principal=alice").json() == {"ended": 0}
        refused = client.delete("/sessions?principal=alice&keep=own")
        assert refused.status_code == 409
        assert "no session of yours to keep" in refused.json()["error"]
        assert client.get("/").status_code == 200
