"""What a store is held to, and what is made of four verbs where it can do no more."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from pyfly_session import SessionCodec, SessionRepository, StoreContractError
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.core.codec import DEFAULT_CODEC
from pyfly_session.core.store_capabilities import CapableStore, require_store
from pyfly_session.ports import (
    CompareAndSwap,
    CreateIfAbsent,
    LoadAndSlide,
    Rename,
    SessionStore,
)
from tests.conftest import Clock, FourVerbStore, id_of
from tests.support.cases import for_each

O = "0" * 32  # noqa: E741 - the old id
N = "1" * 32


def encoded(**attributes: Any) -> bytes:
    return DEFAULT_CODEC.dumps({"_created_at": 1.0, **attributes})


@pytest.fixture
def verbs(clock: Clock) -> FourVerbStore:
    return FourVerbStore(clock)


@pytest.fixture
def capable(verbs: FourVerbStore) -> CapableStore:
    return CapableStore(verbs)


# The contract


def test_a_store_with_four_verbs_is_a_store(verbs: FourVerbStore) -> None:
    assert require_store(verbs) is verbs
    assert isinstance(verbs, SessionStore)
    for capability in (LoadAndSlide, CreateIfAbsent, CompareAndSwap, Rename):
        assert not isinstance(verbs, capability)


def test_the_bundled_stores_have_every_capability(make_store: Any) -> None:
    for kind in ("memory", "fakeredis"):
        store = make_store(kind)
        assert require_store(store) is store
        for capability in (LoadAndSlide, CreateIfAbsent, CompareAndSwap, Rename):
            assert isinstance(store, capability)


def test_a_class_in_place_of_an_instance_is_refused_with_advice() -> None:
    with pytest.raises(StoreContractError, match=r"call it: InMemorySessionStore\(\.\.\.\)"):
        require_store(InMemorySessionStore)


@for_each("verb", ["get", "save", "delete", "exists"])
def test_a_store_without_a_verb_is_refused_by_the_verbs_name(verb: str) -> None:
    class Lacking(FourVerbStore):
        def __getattribute__(self, name: str) -> Any:
            if name == verb:
                raise AttributeError(name)
            return super().__getattribute__(name)

    with pytest.raises(StoreContractError, match=f"Lacking.* no method '{verb}'"):
        require_store(Lacking())


@for_each("verb", ["get", "save", "delete", "exists"])
def test_a_verb_that_is_not_a_coroutine_function_is_refused(verb: str) -> None:
    store = FourVerbStore()
    setattr(store, verb, lambda *_: None)

    with pytest.raises(StoreContractError, match=f"FourVerbStore.{verb} must be a coroutine"):
        require_store(store)


@for_each("candidate", [None, 7, "redis", object(), []])
def test_what_is_no_store_at_all_is_refused(candidate: object) -> None:
    with pytest.raises(StoreContractError, match="is not a session store"):
        require_store(candidate)
    with pytest.raises(TypeError):
        SessionRepository(candidate)  # type: ignore[arg-type]


def test_a_decorated_verb_is_still_a_coroutine_function() -> None:
    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return wrapper

    class Counted(FourVerbStore):
        get = counted(FourVerbStore.get)

    store = Counted()
    assert require_store(store) is store


def test_salting_codec_needs_store_that_compares(verbs: FourVerbStore, clock: Clock) -> None:
    class Salted(SessionCodec):
        deterministic = False

    verbs.codec = Salted()  # type: ignore[attr-defined]
    with pytest.raises(StoreContractError, match="CompareAndSwap"):
        CapableStore(verbs)
    CapableStore(InMemorySessionStore(codec=Salted(), clock=clock))


def test_a_stores_own_capabilities_are_used_and_only_the_others_made_up() -> None:
    class Some(FourVerbStore):
        async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
            return True

    store = Some()
    capable = CapableStore(store)

    assert (capable.create_if_absent, capable.delete) == (store.create_if_absent, store.delete)
    assert capable.load_and_slide != getattr(store, "load_and_slide", None)


async def test_a_rename_without_delete_moved_is_not_the_capability() -> None:
    class Half(FourVerbStore):
        async def rename(self, *_: Any) -> None:
            raise AssertionError("must not be called")

    store = Half()
    await store.save(O, {"a": 1}, 60)
    value = DEFAULT_CODEC.dumps({"a": 1})

    assert await CapableStore(store).rename(O, N, value, value, 60) == value


# Made of four verbs


@pytest.mark.parametrize("stored", [[], "text", {"a": object()}, {"a": {1j: 2}}], ids=id_of)
async def test_what_a_store_returns_but_is_no_session_is_unreadable_and_left_alone(
    verbs: FourVerbStore, clock: Clock, stored: Any, caplog: pytest.LogCaptureFixture
) -> None:
    verbs.entries[O] = (stored, clock() + 60)

    assert await CapableStore(verbs).load_and_slide(O, 600) == b""
    assert await SessionRepository(verbs).load(O) is None

    assert "save" not in verbs.calls
    assert "unreadable" in caplog.text


async def test_creating_asks_first(capable: CapableStore, verbs: FourVerbStore) -> None:
    assert await capable.create_if_absent(O, encoded(a=1), 60) is True
    assert await capable.create_if_absent(O, encoded(a=2), 60) is False

    assert verbs.calls == ["exists", "save", "exists"]
    assert await verbs.get(O) == {"_created_at": 1.0, "a": 1}


async def test_swapping_reads_and_compares(capable: CapableStore, verbs: FourVerbStore) -> None:
    await verbs.save(O, {"_created_at": 1.0, "a": 1}, 60)

    assert await capable.compare_and_swap(O, encoded(a=0), encoded(a=2), 60) == encoded(a=1)
    assert await capable.compare_and_swap(O, encoded(a=1), encoded(a=2), 60) == encoded(a=2)
    assert await capable.compare_and_swap(N, encoded(a=1), encoded(a=2), 60) is None
    assert await verbs.get(O) == {"_created_at": 1.0, "a": 2}
    assert not await verbs.exists(N)


async def test_a_new_id_is_stored_before_the_old_one_is_deleted(
    capable: CapableStore, verbs: FourVerbStore
) -> None:
    await verbs.save(O, {"_created_at": 1.0}, 60)
    verbs.calls.clear()

    assert await capable.rename(O, N, encoded(), encoded(a=1), 60) == encoded(a=1)

    assert (verbs.calls, set(verbs.entries)) == (["save", "get", "delete"], {N})


async def test_a_store_with_its_own_codec_gets_its_own_types() -> None:
    codec = SessionCodec()
    store = FourVerbStore()
    assert CapableStore(store).codec is DEFAULT_CODEC
    store.codec = codec  # type: ignore[attr-defined]
    assert CapableStore(store).codec is codec


async def test_typed_values_arrive_as_objects(capable: CapableStore, verbs: FourVerbStore) -> None:
    await capable.create_if_absent(O, DEFAULT_CODEC.dumps({"tags": {"a"}}), 60)

    assert await verbs.get(O) == {"tags": {"a"}}
