"""``request.session`` where a real dictionary is expected: the data, never less in silence."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI, Request
from jinja2 import Environment
from pydantic import BaseModel, TypeAdapter
from starlette.requests import Request as StarletteRequest
from starlette.testclient import TestClient

from pyfly_session.auto_configuration import enable_sessions
from pyfly_session.web import SessionMapping
from tests.support.cases import for_each

DATA = {"color": "black", "sizes": [1, 2], "n": 3}


class Prefs(BaseModel):
    color: str = "white"
    sizes: list[int] = []
    n: int = 0


class Page(BaseModel):
    data: Any = None


READERS: dict[str, Callable[[Any], Any]] = {
    "dict": dict,
    "unpacked": lambda session: {**session},
    "keywords": lambda session: (lambda **all: all)(**session),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "own copy": lambda session: session.copy(),
    "pickle": lambda session: pickle.loads(pickle.dumps(session)),  # noqa: S301 - its own
    "json": lambda session: json.loads(json.dumps(session)),
    "json, indented": lambda session: json.loads(json.dumps(session, indent=1)),
    "msgspec": lambda session: msgspec.json.decode(msgspec.json.encode(session)),
    "msgspec.convert": lambda session: msgspec.convert(session, dict[str, Any]),
    "msgspec.to_builtins": msgspec.to_builtins,
    "model": lambda session: Prefs.model_validate(session).model_dump(),
    "model, unpacked": lambda session: Prefs(**session).model_dump(),
    "model_dump": lambda session: Page(data=session).model_dump()["data"],
    "model_dump_json": lambda session: json.loads(Page(data=session).model_dump_json())["data"],
    "TypeAdapter": lambda session: TypeAdapter(dict[str, Any]).validate_python(session),
    "TypeAdapter, dumped": lambda session: TypeAdapter(Any).dump_python(session, mode="json"),
    "merged": lambda session: {} | session,
    "Jinja": lambda session: json.loads(
        Environment(autoescape=True).from_string("{{ s|tojson }}").render(s=session)
    ),
}
readers = for_each("read", READERS.values())


def client() -> tuple[FastAPI, TestClient]:
    app = FastAPI()

    @app.get("/put")
    def put(request: Request) -> None:
        request.session.update(DATA)

    enable_sessions(app, config={"pyfly": {"session": {"enabled": True}}})
    return app, TestClient(app)


def ask(look: Callable[[StarletteRequest], Any]) -> Any:
    """Return what a handler of a second request finds, the first having stored the data."""
    app, browser = client()
    found: list[Any] = []
    browser.get("/put").raise_for_status()

    @app.get("/look")
    def page(request: Request) -> None:
        found.append(look(request))

    browser.get("/look").raise_for_status()
    return found[0]


@readers
def test_changes_of_this_request_are_there(read: Callable[[Any], Any]) -> None:
    """However they came, while somebody holds what they got before."""

    def change(request: StarletteRequest) -> Any:
        kept, session = request.session, request.state.session
        kept["color"] = "red"
        session.update_attribute("n", lambda n: n + 1)
        session.get_attribute("sizes").append(3)
        session.set_attribute("more", None)
        session.remove_attribute("more")
        assert not isinstance(kept.pop("more", "gone"), int)
        return read(kept)

    assert ask(change) == {"color": "red", "sizes": [1, 2, 3], "n": 4}


@for_each("dump", [json.dumps, msgspec.json.encode, Prefs.model_validate])
def test_an_ended_session_shows_nothing_as_if_it_were_all(dump: Callable[[Any], Any]) -> None:
    def end(request: StarletteRequest) -> None:
        kept = request.session
        request.state.session.invalidate()
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            dump(kept)

    ask(end)


@for_each("dump", [msgspec.json.encode, Page.model_dump_json])
def test_what_nobody_asked_the_request_for_is_refused(dump: Callable[[Any], Any]) -> None:
    def look(request: StarletteRequest) -> None:
        raw = request.scope["session"]
        with pytest.raises((TypeError, ValueError)):
            dump(Page(data=raw) if dump is Page.model_dump_json else raw)

    ask(look)


def test_fastapi_returns_the_data_through_every_response_model() -> None:
    app, browser = client()

    @app.get("/prefs")
    def prefs(request: Request) -> Prefs:
        return request.session  # type: ignore[return-value]

    @app.get("/part")
    def part(request: Request) -> dict[str, Any]:
        return {"prefs": request.session}

    @app.get("/plain")
    def plain(request: Request):  # type: ignore[no-untyped-def]
        return request.session

    browser.get("/put")
    assert (browser.get("/prefs").json(), browser.get("/part").json()) == (DATA, {"prefs": DATA})
    assert browser.get("/plain").json() == DATA


def test_a_value_that_was_only_seen_is_not_written(caplog: pytest.LogCaptureFixture) -> None:
    app, browser = client()

    @app.get("/modify")
    def modify(request: Request) -> bool:
        kept: Any = request.session
        kept["sizes"].append(3)
        kept.modified = True
        return isinstance(kept, SessionMapping)

    browser.get("/put")
    assert browser.get("/modify").json() is True

    @app.get("/look")
    def look(request: Request) -> list[int]:
        assert not getattr(request.session, "modified", True)
        return request.session["sizes"]  # type: ignore[no-any-return]

    assert browser.get("/look").json() == [1, 2, 3]
