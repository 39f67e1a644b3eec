"""Whatever is in the store: a request is answered, and nobody gets a type that was not allowed."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio as aioredis
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pyfly_session import HttpSession
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.adapters.redis import RedisSessionStore
from pyfly_session.core.metadata import RESERVED_NAMES
from pyfly_session.core.type_tags import TYPE_KEY
from pyfly_session.ids import new_id
from tests.conftest import Clock, effort
from tests.web.conftest import Site
from tests.web.driver import ask
from tests.web.stores import Probe

TAGS = ["datetime", "set", "frozenset", "bytes", "dict", "Decimal", "UUID", "float", "timedelta"]

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5, alphabet=st.characters())
)
names = st.sampled_from([*sorted(RESERVED_NAMES), "user", "cart", ""]) | st.text(max_size=4)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(names, inner, max_size=3),
        st.builds(
            lambda tag, value: {TYPE_KEY: tag, "value": value}, st.sampled_from(TAGS) | inner, inner
        ),
    ),
    max_leaves=6,
)
sessions = st.dictionaries(names, values, max_size=5)
deep = st.builds(
    lambda depth, kind: kind[0] * depth + b"1" + kind[1] * depth,
    st.integers(1, 3000),
    st.sampled_from([(b"[", b"]"), (b'{"a":', b"}"), (b"[", b"")]),
)
payloads = st.one_of(
    sessions.map(lambda data: json.dumps(data).encode()),
    st.binary(max_size=60),
    deep,
    deep.map(lambda part: b'{"user":' + part + b"}"),
    st.integers(1, 6000).map(lambda digits: b'{"_created_at":' + b"9" * digits + b"}"),
    st.builds(
        lambda data, at, junk: json.dumps(data).encode()[:at] + junk, sessions, st.integers(0, 50),
        st.binary(max_size=5),
    ),
)  # fmt: skip


async def everything(request: Request) -> Response:
    """Look at all there is, as an application would, and answer what can be shown."""
    session: HttpSession = request.state.session
    told: dict[str, Any] = {"created": session.created_at, "idle": session.max_inactive_interval}
    for name, value in dict(request.session).items():
        told[name] = repr(value)
    session.get_data()
    assert session.get_attribute_names() is not None
    return JSONResponse({"told": repr(told)[:100]})


async def change(request: Request) -> Response:
    session: HttpSession = request.state.session
    for name in session.attribute_names():
        value = session.get_attribute(name)
        if isinstance(value, list):
            value.append(1)
        elif isinstance(value, dict):
            value["n"] = 1
    session.set_attribute("n", 1)
    return JSONResponse(None)


async def login(request: Request) -> Response:
    request.state.session.rotate_id()
    return JSONResponse(None)


async def empty(request: Request) -> Response:
    request.session.clear()
    return JSONResponse(None)


async def logout(request: Request) -> Response:
    request.state.session.invalidate()
    return JSONResponse(None)


HANDLERS: dict[str, Any] = {
    "everything": everything, "change": change, "login": login, "empty": empty,
}  # fmt: skip


class Bench:
    """An application over one store, and a way to put any bytes into that store."""

    def __init__(self, runner: asyncio.Runner, store: Any, put: Any) -> None:
        self.runner = runner
        self.store = store
        self.put = put
        clock = Clock()
        site = Site(Probe(store), clock)
        site.configure(max_lifetime=3600)
        self.app = site.app(logout=logout, **HANDLERS)

    async def request_all(self, payload: bytes) -> None:
        for path in (*HANDLERS, "logout"):
            # Another id each time: the process remembers those that it ended.
            session_id = new_id()
            await self.put(session_id, payload)
            async with asyncio.timeout(10):
                answer = await ask(self.app, f"/{path}", cookie=session_id)
            assert answer.status == 200, answer.text
            cookie = answer.own_cookie
            if path != "logout":
                again = await ask(self.app, "/everything", cookie=cookie.value)
                assert (again.status, again.session_id) == (200, cookie.value)


@pytest.fixture(params=["memory", "valkey"])
def bench(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Iterator[Bench]:
    if request.param == "memory":
        memory = InMemorySessionStore()

        async def put(session_id: str, payload: bytes) -> None:
            await memory.create_if_absent(session_id, payload, 60)

        yield Bench(runner, memory, put)
        return
    client: aioredis.Redis = aioredis.from_url(request.getfixturevalue("valkey_url"))

    async def set_key(session_id: str, payload: bytes) -> None:
        await client.set(f"pyfly:session:{session_id}", payload, ex=60)

    yield Bench(runner, RedisSessionStore(client), set_key)
    runner.run(client.aclose())


def test_hostile_stored_bytes_never_fail_a_request(bench: Bench) -> None:
    @effort(25, 20_000)
    @given(payloads)
    def search(payload: bytes) -> None:
        bench.runner.run(bench.request_all(payload))

    search()


def test_bytes_that_change_under_a_request_do_not_fail_it(runner: asyncio.Runner) -> None:
    """Between loading and saving somebody overwrites the session with anything at all."""
    store = InMemorySessionStore()
    clock = Clock()
    site = Site(Probe(store), clock)
    payload, session_id = b"", ""

    async def overwritten(request: Request) -> Response:
        request.state.session.set_attribute("n", 1)
        if request.query_params:
            request.state.session.rotate_id()
        await store.delete(session_id)
        await store.create_if_absent(session_id, payload, 60)
        return JSONResponse(None)

    app = site.app(page=overwritten, everything=everything)

    @effort(40, 20_000)
    @given(payloads, st.booleans())
    def search(given: bytes, rotate: bool) -> None:
        nonlocal payload, session_id
        payload, session_id = given, new_id()
        runner.run(site.seed(session_id, user="alice"))
        answer = runner.run(ask(app, "/page?x=1" if rotate else "/page", cookie=session_id))
        assert answer.status == 200
        assert runner.run(ask(app, "/everything", cookie=answer.session_id)).status == 200

    search()


def test_a_stored_value_too_deep_to_be_written_again_can_still_be_read(bench: Bench) -> None:
    """The original writes such a value; every request that read it would fail."""
    bench.runner.run(bench.request_all(b'{"user":' + b"[" * 400 + b"]" * 400 + b"}"))
