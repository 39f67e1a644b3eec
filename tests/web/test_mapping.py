"""``request.session``: the session for code that was written for Starlette's own."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pyfly_session import HttpSession, ReservedAttributeError, SessionInvalidatedError
from pyfly_session.web import SessionMapping
from tests.web.conftest import Site
from tests.web.driver import Browser


@pytest.fixture
def site(memory_site: Site) -> Site:
    """Return a site over one store: none has an influence on what is held here."""
    return memory_site


@pytest.fixture
def session() -> HttpSession:
    return HttpSession("a" * 32, {"user": "alice", "_internal": 1})


@pytest.fixture
def mapping(session: HttpSession) -> SessionMapping:
    return SessionMapping(session)


async def test_request_session_of_starlette_works_unchanged(site: Site) -> None:
    async def count(request: Request) -> Response:
        request.session["visits"] = request.session.get("visits", 0) + 1
        request.session.setdefault("flashes", []).append("hi")
        return JSONResponse(dict(request.session))

    browser = Browser(site.app(count=count))
    await browser.get("/count")
    assert (await browser.get("/count")).text == '{"visits":2,"flashes":["hi","hi"]}'


async def test_mapping_and_session_are_two_views_of_one(site: Site) -> None:
    async def both(request: Request) -> Response:
        request.session["a"] = 1
        assert request.state.session.get_attribute("a") == 1
        request.state.session.set_attribute("b", 2)
        assert request.session["b"] == 2
        request.state.session.remove_attribute("a")
        assert "a" not in request.session
        return PlainTextResponse("ok")

    browser = Browser(site.app(both=both))
    answer = await browser.get("/both")
    assert await site.stored(answer.session_id) == {"b": 2}


async def test_clear_forgets_everything_and_keeps_the_session(site: Site) -> None:
    """What ``request.session.clear()`` does in logout handlers written for Starlette."""

    async def put(request: Request) -> Response:
        request.session.update(user="alice", _state="x")
        return PlainTextResponse("ok")

    async def clear(request: Request) -> Response:
        request.session.clear()
        return PlainTextResponse("ok")

    browser = Browser(site.app(put=put, clear=clear))
    session_id = (await browser.get("/put")).session_id
    answer = await browser.get("/clear")
    assert answer.session_id == session_id
    raw: dict[str, Any] = await site.probe.inner.get(session_id)
    assert set(raw) == {"_created_at", "_last_accessed", "_version"}


async def test_internal_names_of_other_libraries_are_kept(site: Site) -> None:
    async def put(request: Request) -> Response:
        request.session["_state_google_abc"] = {"data": 1}
        return PlainTextResponse("ok")

    async def take(request: Request) -> Response:
        return JSONResponse(request.session.pop("_state_google_abc"))

    browser = Browser(site.app(put=put, take=take))
    await browser.get("/put")
    assert (await browser.get("/take")).text == '{"data":1}'


def test_it_is_a_mutable_mapping(mapping: SessionMapping) -> None:
    assert isinstance(mapping, MutableMapping)
    assert mapping == {"user": "alice", "_internal": 1}
    assert len(mapping) == 2
    assert sorted(mapping) == ["_internal", "user"]
    assert mapping["user"] == "alice"
    assert mapping.get("none", 7) == 7
    assert mapping.pop("user") == "alice"
    assert mapping.pop("user", None) is None
    assert mapping.popitem() == ("_internal", 1)
    assert not mapping


def test_absent_names_are_key_errors(mapping: SessionMapping) -> None:
    with pytest.raises(KeyError, match="none"):
        mapping["none"]
    with pytest.raises(KeyError, match="none"):
        del mapping["none"]


def test_deleting_removes(mapping: SessionMapping, session: HttpSession) -> None:
    del mapping["user"]
    assert "user" not in mapping
    assert session.get_attribute("user") is None


def test_attribute_that_is_none_is_present(mapping: SessionMapping) -> None:
    mapping["empty"] = None
    assert "empty" in mapping
    assert mapping["empty"] is None
    assert mapping.setdefault("empty", 1) is None


@pytest.mark.parametrize("name", ["_created_at", "_last_accessed", "__pyfly_type__"])
def test_metadata_is_neither_visible_nor_writable(mapping: SessionMapping, name: str) -> None:
    assert name not in mapping
    assert name not in list(mapping)
    with pytest.raises(KeyError):
        mapping[name]
    with pytest.raises(ReservedAttributeError):
        mapping[name] = 1


async def test_overwriting_the_creation_time_breaks_nothing(site: Site) -> None:
    async def attack(request: Request) -> Response:
        session = request.state.session
        with pytest.raises(ReservedAttributeError):
            session.set_attribute("_created_at", "x")
        return JSONResponse(session.created_at == site.clock())

    assert (await Browser(site.app(attack=attack)).get("/attack")).text == "true"


def test_names_must_be_text(mapping: SessionMapping) -> None:
    with pytest.raises(TypeError, match="must be str"):
        mapping[1] = 1  # type: ignore[index]


def test_invalidated_session_is_no_empty_mapping(
    mapping: SessionMapping, session: HttpSession
) -> None:
    session.invalidate()
    for use in (lambda: mapping["user"], lambda: len(mapping), lambda: list(mapping)):
        with pytest.raises(SessionInvalidatedError):
            use()
    with pytest.raises(SessionInvalidatedError):
        mapping["user"] = 1


def test_marking_as_accessed_is_passed_on(mapping: SessionMapping, session: HttpSession) -> None:
    assert not session.accessed
    mapping.mark_accessed()
    assert session.accessed


def test_repr_shows_neither_id_nor_values(mapping: SessionMapping) -> None:
    assert "a" * 32 not in repr(mapping)
    assert "alice" not in repr(mapping)
    assert "SessionMapping" in repr(mapping)
