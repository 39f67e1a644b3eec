"""``request.session`` does what a dictionary does, and the next request finds what was done."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pyfly_session import HttpSession, ReservedAttributeError
from pyfly_session.web import SessionMapping
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Browser, ask

KNOWN = "a" * 32
STORED: dict[str, Any] = {"user": "alice", "cart": ["lamp"], "visits": 3, "_flash": None}

Step = Callable[[dict[str, Any]], Any]


def change_in_place(session: dict[str, Any]) -> None:
    session["cart"].append("rope")


def nested(session: dict[str, Any]) -> None:
    session.setdefault("deep", {"a": [{}]})["a"][0]["b"] = 1


def delete(session: dict[str, Any]) -> None:
    del session["user"]


def delete_absent(session: dict[str, Any]) -> None:
    del session["none"]


def merge_in_place(session: dict[str, Any]) -> None:
    session |= {"visits": 4, "new": True}


def merge_pairs_in_place(session: dict[str, Any]) -> None:
    session |= [("visits", 4)]


def unpack(session: dict[str, Any]) -> Any:
    def take(**names: Any) -> Any:
        return names

    return take(**session)


def match(session: dict[str, Any]) -> Any:
    match session:
        case {"user": str(user), **rest}:
            return user, rest


def set_twice(session: dict[str, Any]) -> None:
    session["a"] = 1
    session["a"] = 2


def delete_and_set(session: dict[str, Any]) -> None:
    del session["user"]
    session["user"] = "bob"


def clear_and_dump(session: dict[str, Any]) -> str:
    session.clear()
    return json.dumps(session)


STEPS: dict[str, Step] = {
    "item": lambda s: s["user"],
    "absent item": lambda s: s["none"],
    "get": lambda s: (s.get("user"), s.get("none"), s.get("none", 7), s.get("_flash", 7)),
    "set": set_twice,
    "delete": delete,
    "delete absent": delete_absent,
    "delete and set": delete_and_set,
    "setdefault absent": lambda s: s.setdefault("list", []).append(1),
    "setdefault present": lambda s: s.setdefault("user", "bob"),
    "setdefault None": lambda s: s.setdefault("nothing"),
    "pop": lambda s: s.pop("user"),
    "pop absent": lambda s: s.pop("none"),
    "pop with default": lambda s: (s.pop("user", 1), s.pop("none", 1), s.pop("none", None)),
    "popitem": lambda s: s.popitem(),
    "popitem until empty": lambda s: [s.popitem() for _ in range(5)],
    "update with mapping": lambda s: s.update({"user": "bob", "n": 1}),
    "update with pairs": lambda s: s.update([("user", "bob")]),
    "update with names": lambda s: s.update(user="bob"),
    "update with both": lambda s: s.update({"a": 1}, b=2),
    "update with nothing": lambda s: s.update(),
    "clear": lambda s: s.clear(),
    "merge in place": merge_in_place,
    "merge pairs in place": merge_pairs_in_place,
    "merge": lambda s: s | {"user": "bob"},
    "merge into": lambda s: {"user": "bob", "first": 1} | s,
    "in": lambda s: ("user" in s, "none" in s, "_flash" in s, None in s),
    "len": lambda s: (len(s), bool(s)),
    "iteration": lambda s: list(s),
    "iteration after reading": lambda s: (s["visits"], s["cart"], list(s)),
    "iteration backwards": lambda s: list(reversed(s)),
    "keys": lambda s: (list(s.keys()), s.keys() & {"user", "x"}, "user" in s.keys()),  # noqa: SIM118
    "values": lambda s: list(s.values()),
    "items": lambda s: (list(s.items()), ("user", "alice") in s.items()),
    "pop while iterating over a list": lambda s: [s.pop(name) for name in list(s.keys())],
    "change while iterating over a list": lambda s: [s.update({f"{name}2": 1}) for name in list(s)],
    "equality": lambda s: (s == STORED, s == STORED, s != STORED, s == {}, s == s),
    "dict": dict,
    "unpack": unpack,
    "unpack into": lambda s: {"x": 1, **s},
    "match": match,
    "copy": lambda s: s.copy(),
    "copy is apart": lambda s: s.copy().clear(),
    "copy.copy": copy.copy,
    "copy.deepcopy": lambda s: copy.deepcopy(s)["cart"].append("apart"),
    "pickle": lambda s: pickle.loads(pickle.dumps(s)),  # noqa: S301
    "json": json.dumps,
    "json with indent": lambda s: json.dumps(s, indent=1, sort_keys=True),
    "json of an empty one": clear_and_dump,
    "json inside of another": lambda s: json.dumps({"session": s}),
    "pydantic": lambda s: TypeAdapter(dict[str, Any]).validate_python(s),
    "is a dict": lambda s: isinstance(s, dict),
    "format": lambda s: "{user}".format_map(s) + "%(user)s" % s,  # noqa: UP031
    "hash": hash,
    "change in place": change_in_place,
    "nested": nested,
}


def outcome(step: Step, session: dict[str, Any]) -> Any:
    """Return what a step gives, or the type of its error."""
    try:
        return step(session)
    except (LookupError, TypeError, ValueError) as error:
        return type(error)


@for_each("name", STEPS)
async def test_it_does_what_a_dictionary_does(site: Site, name: str) -> None:
    async def take(request: Request) -> Response:
        seen.append(outcome(STEPS[name], request.session))
        seen.append(list(request.session.items()))
        return PlainTextResponse("ok")

    async def look(request: Request) -> Response:
        seen.append(dict(request.session))
        return PlainTextResponse("ok")

    seen: list[Any] = []
    plain = copy.deepcopy(STORED)
    expected = outcome(STEPS[name], plain)
    await site.seed(KNOWN, **STORED)
    app = site.app(take=take, look=look)
    await ask(app, "/take", cookie=KNOWN)
    await ask(app, "/look", cookie=KNOWN)
    assert (seen[0], dict(seen[1]), seen[2]) == (expected, plain, plain)


async def test_a_session_that_is_only_read_is_not_written(site: Site) -> None:
    async def read(request: Request) -> Response:
        assert not request.session.modified  # type: ignore[attr-defined]
        return JSONResponse(request.session)

    answer = await site.visit(read, **STORED)
    assert json.loads(answer.text) == STORED
    assert (answer.get("vary"), site.probe.names) == ("Cookie", ["load_and_slide"])


async def test_it_tells_what_starlette_tells_of_a_session(site: Site) -> None:
    async def tell(request: Request) -> Response:
        session: Any = request.scope["session"]
        told = [(session.accessed, session.modified)]
        session = request.session
        told.append((session.accessed, session.modified))
        session.mark_modified()
        session["a"] = 1
        told.append((session.accessed, session.modified))
        return JSONResponse(told)

    answer = await ask(site.app(tell=tell), "/tell")
    assert json.loads(answer.text) == [[False, False], [True, False], [True, True]]


async def test_marking_alone_writes_nothing(site: Site) -> None:
    async def mark(request: Request) -> Response:
        request.session.mark_modified()  # type: ignore[attr-defined]
        return PlainTextResponse("ok")

    site.configure(creation="if-required")
    answer = await ask(site.app(mark=mark), "/mark")
    assert (answer.cookie(), answer.get("vary")) == (None, "Cookie")


async def test_views_of_one_session_follow_each_other(site: Site) -> None:
    async def both(request: Request) -> Response:
        early = request.session
        request.state.session.set_attribute("a", 1)
        assert json.dumps(early) == '{"a": 1}'
        request.session["b"] = 2
        assert early == {"a": 1, "b": 2}
        assert request.session is early
        return PlainTextResponse("ok")

    assert (await Browser(site.app(both=both)).get("/both")).text == "ok"


@for_each("name", ["_created_at", "_last_accessed", "__pyfly_type__"])
def test_metadata_is_neither_visible_nor_writable(name: str) -> None:
    mapping = SessionMapping(HttpSession(KNOWN, STORED))
    assert name not in mapping
    assert name not in list(mapping)
    with pytest.raises(KeyError):
        mapping[name]
    with pytest.raises(ReservedAttributeError):
        mapping[name] = 1


def test_repr_shows_neither_id_nor_values() -> None:
    shown = repr(SessionMapping(HttpSession(KNOWN, STORED)))
    assert "SessionMapping" in shown
    assert KNOWN not in shown
    assert "alice" not in shown


def test_it_cannot_be_made_of_names() -> None:
    with pytest.raises(TypeError):
        SessionMapping.fromkeys(["a"])


# Of the dictionary itself, which has no say in what is in the session.
OWN = {
    *("__class_getitem__", "__doc__", "__getattribute__", "__new__", "__sizeof__", "__hash__"),
    *("__ge__", "__gt__", "__le__", "__lt__", "fromkeys"),
}


@for_each("name", sorted(set(vars(dict)) - OWN))
def test_no_method_of_the_empty_dictionary_is_left(name: str) -> None:
    assert getattr(SessionMapping, name) is not getattr(dict, name)


async def test_names_keep_the_order_in_which_they_were_set(site: Site) -> None:
    names = [f"name{number}" for number in (3, 1, 4, 15, 9, 2, 6, 5)]

    async def put(request: Request) -> Response:
        for name in names:
            request.session[name] = name
        return PlainTextResponse("ok")

    async def look(request: Request) -> Response:
        assert request.session["name9"] == "name9"
        return JSONResponse(list(request.session))

    browser = Browser(site.app(put=put, look=look))
    await browser.get("/put")
    assert json.loads((await browser.get("/look")).text) == names
