"""`HttpSession`: what a request sees of a session, and which changes it notices."""

import dataclasses
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pyfly_session import (
    HttpSession,
    ReservedAttributeError,
    SessionCodec,
    SessionEncodingError,
    SessionInvalidatedError,
    SessionReadOnlyError,
)
from pyfly_session.core.attributes import IMMUTABLE, REMOVED
from pyfly_session.core.change import Change, Stored
from pyfly_session.core.codec import Raw
from pyfly_session.core.metadata import RESERVED_NAMES
from pyfly_session.errors import SessionDecodingError
from tests.support.cases import for_each
from tests.support.types import Log

NOW = 1_800_000_000.0


@dataclasses.dataclass
class Basket:
    items: list[str]
    limit: dataclasses.InitVar[int] = 3

    def __post_init__(self, limit: int) -> None:
        if len(self.items) > limit:
            raise ValueError("too many")


CODEC = SessionCodec(types=[Basket])


def stored(**attributes: Any) -> HttpSession:
    """Return a session as a request loads it."""
    payload = CODEC.dumps({"_created_at": NOW - 60, "_last_accessed": NOW - 5, **attributes})
    return HttpSession.restore(Stored("0" * 32, payload), CODEC, NOW)


def changes(session: HttpSession) -> dict[str, bytes | None]:
    """Return what a commit would write now, but for the times that go with every write."""
    change = session.change(NOW)
    written: dict[str, Any] = {**change.metadata, **change.delta}
    return {
        name: None if part is REMOVED else CODEC.write(name, part)
        for name, part in written.items()
        if name not in ("_last_accessed", "_version") and (name != "_created_at" or session.stored)
    }


def settle(session: HttpSession) -> dict[str, bytes | None]:
    """Commit a session without a store, and return what would have been written."""
    written, change = changes(session), session.change(NOW)
    commit(session, change)
    return written


def commit(session: HttpSession, change: Change) -> None:
    """Take note that a store without other writers holds the change."""
    before = {} if session.stored is None else session.stored.taken_apart(CODEC)
    payload = CODEC.join(change.applied_to(before, CODEC))
    session.committed(Stored(session.id, payload), change)


# What it tells


def test_a_created_session_is_new_empty_and_modified() -> None:
    session = HttpSession.create(CODEC, NOW)

    assert session.is_new
    assert session.modified
    assert not session.stored
    assert not session.invalidated
    assert session.get_attribute_names() == []
    assert session.created_at == session.last_accessed == NOW


def test_a_restored_session_is_neither_new_nor_modified() -> None:
    session = stored(user="alice")

    assert session.id == "0" * 32
    assert not session.is_new
    assert not session.modified
    assert session.stored
    assert (session.created_at, session.last_accessed) == (NOW - 60, NOW)
    assert session.get_attribute("user") == "alice"


def test_a_session_can_be_made_of_a_dictionary_as_the_original_does() -> None:
    session = HttpSession("abc", {"_created_at": 1.5, "_last_accessed": 2.5, "user": "alice"})

    assert (session.id, session.created_at) == ("abc", 1.5)
    assert (session.get_attribute("user"), session.get_attribute_names()) == ("alice", ["user"])
    assert not session.is_new
    assert not session.modified


def test_a_session_made_of_nothing_was_created_now() -> None:
    before = time.time()

    session = HttpSession("abc", is_new=True)

    assert before <= session.created_at <= time.time()
    assert session.modified


def test_a_new_session_made_of_a_dictionary_wants_all_of_it_stored() -> None:
    session = HttpSession("abc", {"user": "alice"}, is_new=True)

    assert changes(session)["user"] == b'"alice"'


def test_the_dictionary_that_a_session_was_made_of_does_not_follow_it() -> None:
    data: dict[str, Any] = {"user": "alice"}
    session = HttpSession("abc", data)

    session.set_attribute("user", "bob")
    session.set_attribute("more", 1)

    assert data == {"user": "alice"}


