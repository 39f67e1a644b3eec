"""``request.session``: the session for code that was written for Starlette's own."""

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pyfly_session import HttpSession, ReservedAttributeError, SessionInvalidatedError
from pyfly_session.web import SessionMapping
from tests.web.conftest import Site
from tests.web.driver import Browser


@pytest.fixture
def session() -> HttpSession:
    return HttpSession("a" * 32, {"user": "alice", "_internal": 1})


@pytest.fixture
def mapping(session: HttpSession) -> SessionMapping:
    return SessionMapping(session)


async def test_clear_forgets_everything_and_keeps_the_session(site: Site) -> None:
    """What ``request.session.clear()`` does in logout handlers written for Starlette."""

    async def put(request: Request) -> None:
        request.session.update(user="alice", _state="x")

    async def clear(request: Request) -> Response:
        request.session.clear()
        return PlainTextResponse("ok")

    browser = Browser(site.app(put=put, clear=clear))
    session_id = (await browser.get("/put")).session_id
    assert (await browser.get("/clear")).session_id == session_id
    raw: dict[str, Any] = await site.probe.inner.get(session_id)
    assert set(raw) == {"_created_at", "_last_accessed", "_version"}


@pytest.mark.parametrize("name", ["_created_at", "_last_accessed", "__pyfly_type__"])
def test_metadata_is_neither_visible_nor_writable(mapping: SessionMapping, name: str) -> None:
    assert name not in mapping
    assert name not in list(mapping)
    with pytest.raises(KeyError):
        mapping[name]
    with pytest.raises(ReservedAttributeError):
        mapping[name] = 1


def test_invalidated_is_no_empty_mapping(mapping: SessionMapping, session: HttpSession) -> None:
    session.invalidate()
    for use in (lambda: mapping["user"], lambda: len(mapping), lambda: list(mapping)):
        with pytest.raises(SessionInvalidatedError):
            use()
    with pytest.raises(SessionInvalidatedError):
        mapping["user"] = 1


def test_repr_shows_neither_id_nor_values(mapping: SessionMapping) -> None:
    assert "a" * 32 not in repr(mapping)
    assert "alice" not in repr(mapping)
    assert "SessionMapping" in repr(mapping)
