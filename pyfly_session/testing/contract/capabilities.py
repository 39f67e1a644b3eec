"""The promises of `LoadAndSlide`, `CreateIfAbsent` and `CompareAndSwap`, one call at a time."""

from __future__ import annotations

from typing import Any

from pyfly_session.core.codec import DEFAULT_CODEC
from pyfly_session.ids import new_id
from pyfly_session.ports import CompareAndSwap, CreateIfAbsent, LoadAndSlide
from pyfly_session.testing.contract.reporting import expect, promised_by
from pyfly_session.testing.contract.sessions import (
    encoded,
    expect_gone,
    payload_of,
    plant,
    repository_of,
)
from pyfly_session.testing.contract.store_fixtures import StoreHooks

# What a codec may write: encrypted, not UTF-8, spelled in an unusual way.
_UNUSUAL = (b"\x00\x80\xff", b'{"a": 1, "a":1}', b'{ "a" : 1.0e0 }', b"[]", b'"text"', b"{", b" ")


class Capabilities(StoreHooks):
    """What a store promises with the methods that it has besides the four verbs."""

    @promised_by("load_and_slide", needs=LoadAndSlide)
    async def test_load_and_slide_returns_what_is_stored(self, store: Any) -> None:
        """`load_and_slide` returns the bytes as they were stored."""
        session_id, value = new_id(), encoded(store, a=1)
        await plant(store, session_id, value)

        expect(await store.load_and_slide(session_id, 60), value, "load_and_slide")

    @promised_by("load_and_slide", needs=LoadAndSlide)
    async def test_load_and_slide_never_creates(self, store: Any) -> None:
        """`load_and_slide` of an absent session answers None and brings nothing into being."""
        unknown, deleted = new_id(), new_id()
        await plant(store, deleted, encoded(store))
        await store.load_and_slide(deleted, 60)
        await store.delete(deleted)
        for each in (unknown, deleted):
            expect(await store.load_and_slide(each, 60), None, "load_and_slide")
            await expect_gone(store, each, "after load_and_slide of an absent session")

    @promised_by("load_and_slide", "get", "save", needs=LoadAndSlide)
    async def test_the_verbs_and_the_capabilities_speak_of_one_session(self, store: Any) -> None:
        """`save` stores what `load_and_slide` returns, by the codec that the store offers."""
        session_id, codec = new_id(), getattr(store, "codec", DEFAULT_CODEC)
        await store.save(session_id, {"a": [1]}, 60)
        expect(codec.loads(await store.load_and_slide(session_id, 60)), {"a": [1]}, "decoded")

    @promised_by("create_if_absent", needs=CreateIfAbsent)
    async def test_create_if_absent_stores_a_new_session(self, store: Any) -> None:
        """`create_if_absent` stores a new session, for every method to find, and says True."""
        session_id, value = new_id(), encoded(store, a=1)
        expect(await store.create_if_absent(session_id, value, 60), True, "create_if_absent")
        expect(await store.get(session_id), {"_created_at": 1.0, "a": 1}, "get")
        expect(await store.exists(session_id), True, "exists")

    @promised_by("create_if_absent", needs=CreateIfAbsent)
    async def test_create_if_absent_never_replaces(self, store: Any) -> None:
        """`create_if_absent` says False and changes nothing if the id is taken."""
        session_id, value = new_id(), encoded(store, a=1)
        await plant(store, session_id, value)

        taken = await store.create_if_absent(session_id, value, 60)
        expect(taken, False, "create_if_absent, an id that is taken by the same value")
        taken = await store.create_if_absent(session_id, encoded(store, a=2), 60)
        expect(taken, False, "create_if_absent, an id that is taken")
        expect(await payload_of(store, session_id), value, "what is stored then")

    @promised_by("compare_and_swap", needs=CompareAndSwap)
    async def test_compare_and_swap_replaces_what_the_caller_read(self, store: Any) -> None:
        """`compare_and_swap` replaces `expected` by `value` and returns `value`."""
        session_id, first, second = new_id(), encoded(store, a=1), encoded(store, a=2)
        await plant(store, session_id, first)

        swapped = await store.compare_and_swap(session_id, first, second, 60)
        expect(swapped, second, "compare_and_swap")
        expect(await payload_of(store, session_id), second, "what is stored then")

    @promised_by("compare_and_swap", needs=CompareAndSwap)
    async def test_compare_and_swap_keeps_what_another_writer_stored(self, store: Any) -> None:
        """`compare_and_swap` leaves what another writer stored, and returns those bytes."""
        session_id = new_id()
        expected, theirs, mine = (encoded(store, a=number) for number in range(3))
        await plant(store, session_id, theirs)

        swapped = await store.compare_and_swap(session_id, expected, mine, 60)
        expect(swapped, theirs, "compare_and_swap")
        expect(await payload_of(store, session_id), theirs, "what is stored then")

    @promised_by("compare_and_swap", needs=CompareAndSwap)
    async def test_a_repeated_compare_and_swap_finds_its_own_value(self, store: Any) -> None:
        """A caller that was interrupted asks again: `value` is stored already, and the answer."""
        session_id, first, second = new_id(), encoded(store, a=1), encoded(store, a=2)
        await plant(store, session_id, first)
        for _ in range(2):
            swapped = await store.compare_and_swap(session_id, first, second, 60)
            expect(swapped, second, "compare_and_swap")
        expect(await payload_of(store, session_id), second, "what is stored then")

    @promised_by("compare_and_swap", needs=CompareAndSwap)
    async def test_compare_and_swap_never_creates(self, store: Any) -> None:
        """`compare_and_swap` of an absent session answers None and brings nothing into being."""
        unknown, deleted, value = new_id(), new_id(), encoded(store)
        await plant(store, deleted, value)
        await store.delete(deleted)
        for each in (unknown, deleted):
            swapped = await store.compare_and_swap(each, value, encoded(store, a=1), 60)
            expect(swapped, None, "compare_and_swap")
            await expect_gone(store, each, "after compare_and_swap of an absent session")

    @promised_by("create_if_absent", "load_and_slide", needs=(CreateIfAbsent, LoadAndSlide))
    async def test_bytes_are_kept_as_they_are(self, store: Any) -> None:
        """The store keeps bytes without looking inside; what it returns is what it was given."""
        for value in _UNUSUAL:
            session_id = new_id()
            await store.create_if_absent(session_id, value, 60)
            expect(await store.load_and_slide(session_id, 60), value, "load_and_slide")

    @promised_by("compare_and_swap", needs=(CreateIfAbsent, CompareAndSwap))
    async def test_bytes_are_compared_as_they_are(self, store: Any) -> None:
        """`compare_and_swap` compares bytes, not what they mean: other spelling, other value."""
        session_id, stored, alike = new_id(), b'{"a":1,"b":2}', b'{"b":2, "a":1}'
        await store.create_if_absent(session_id, stored, 60)

        swapped = await store.compare_and_swap(session_id, alike, b'{"c":3}', 60)
        expect(swapped, stored, "compare_and_swap, equal JSON in other bytes")
        for value in _UNUSUAL:
            swapped = await store.compare_and_swap(session_id, stored, value, 60)
            expect(swapped, value, "compare_and_swap")
            stored = value

    @promised_by("get", needs=CreateIfAbsent)
    async def test_bytes_that_are_no_session_are_absent(self, store: Any) -> None:
        """A stored value that is not a session counts as absent for `get` and for a request."""
        for value in (b"\x80abc", b"[]", b'"text"', b"{", b'{"a":1}x', b"null"):
            session_id = new_id()
            await store.create_if_absent(session_id, value, 60)
            expect(await store.get(session_id), None, f"get, the stored bytes are {value!r}")
            expect(await repository_of(store).load(session_id), None, f"a request, {value!r}")