def test_the_representation_masks_the_id_and_shows_no_attribute() -> None:
    session = stored(secret="hunter2")
    shown = {repr(session)}
    session.invalidate()
    shown.add(repr(session))
    shown.add(repr(HttpSession.create(CODEC, NOW)))

    assert len(shown) == 3
    assert not any("hunter2" in text or "000000" in text for text in shown)


def test_looking_at_a_session_is_noticed() -> None:
    looks: list[Callable[[HttpSession], object]] = [
        lambda session: session.id, lambda session: session.is_new,
        lambda session: session.created_at, lambda session: session.last_accessed,
        lambda session: session.get_attribute("x"), lambda session: session.has_attribute("x"),
        lambda session: session.get_attribute_names(), lambda session: session.attribute_names(),
        lambda session: session.set_attribute("x", 1), lambda session: session.get_data(),
    ]  # fmt: skip
    for look in looks:
        session = stored()
        assert not session.accessed
        look(session)
        assert session.accessed


# Attributes


def test_an_attribute_can_be_none_and_still_be_there() -> None:
    session = stored(nothing=None)

    assert session.has_attribute("nothing")
    assert not session.has_attribute("nobody")
    assert session.get_attribute_names() == ["nothing"]


@for_each("name", ["", "a\x00b", "ключ", "\ud800", "__proto__", "a.b", "x" * 10_000])
def test_any_text_can_name_an_attribute(name: str) -> None:
    session = HttpSession.create(CODEC, NOW)
    session.set_attribute(name, "value")

    payload = CODEC.join({key: Raw(part) for key, part in changes(session).items() if part})

    assert CODEC.loads(payload) == {name: "value"}


@for_each("name", [None, 1, 1.5, b"bytes", ("a",), True])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    session = stored()

    with pytest.raises(TypeError, match="must be str"):
        session.set_attribute(name, 1)
    with pytest.raises(TypeError, match="must be str"):
        session.remove_attribute(name)
    with pytest.raises(TypeError, match="must be str"):
        session.update_attribute(name, lambda value: 1)
    assert not session.modified


@for_each("name", sorted(RESERVED_NAMES))
def test_metadata_cannot_be_forged_through_the_attributes(name: str) -> None:
    session = stored()

    with pytest.raises(ReservedAttributeError, match=name) as caught:
        session.set_attribute(name, "x")
    with pytest.raises(ReservedAttributeError):
        session.remove_attribute(name)
    others: list[Callable[[], object]] = [
        lambda: session.update_attribute(name, lambda value: 1),
        lambda: session.__setitem__(name, "x"), lambda: session.setdefault(name, "x"),
    ]  # fmt: skip
    for write in others:
        with pytest.raises(ReservedAttributeError):
            write()

    assert (caught.value.name, session.created_at) == (name, NOW - 60)
    assert not session.modified


def test_metadata_can_be_read_like_an_attribute_but_is_not_listed() -> None:
    session = stored(user="alice")

    assert session.get_attribute("_created_at") == NOW - 60
    assert session.get_attribute("_last_accessed") == NOW
    assert session.get_attribute("_max_inactive_interval") is None
    assert session.attribute_names() == ["user"]
    assert not session.has_attribute("_created_at")


def test_names_with_an_underscore_are_internal_but_kept() -> None:
    session = stored(_state_google="s", user="alice")

    assert session.get_attribute_names() == ["user"]
    assert session.attribute_names() == ["_state_google", "user"]
    assert session.get_attribute("_state_google") == "s"


def test_set_and_remove_are_modifications_but_reading_is_not() -> None:
    session = stored(user="alice", cart=[1])

    session.get_attribute("user")
    session.get_attribute("cart")
    session.get_data()
    session.remove_attribute("nobody")
    assert not session.modified

    session.remove_attribute("user")
    assert session.modified
    assert (session.get_attribute("user"), session.get_attribute_names()) == (None, ["cart"])


