"""Sessions encrypted at rest: who can read them, who cannot, and how keys are changed."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse

from pyfly_session import ConfigurationError, SessionCodec, SessionRepository, StoreContractError
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.adapters.redis import RedisSessionStore
from pyfly_session.auto_configuration import create_container, enable_sessions
from pyfly_session.auto_configuration.conditions import container_report
from pyfly_session.config import bind_properties, load_config
from pyfly_session.core.codec import DEFAULT_CODEC
from pyfly_session.core.encryption import EncryptedSessionCodec
from pyfly_session.core.repository import Outcome
from pyfly_session.errors import SessionDecodingError
from tests.conftest import Clock, FourVerbStore
from tests.support.cases import for_each
from tests.support.sessions import loaded
from tests.support.types import Log
from tests.web.conftest import Site
from tests.web.driver import ask
from tests.web.stores import Probe

OLD, NEW, FOREIGN = (base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))
SECRETS = (OLD, NEW, FOREIGN)
KNOWN = "a" * 32
PLAIN = b'{"_created_at":1.0,"user":"alice"}'

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
some = settings(deadline=None)


def encrypted(**data: Any) -> bytes:
    return EncryptedSessionCodec([OLD]).dumps({"_created_at": 1.0, **data})


@some
@given(st.dictionaries(st.text(max_size=9), json_values, max_size=4))
def test_every_session_comes_back_as_it_went_in(data: dict[str, Any]) -> None:
    codec = EncryptedSessionCodec([OLD])
    data.pop("__pyfly_type__", None)
    stored = codec.dumps(data)

    assert codec.loads(stored) == data
    assert {name: codec.decode(part) for name, part in codec.split(stored).items()} == data
    with pytest.raises(SessionDecodingError):
        DEFAULT_CODEC.split(stored)


def test_what_is_stored_shows_nothing_and_never_repeats() -> None:
    codec = EncryptedSessionCodec([OLD])
    stored = {codec.dumps({"user": "alice"}) for _ in range(9)}

    assert len(stored) == 9
    assert not any(b"alice" in each or b"user" in each for each in stored)


@some
@given(st.data())
def test_a_session_that_was_tampered_with_is_none(chance: st.DataObject) -> None:
    """One byte replaced, removed or put in, anywhere."""
    codec = EncryptedSessionCodec([OLD], accept_plain=True)
    stored = encrypted(user="alice", roles=["USER"])
    at = chance.draw(st.integers(0, len(stored) - 1))
    width = chance.draw(st.integers(0, 1))
    put = chance.draw(st.binary(min_size=1 - width, max_size=1))
    tampered = stored[:at] + put + stored[at + width :]
    try:
        data = codec.loads(tampered)
    except SessionDecodingError:
        return
    # What Base64 does not look at, such as the last bits of the padding, changes nothing.
    assert data == codec.loads(stored)


@some
@given(st.binary(max_size=200))
def test_hostile_bytes_are_no_session(payload: bytes) -> None:
    codec = EncryptedSessionCodec([OLD])
    with pytest.raises(SessionDecodingError):
        codec.split(payload)
    with pytest.raises(SessionDecodingError):
        codec.loads(b"gAAAAA" + base64.urlsafe_b64encode(payload))


def test_types_are_allowed_as_for_any_codec() -> None:
    codec = EncryptedSessionCodec([OLD])
    assert codec.loads(codec.dumps({"x": {1, 2}, "y": b"\xff"})) == {"x": {1, 2}, "y": b"\xff"}


def test_a_store_without_compare_and_swap_is_refused() -> None:
    class Wrapped(FourVerbStore):
        codec: SessionCodec = EncryptedSessionCodec([OLD])

    with pytest.raises(StoreContractError, match="Wrapped needs the capability CompareAndSwap"):
        SessionRepository(Wrapped())


# In a store


@pytest.fixture(params=["memory", "valkey"])
def make_encrypted(request: pytest.FixtureRequest, clock: Clock) -> Any:
    """Return a function that makes a store of each kind, always over the same sessions."""
    memory = InMemorySessionStore(clock=clock)
    client = request.getfixturevalue("valkey") if request.param == "valkey" else None

    def make(*keys: str, accept_plain: bool = False) -> Any:
        codec = EncryptedSessionCodec(keys, accept_plain=accept_plain) if keys else DEFAULT_CODEC
        if client is not None:
            return RedisSessionStore(client, codec=codec)
        made = InMemorySessionStore(clock=clock, codec=codec)
        made._shelves, made._moved = memory._shelves, memory._moved
        return made

    return make


async def test_encrypted_sessions_merge_rotate_and_end(make_encrypted: Any, clock: Clock) -> None:
    repository = SessionRepository(make_encrypted(OLD), clock=clock)
    session = repository.create()
    assert await repository.commit(session) is Outcome.STORED
    former = session.id
    a, b, late = [await repository.load(former) for _ in range(3)]
    assert a
    assert b
    assert late
    a.set_attribute("a", 1)
    b.set_attribute("b", 2)
    assert await repository.commit(a) is Outcome.STORED
    assert await repository.commit(b) is Outcome.STORED
    a.rotate_id()
    assert await repository.commit(a) is Outcome.STORED
    late.set_attribute("late", 3)
    assert await repository.commit(late) is Outcome.MOVED
    found = await loaded(repository, a.id)
    assert {name: found.get_attribute(name) for name in found.get_attribute_names()} == {
        "a": 1, "b": 2, "late": 3,
    }  # fmt: skip
    assert await repository.commit(found) is Outcome.UNTOUCHED
    b.invalidate()
    await repository.commit(b)
    assert await repository.load(a.id) is None


async def test_live_session_goes_through_change_of_keys(make_encrypted: Any, clock: Clock) -> None:
    first = SessionRepository(make_encrypted(OLD), clock=clock)
    session = first.create()
    session.set_attribute("user", "alice")
    await first.commit(session)

    both = SessionRepository(make_encrypted(NEW, OLD), clock=clock)
    visit = await loaded(both, session.id)
    assert await both.commit(visit) is Outcome.UNTOUCHED
    # Reading does not write, so the former key is still needed.
    assert await SessionRepository(make_encrypted(NEW), clock=clock).load(session.id) is None
    visit.set_attribute("n", 1)
    assert await both.commit(visit) is Outcome.STORED

    last = await loaded(SessionRepository(make_encrypted(NEW), clock=clock), session.id)
    assert last.get_attribute("user") == "alice"


async def test_a_session_of_a_foreign_key_is_absent_everywhere(
    make_encrypted: Any, clock: Clock, caplog: Log
) -> None:
    await make_encrypted(FOREIGN).save(KNOWN, {"user": "mallory"}, 60)
    store = make_encrypted(NEW, OLD)

    assert await store.get(KNOWN) is None
    assert await SessionRepository(store, clock=clock).load(KNOWN) is None

    assert "not encrypted with any of the keys" in caplog.text
    assert KNOWN not in caplog.text


@pytest.mark.parametrize("accept_plain", [False, True])
async def test_plain_sessions_are_refused_unless_accepted(
    make_encrypted: Any, clock: Clock, accept_plain: bool
) -> None:
    await make_encrypted().save(KNOWN, {"_created_at": clock(), "user": "alice"}, 60)
    store = make_encrypted(OLD, accept_plain=accept_plain)
    repository = SessionRepository(store, clock=clock)

    session = await repository.load(KNOWN)

    if not accept_plain:
        assert session is None
        return
    assert session
    assert session.get_attribute("user") == "alice"
    session.set_attribute("n", 1)
    assert await repository.commit(session) is Outcome.STORED
    strict = await loaded(SessionRepository(make_encrypted(OLD), clock=clock), KNOWN)
    assert strict.get_attribute("user") == "alice"


async def test_a_visitor_whose_session_was_tampered_with_gets_a_new_one(clock: Clock) -> None:
    store = InMemorySessionStore(clock=clock, codec=EncryptedSessionCodec([OLD]))
    site = Site(Probe(store), clock)
    await site.seed(KNOWN, user="alice")

    async def user(request: Request) -> JSONResponse:
        return JSONResponse(request.state.session.get_attribute("user"))

    app = site.app(user=user)
    assert (await ask(app, "/user", cookie=KNOWN)).text == '"alice"'
    payload = await store.load_and_slide(KNOWN, 60)
    assert isinstance(payload, bytes)
    await store.compare_and_swap(KNOWN, payload, payload[:-10] + b"A" * 10, 60)

    answer = await ask(app, "/user", cookie=KNOWN)

    assert (answer.status, answer.text) == (200, "null")
    assert answer.session_id != KNOWN


# From properties


def tree(**encryption: Any) -> dict[str, Any]:
    return {"pyfly": {"session": {"enabled": True, "encryption": encryption}}}


async def test_the_properties_reach_the_store() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = Request(scope).state.session
        session.set_attribute("user", "alice")
        await JSONResponse(session.id)(scope, receive, send)

    container = create_container(tree(keys=[NEW, OLD]))
    answer = await ask(enable_sessions(app, container))

    store: Any = container.session_store()
    payload = await store.load_and_slide(json.loads(answer.text), 60)
    assert EncryptedSessionCodec([NEW]).loads(payload)["user"] == "alice"


def test_accept_plain_reaches_the_codec() -> None:
    assert create_container(tree(keys=[NEW], **{"accept-plain": True})).session_codec().loads(PLAIN)
    with pytest.raises(SessionDecodingError):
        create_container(tree(keys=[NEW])).session_codec().loads(PLAIN)


@for_each(
    "key",
    [
        "s3cr3t-but-no-key", NEW[:-2], "AAAA" + NEW, " ", "é" * 44, "-" * 43,
        base64.urlsafe_b64encode(b"x" * 31).decode(), base64.urlsafe_b64encode(b"x" * 33).decode(),
    ],
)  # fmt: skip
@for_each("position", [0, 1])
def test_a_wrong_key_is_refused_at_start_without_being_shown(key: str, position: int) -> None:
    keys = [NEW]
    keys.insert(position, key)

    with pytest.raises(ConfigurationError) as caught:
        enable_sessions(lambda: None, create_container(tree(keys=keys)))

    message = str(caught.value)
    assert message.startswith(f"pyfly.session.encryption.keys[{position}] must be 32 bytes")
    assert "Fernet.generate_key()" in message
    assert (caught.value.key, caught.value.value) == ("pyfly.session.encryption.keys", None)
    assert key.strip() == "" or key not in message
    assert NEW not in message
    assert caught.value.__suppress_context__


@for_each("keys", [5, [5], [NEW, 5], [""], [NEW, None], {"a": NEW}])
def test_keys_of_a_wrong_type_are_refused_without_being_shown(keys: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"pyfly\.session\.encryption\.keys") as caught:
        bind_properties(tree(keys=keys))
    assert NEW not in str(caught.value)
    assert NEW not in repr(caught.value.value)


@for_each("keys", [[], ()])
def test_a_codec_without_keys_is_refused(keys: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"encryption\.keys"):
        EncryptedSessionCodec(keys)


def test_no_representation_message_or_report_shows_a_secret(tmp_path: Path, caplog: Log) -> None:
    caplog.set_level("DEBUG")
    (tmp_path / "pyfly.yaml").write_text(
        "pyfly:\n  session:\n    enabled: true\n    store: redis\n"
        f"    encryption: {{keys: [{NEW}, {OLD}]}}\n"
        f"    redis: {{url: 'redis://u:{FOREIGN}@h', password: {NEW},"
        f" sentinel: {{password: {OLD}}}}}\n",
        encoding="utf-8",
    )
    config = load_config(tmp_path, "")
    container = create_container(config)
    properties = container.properties()
    shown = [
        repr(config), repr(properties), str(properties), repr(properties.encryption),
        repr(container_report(container)), repr(container.session_codec()),
        repr(container.session_store()), repr(container.session_filter()), caplog.text,
    ]  # fmt: skip
    for text in shown:
        assert not [secret for secret in SECRETS if secret in text], text
    assert properties.encryption.keys == (NEW, OLD)


def test_an_error_of_a_file_with_secrets_shows_none(tmp_path: Path) -> None:
    for wrong in ("ttl: 0", "encryption: {keyz: [k]}", "ttl: 1\n    ttl: 2", "x: *y", "redis: 5"):
        (tmp_path / "pyfly.yaml").write_text(
            "pyfly:\n  session:\n"
            f"    memory: {{max-sessions: 1}}\n    exclude-patterns: [/{OLD}]\n    {wrong}\n"
            f"pyfly.session.encryption.keys: [{NEW}]\n",
            encoding="utf-8",
        )
        with pytest.raises(ConfigurationError) as caught:
            load_config(tmp_path, "")
        error: BaseException | None = caught.value
        while error is not None:
            assert NEW not in str(error)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("wrong", [f"encryption: {NEW}", f"encryption: [{NEW}]"])
def test_a_key_in_the_place_of_its_section_is_not_shown(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "pyfly.yaml").write_text(f"pyfly: {{session: {{{wrong}}}}}", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="encryption must be a section") as caught:
        load_config(tmp_path, "")
    assert NEW not in str(caught.value)
    assert NEW not in repr(caught.value.value)


def test_a_key_from_the_environment_is_read_and_not_shown(tmp_path: Path) -> None:
    variable = "PYFLY_SESSION_ENCRYPTION_KEYS"
    config = load_config(tmp_path, "", environ={variable: f"{NEW}, {OLD}"})
    assert bind_properties(config).encryption.keys == (NEW, OLD)
    assert NEW not in repr(config)


def test_keys_may_come_as_bytes_to_the_codec() -> None:
    key = Fernet.generate_key()
    assert EncryptedSessionCodec([key]).loads(EncryptedSessionCodec([key.decode()]).dumps({})) == {}
