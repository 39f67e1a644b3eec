"""The sessions endpoint: see and end sessions from inside of a running application."""

import logging

from tests.management.conftest import Person, Shop
from tests.support.cases import for_each
from tests.support.types import Log, Patch


def listed(root: Person, name: str = "alice") -> list[dict[str, object]]:
    rows: list[dict[str, object]] = root.json(f"/manage/sessions?principal={name}")["sessions"]
    return rows


def test_the_sessions_of_a_user_are_listed_and_of_nobody_else(shop: Shop, root: Person) -> None:
    phone, _, laptop = (shop.person(name) for name in ("alice", "bob", "alice"))
    rows = listed(root)
    assert [row["handle"] for row in rows] == [shop.handle(phone), shop.handle(laptop)]
    assert {str(row["principal"]) for row in rows} == {"alice"}
    assert all(str(row["logged_in_at"]).endswith("+00:00") for row in rows)
    assert [row["own"] for row in rows] == [False, False]
    assert ([row["own"] for row in listed(root, "root")], listed(root, "carol")) == ([True], [])


def test_looking_at_sessions_is_no_access_to_them(shop: Shop, root: Person) -> None:
    alice = shop.person("alice")
    before = listed(root)
    root.json(f"/manage/sessions/{shop.handle(alice)}?principal=alice")
    assert listed(root) == before


def test_one_session_is_shown_by_types_or_values_without_secrets(shop: Shop, root: Person) -> None:
    alice = shop.person("alice")
    alice.remember("provider", {"id_token": "hunter2", "name": "green"})
    path = f"/manage/sessions/{shop.handle(alice)[:6]}?principal=alice"
    plain = root.json(path)
    assert plain["attributes"] == {"SECURITY_CONTEXT": "SecurityContext", "provider": "dict"}
    values = root.json(f"{path}&values=true")["attributes"]
    assert values["provider"] == {"id_token": "***", "name": "green"}
    assert values["SECURITY_CONTEXT"]["user_id"] == "alice"


def test_a_session_is_found_and_ended_by_an_id_in_a_body(shop: Shop, root: Person) -> None:
    visitor = shop.visitor()
    visitor.remember("cart", [1])
    body = {"id": visitor.session_id}
    found = root.post("/manage/sessions/find", json={**body, "values": True}).json()
    assert (found["principal"], found["attributes"]) == ("", {"cart": [1]})
    assert found["handle"] == shop.handle(visitor)
    ended = root.post("/manage/sessions/end", json=body)
    assert ended.json() == {"ended": 1, "handles": [found["handle"]]}
    again = root.post("/manage/sessions/end", json=body)
    assert again.status_code == 404
    assert str(visitor.session_id) not in again.text


def test_ended_session_is_logged_out_and_others_not(shop: Shop, root: Person, caplog: Log) -> None:
    phone, laptop = shop.person("alice"), shop.person("alice")
    handle = shop.handle(phone)
    with caplog.at_level(logging.INFO, "pyfly_session.audit"):
        ended = root.delete(f"/manage/sessions/{handle}?principal=alice")
    assert ended.json() == {"ended": 1, "handles": [handle]}
    assert caplog.messages == [f"session #{handle} of 'alice' was ended by 'root'"]
    assert (phone.who(), laptop.who()) == ("nobody", "alice")
    assert root.delete(f"/manage/sessions/{handle}?principal=alice").status_code == 404


def test_all_sessions_of_a_user_are_ended(shop: Shop, root: Person) -> None:
    everybody = [shop.person(name) for name in ("alice", "alice", "bob")]
    assert root.delete("/manage/sessions?principal=alice").json() == {"ended": 2}
    assert [each.who() for each in everybody] == ["nobody", "nobody", "bob"]
    assert root.delete("/manage/sessions?principal=alice").json() == {"ended": 0}


def test_operators_can_end_all_of_theirs_but_the_one_in_use(shop: Shop, root: Person) -> None:
    elsewhere = shop.person("root")
    assert root.delete("/manage/sessions?principal=root&keep=own").json() == {"ended": 1}
    assert (elsewhere.who(), root.who()) == ("nobody", "root")
    assert root.delete("/manage/sessions?principal=root").json() == {"ended": 1}
    assert root.who() == "nobody"