def test_an_attribute_set_and_removed_in_one_request_is_not_there() -> None:
    session = stored()
    session.set_attribute("flash", "hi")
    session.remove_attribute("flash")

    assert session.get_attribute("flash") is None
    assert settle(session) == {"flash": None}
    assert not session.has_attribute("flash")


def test_clear_then_set_leaves_only_what_was_set() -> None:
    session = stored(a=1, _b=2, c=[3])
    session.get_attribute("c")

    session.clear()
    session.set_attribute("a", 9)

    assert session.attribute_names() == ["a"]
    assert settle(session) == {"a": b"9", "_b": None, "c": None}
    assert session.created_at == NOW - 60


# Changes in place


def test_a_change_in_place_that_is_taken_back_is_none() -> None:
    session = stored(cart=[1])
    cart = session.get_attribute("cart")
    cart.append(2)
    cart.pop()

    assert not session.modified
    assert changes(session) == {}


def test_a_value_that_was_set_can_be_changed_in_place_after_the_commit() -> None:
    session = stored()
    cart = [1]
    session.set_attribute("cart", cart)
    settle(session)
    assert not session.pending

    cart.append(2)

    assert session.pending
    assert settle(session) == {"cart": b"[1,2]"}
    assert settle(session) == {}


def test_one_list_under_two_names_is_two_attributes() -> None:
    session = stored()
    shared = [1]
    session.set_attribute("a", shared)
    session.set_attribute("b", shared)
    settle(session)

    shared.append(2)
    assert settle(session) == {"a": b"[1,2]", "b": b"[1,2]"}

    session.remove_attribute("a")
    shared.append(3)
    assert settle(session) == {"a": None, "b": b"[1,2,3]"}


def test_a_replaced_value_that_changes_in_place_changes_nothing() -> None:
    session = stored(cart=[1])
    former = session.get_attribute("cart")
    session.set_attribute("cart", [9])
    former.append(2)

    assert settle(session) == {"cart": b"[9]"}


def test_a_change_inside_of_a_tuple_is_noticed() -> None:
    session = stored()
    inner: list[int] = []
    session.set_attribute("pair", (inner,))
    settle(session)

    inner.append(1)

    assert settle(session) == {"pair": b"[[1]]"}


def test_a_change_of_get_data_itself_changes_nothing_but_one_of_its_values_does() -> None:
    session = stored(cart=[1], user="alice")
    data = session.get_data()

    data["user"] = "mallory"
    data["_created_at"] = 0
    del data["cart"]
    assert not session.modified
    assert (session.get_attribute("user"), session.created_at) == ("alice", NOW - 60)

    session.get_data()["cart"].append(2)
    assert settle(session) == {"cart": b"[1,2]"}


def test_get_data_is_attributes_and_metadata() -> None:
    session = stored(user="alice", cart=[1])

    assert session.get_data() == {
        "_created_at": NOW - 60, "_last_accessed": NOW, "user": "alice", "cart": [1],
    }  # fmt: skip


def test_a_change_in_place_is_noticed_in_a_session_made_of_a_dictionary() -> None:
    session = HttpSession("abc", {"_created_at": NOW, "cart": [1], "user": "alice"})
    session.get_attribute("user")
    assert not session.modified

    session.get_attribute("cart").append(2)

    assert session.modified
    assert changes(session) == {"cart": b"[1,2]"}


def test_a_value_without_a_stored_form_in_a_given_dictionary_is_reported_when_used() -> None:
    session = HttpSession("abc", {"broken": [object()]})
    session.get_attribute("broken")

    with pytest.raises(SessionEncodingError, match="broken"):
        changes(session)


def test_foreign_formatting_is_not_a_change() -> None:
    values = {"cart": {"b": [1.0, 100000.0, "\u00e9"], "a": {}}, "user": "alice"}
    payload = json.dumps({"_created_at": NOW, **values}, indent=2).encode()
    session = HttpSession.restore(Stored("abc", payload), CODEC, NOW)

    assert {name: session.get_attribute(name) for name in values} == values
    assert not session.modified
    assert changes(session) == {}

    session.get_attribute("cart")["a"]["x"] = 1
    assert list(changes(session)) == ["cart"]


@for_each(
    "value",
    [
        "text", 7, 2**100, 1.5, True, None, b"\x00\xff", datetime(2026, 11, 23, tzinfo=UTC),
        Decimal("1.10"), uuid.UUID(int=7), {"a": [1, {"b": None}]}, [], {1, 2, 3}, frozenset({"x"}),
        [float("nan")], {"__pyfly_type__": "set", "value": [1]},
    ],
)  # fmt: skip
def test_a_value_that_was_only_read_is_not_written(value: Any) -> None:
    session = stored(value=value)

    assert repr(session.get_attribute("value")) == repr(value)
    again = session.get_attribute("value")
    # What can be changed in place is one object for all who read it.
    assert session.get_attribute("value") is again or type(value) in IMMUTABLE
    assert not session.modified
    assert changes(session) == {}


def test_a_value_that_breaks_its_own_class_when_changed_in_place_is_still_noticed() -> None:
    """The former value cannot be rebuilt any more, for a comparison."""
    session = stored()
    basket = Basket(["a"])
    session.set_attribute("basket", basket)
    basket.items.extend("bcd")
    settle(session)

    basket.items.pop()

    assert list(settle(session)) == ["basket"]


def test_an_attribute_that_cannot_be_rebuilt_is_absent_and_logged(caplog: Log) -> None:
    payload = b'{"_created_at":1,"when":{"__pyfly_type__":"datetime","value":"soon"},"user":"a"}'
    session = HttpSession.restore(Stored("abc", payload), CODEC, NOW)

    assert (session.get_attribute("when"), session.get_attribute("user")) == (None, "a")
    assert "'when'" in caplog.text
    assert "abc" not in caplog.text
    assert changes(session) == {}

    session.remove_attribute("when")
    assert changes(session) == {"when": None}


# Commits


def test_a_second_commit_with_nothing_changed_writes_nothing() -> None:
    session = stored(cart=[1])
    session.get_attribute("cart").append(2)
    session.set_attribute("user", "alice")
    session.set_max_inactive_interval(60)

    assert set(settle(session)) == {"cart", "user", *OWN_LIFE}
    assert settle(session) == {}
    assert not session.pending


def test_a_value_that_cannot_be_stored_is_named_and_can_be_corrected() -> None:
    session = stored()
    session.set_attribute("fine", 1)
    session.set_attribute("order", {"lines": [object()]})

    with pytest.raises(SessionEncodingError) as caught:
        changes(session)
    assert (caught.value.attribute, caught.value.path) == ("order", "['lines'][0]")
    assert caught.value.type_name == "object"

    session.set_attribute("order", None)
    assert settle(session) == {"fine": b"1", "order": b"null"}


def test_what_is_set_while_a_commit_is_under_way_is_left_for_the_next() -> None:
    session = stored(old="x", gone="x")
    session.set_attribute("a", 1)
    session.set_attribute("b", 1)
    session.set_attribute("c", 1)
    session.remove_attribute("gone")
    change = session.change(NOW)

    session.set_attribute("a", 2)
    session.remove_attribute("b")
    session.set_attribute("d", 4)
    session.remove_attribute("old")
    session.set_attribute("gone", "back")
    session.set_max_inactive_interval(60)
    commit(session, change)

    assert session.pending
    assert {name: session.get_attribute(name) for name in "abcd"} == {
        "a": 2, "b": None, "c": 1, "d": 4,
    }  # fmt: skip
    assert settle(session) == {
        "a": b"2", "b": None, "d": b"4", "old": None, "gone": b'"back"', **OWN_LIFE,
        "_max_inactive_interval": b"60",
    }  # fmt: skip
    assert settle(session) == {}