def test_a_handle_that_fits_two_ends_neither(memory_shop: Shop, monkeypatch: Patch) -> None:
    root, people = memory_shop.person("root"), [memory_shop.person("alice") for _ in range(2)]
    monkeypatch.setattr("pyfly_session.ids.mask", lambda session_id: f"#abcdef{session_id[:4]}")
    answer = root.delete("/manage/sessions/abcdef?principal=alice")
    assert answer.status_code == 409
    assert "could be any of abcdef" in answer.json()["error"]
    assert [each.who() for each in people] == ["alice", "alice"]


def test_an_id_in_an_address_is_refused_and_not_repeated(shop: Shop, root: Person) -> None:
    alice = shop.person("alice")
    answer = root.get(f"/manage/sessions/{alice.session_id}?principal=alice")
    assert answer.status_code == 400
    assert "an id belongs into a body" in answer.json()["error"]
    assert str(alice.session_id) not in answer.text


def test_ids_are_never_shown_in_full(shop: Shop, root: Person) -> None:
    alice = shop.person("alice")
    handle = shop.handle(alice)
    query = f"principal=alice&handle={handle}"
    answers = [
        root.get("/manage/sessions?principal=alice"),
        root.get(f"/manage/sessions/{handle}?principal=alice&values=true"),
        root.post("/manage/sessions/find", json={"id": alice.session_id, "values": True}),
        root.get("/manage/?principal=alice"),
        root.get(f"/manage/session?{query}&values=true"),
        root.get(f"/manage/confirm?{query}"),
        root.post("/manage/find", data={"id": alice.session_id}),
        root.get("/manage/counts"),
        root.delete(f"/manage/sessions/{handle}?principal=alice"),
    ]
    assert [each.status_code for each in answers] == [200] * 9
    session_id = str(alice.session_id)
    secret = {session_id, shop.container.principal_sessions()._key(session_id)}
    assert not [each.url for each in answers if any(one in each.text for one in secret)]


@for_each(
    ("method", "path", "options", "status", "message"),
    [
        ("GET", "sessions?principal=", {}, 400, "principal is missing"),
        ("GET", "sessions?page=0", {}, 400, "page must be a number from 1"),
        ("GET", "sessions?page=0000000012001", {}, 400, "page must be a number from 1"),
        ("GET", f"sessions?page=000000001{'9' * 5_000}", {}, 400, "page must be a number from 1"),
        ("POST", "sessions/end", {"json": {"sessions": ["x"]}}, 400, "must be a list of objects"),
        ("DELETE", "sessions", {}, 400, "principal is missing"),
        ("DELETE", "sessions?principal=bob&keep=mine", {}, 400, "keep must be own"),
        ("GET", "sessions/abcdef?principal=bob", {}, 404, "bob has no session abcdef"),
        ("GET", "sessions/abc?principal=bob", {}, 400, "4 to 10 hex digits"),
        ("GET", "sessions/abcdef", {}, 400, "principal is missing"),
        ("POST", "sessions/find", {"json": {"id": "abcdef"}}, 404, "needs the name of the user"),
        ("POST", "sessions/find", {"json": {"id": "principal:x"}}, 400, "letters, digits"),
        ("POST", "sessions/find", {"json": {"id": 7}}, 400, "id must be a text"),
        ("POST", "sessions/find", {"json": ["id"]}, 400, "must be a JSON object"),
        ("POST", "sessions/end", {"data": {"id": "x"}}, 415, "must be application/json"),
        ("POST", "sessions/end", {"json": {"id": "x" * 70_000}}, 413, "at most 65536 bytes"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    memory_shop: Shop, method: str, path: str, options: dict[str, object], status: int, message: str
) -> None:
    answer = memory_shop.person("root").ask(method, f"/manage/{path}", **options)
    assert answer.status_code == status
    assert message in answer.json()["error"]


@for_each("body", [b"", b"{", b"[" * 9000, b"\xff\xfe", b'{"id": "\xff"}'])
def test_a_body_that_is_no_json_is_refused(memory_shop: Shop, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    root = memory_shop.person("root")
    assert root.post("/manage/sessions/find", content=body, headers=headers).status_code == 400


def test_session_that_ends_meanwhile_is_not_counted(memory_shop: Shop, monkeypatch: Patch) -> None:
    root, alice = memory_shop.person("root"), memory_shop.person("alice")

    async def too_late(*args: object, **options: object) -> bool:
        return False

    monkeypatch.setattr("pyfly_session.PrincipalSessions.end", too_late)
    answer = root.delete(f"/manage/sessions/{memory_shop.handle(alice)}?principal=alice")
    assert answer.status_code == 404
    assert "has ended by itself" in answer.json()["error"]