# Change of id


def test_rotate_id_changes_the_id_and_keeps_the_data() -> None:
    session = stored(user="alice")

    session.rotate_id()

    assert session.id != "0" * 32
    assert (session.previous_id, session.get_attribute("user")) == ("0" * 32, "alice")
    assert session.modified
    assert session.rotated
    assert session.pending
    assert changes(session) == {}


def test_rotating_twice_gives_two_ids_and_the_store_still_has_the_first() -> None:
    session = stored()
    session.rotate_id()
    between = session.id
    session.rotate_id()

    assert (session.previous_id, len({"0" * 32, between, session.id})) == (between, 3)
    assert session.rotated


def test_a_new_session_that_rotates_has_nothing_to_move() -> None:
    session = HttpSession.create(CODEC, NOW)
    session.rotate_id()

    assert not session.rotated


# The end


def test_an_invalidated_session_neither_answers_nor_accepts() -> None:
    session = stored(user="alice")
    session.invalidate()

    assert session.invalidated
    assert session.modified
    uses: list[Callable[[], object]] = [
        lambda: session.get_attribute("user"), lambda: session.set_attribute("user", "bob"),
        lambda: session.remove_attribute("user"), lambda: session.has_attribute("user"),
        session.get_attribute_names, session.attribute_names, session.get_data, session.clear,
        session.rotate_id, lambda: session.set_max_inactive_interval(5), lambda: session["user"],
        lambda: "user" in session, lambda: session.pop("user", None), lambda: len(session),
        lambda: session.update(user="bob"), lambda: list(session),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(SessionInvalidatedError, match="rotate_id"):
            use()


def test_an_invalidated_session_still_says_who_it_was() -> None:
    session = stored()
    session.invalidate()

    assert (session.id, session.created_at) == ("0" * 32, NOW - 60)
    assert not session.is_new


def test_invalidating_twice_is_invalidating_once() -> None:
    session = stored(user="alice")
    session.set_attribute("x", [1])
    session.invalidate()
    session.invalidate()

    assert session.pending
    assert changes(session) == {}


def test_invalidating_a_session_that_was_never_stored_leaves_nothing_to_do() -> None:
    session = HttpSession.create(CODEC, NOW)
    session.set_attribute("user", "alice")
    session.invalidate()

    assert not session.pending


# What the head's departure forbids


def test_a_sealed_session_refuses_with_the_given_words() -> None:
    session = stored(user="alice")
    session.write_refusal = "too late to write"
    session.rotation_refusal = "too late to rotate"

    writes: list[Callable[[], object]] = [
        lambda: session.set_attribute("user", "bob"), lambda: session.remove_attribute("user"),
        session.clear, session.rotate_id, lambda: session.set_max_inactive_interval(None),
    ]  # fmt: skip
    for write in writes:
        with pytest.raises(SessionReadOnlyError, match="too late to write"):
            write()
    assert session.get_attribute("user") == "alice"
    assert not session.modified


def test_a_session_sealed_against_rotation_can_be_written() -> None:
    session = stored()
    session.rotation_refusal = "too late to rotate"
    session.set_attribute("x", 1)

    with pytest.raises(SessionReadOnlyError, match="too late to rotate"):
        session.rotate_id()
    assert session.id == "0" * 32


# Metadata


OWN_LIFE = dict.fromkeys(("_max_inactive_interval", "_ends_at", "_cookie_persistent", "_anonymous"))


def test_a_session_can_have_an_idle_time_of_its_own_and_give_it_back() -> None:
    session = stored()
    session.set_max_inactive_interval(60)
    assert session.max_inactive_interval == 60
    assert settle(session) == {**OWN_LIFE, "_max_inactive_interval": b"60"}

    session.set_max_inactive_interval(None)
    assert session.max_inactive_interval is None
    assert settle(session) == OWN_LIFE


@for_each(
    "seconds", [0, -1, True, False, 1.0, 1.5, float("nan"), float("inf"), "60", 2**31, 10**30, []]
)
def test_an_idle_time_is_a_whole_number_of_seconds(seconds: Any) -> None:
    session = stored()

    with pytest.raises(ValueError, match="whole number of seconds"):
        session.set_max_inactive_interval(seconds)
    assert not session.modified


@for_each(
    ("name", "value"),
    [
        ("_created_at", "yesterday"), ("_created_at", None), ("_created_at", True),
        ("_created_at", float("nan")), ("_created_at", float("inf")), ("_created_at", 10**400),
        ("_created_at", [1.0]), ("_last_accessed", {}), ("_authenticated_at", "now"),
        ("_max_inactive_interval", 0), ("_max_inactive_interval", 1.5),
        ("_max_inactive_interval", True), ("_max_inactive_interval", 10**30), ("_principal", 7),
        ("_principal", ["alice"]),
    ],
)  # fmt: skip
def test_a_stored_session_with_impossible_metadata_is_not_a_session(name: str, value: Any) -> None:
    payload = json.dumps({"_created_at": NOW, name: value}).encode()

    with pytest.raises(SessionDecodingError):
        HttpSession.restore(Stored("abc", payload), CODEC, NOW)


def test_a_stored_session_without_a_creation_time_gets_one_with_the_next_commit() -> None:
    session = HttpSession.restore(Stored("abc", b'{"user":"alice"}'), CODEC, NOW)

    assert session.created_at == NOW
    assert session.pending
    assert settle(session) == {"_created_at": b"1800000000.0"}


# Values that a picture of them must tell apart, though Python calls some of them equal.
CLOSE = [
    0, 1, True, False, 1.0, 0.0, -0.0, None, "", "1", [], {}, [1], [True], {"a": 1}, {"a": 1.0},
]  # fmt: skip


@for_each("before", CLOSE)
def test_a_change_in_place_is_found_by_what_is_stored_of_it(before: Any) -> None:
    codec = SessionCodec()
    for after in CLOSE:
        session = stored(box=[before])
        session.get_attribute("box")[0] = after
        told = codec.encode("box", [before]) != codec.encode("box", [after])
        assert settle(session) == ({"box": codec.encode("box", [after])} if told else {})
        # And once more, from what was stored then.
        session.get_attribute("box").append(2)
        assert settle(session) == {"box": codec.encode("box", [after, 2])}
        assert settle(session) == {}


def test_the_order_of_a_dictionary_is_a_change() -> None:
    session = stored(box={"a": 1, "b": 2})
    box = session.get_attribute("box")
    box["a"] = box.pop("a")
    assert settle(session) == {"box": b'{"b":2,"a":1}'}


def test_what_holds_itself_is_named_when_it_is_to_be_stored() -> None:
    session = stored(box=[1])
    session.get_attribute("box").append(session.get_attribute("box"))
    with pytest.raises(SessionEncodingError, match="box"):
        changes(session)


def test_what_holds_itself_in_many_places_is_named_as_quickly() -> None:
    session = stored(menu={"children": []})
    menu = session.get_attribute("menu")
    menu["children"] += [{"parent": menu}, {"parent": menu}, menu["children"]]
    with pytest.raises(SessionEncodingError, match="menu"):
        assert session.modified
    with pytest.raises(SessionEncodingError, match="menu"):
        changes(session)


@for_each("after", [bytearray(b"xy"), memoryview(b"xy"), b"xz", (b"xy",)])
def test_bytes_are_no_other_buffer(after: Any) -> None:
    session = stored(box=[b"xy"])
    session.get_attribute("box")[0] = after
    codec = SessionCodec()
    try:
        expected: Any = {"box": codec.encode("box", [after])}
    except SessionEncodingError:
        with pytest.raises(SessionEncodingError):
            changes(session)
        return
    assert settle(session) == expected
