"""The promises of `get`, `save`, `delete` and `exists`."""

from __future__ import annotations

import inspect
import json
import uuid
from asyncio import gather
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from pyfly_session.core.store_capabilities import require_store
from pyfly_session.ids import new_id
from pyfly_session.testing.contract.intercepting_store import CAPABILITY_METHODS
from pyfly_session.testing.contract.reporting import BrokenPromiseError, expect, promised_by
from pyfly_session.testing.contract.sessions import expect_gone
from pyfly_session.testing.contract.store_fixtures import StoreHooks

_PLAIN: dict[str, Any] = {
    "_created_at": 1.5,
    "text": 'naïve 🍪 \\ "quoted" \'; --\n',
    "empty": ["", [], {}],
    "numbers": [0, -1, 1.0, 0.1, 2**53, 1e300],
    "facts": [True, False, None],
    "nested": {"cart": [{"id": 7, "tags": ["a", {"deep": [[]]}]}]},
    "": "an empty name",
    "long": "x" * 100_000,
}
# What the library stores besides JSON. A store without capabilities gets it as it is.
_RICH: list[Any] = [
    datetime(2026, 11, 23, 4, 5, 6, 789, tzinfo=UTC),
    date(2026, 11, 23),
    timedelta(days=-1, microseconds=1),
    uuid.UUID(int=1),
    Decimal("0.10"),
    b"\x00\xff",
    {1, 2},
    float("inf"),
    2**100,
    "\ud800 \x00 é",
    {"__pyfly_type__": "anything", "value": 1},
]


class FourVerbs(StoreHooks):
    """What every store promises; one class, so that a store's author reads it as a list."""

    @promised_by("get", "save", "delete", "exists")
    async def test_the_library_accepts_the_store(self, store: Any) -> None:
        """A store has its four verbs as coroutine methods, and no capability by halves."""
        require_store(store)
        for name in CAPABILITY_METHODS:
            method = getattr(store, name, None)
            if method is not None and not inspect.iscoroutinefunction(inspect.unwrap(method)):
                raise BrokenPromiseError(
                    f"{name} is no coroutine function; define it with 'async def'"
                )
        if hasattr(store, "rename") != hasattr(store, "delete_moved"):
            raise BrokenPromiseError(
                "the capability Rename is rename and delete_moved together; with one of them"
                " alone neither is used"
            )

    @promised_by("get", "exists")
    async def test_an_unknown_id_is_absence_not_an_error(self, store: Any) -> None:
        """An id that was never stored is absent: `get` answers None, `exists` False."""
        await expect_gone(store, new_id(), "an unknown id")

    @promised_by("get", "save")
    async def test_what_was_saved_comes_back(self, store: Any) -> None:
        """`get` returns what `save` stored, every JSON value with its type."""
        session_id = new_id()
        await store.save(session_id, _PLAIN, 60)

        found = await store.get(session_id)
        # Python holds True, 1 and 1.0 for equal; their JSON tells them apart.
        expect(_json(found), _json(_PLAIN), "get, after save")
        expect(await store.exists(session_id), True, "exists, after save")

    @promised_by("get", "save")
    async def test_every_storable_value_comes_back_with_its_type(self, store: Any) -> None:
        """Values that the library stores besides JSON come back (`SessionCodec` writes them)."""
        session_id = new_id()
        for value in _RICH:
            await store.save(session_id, {"value": value}, 60)
            found = await store.get(session_id)
            expect(found, {"value": value}, "get, after save")
            expect(type(found["value"]), type(value), "type of the value")

    @promised_by("get", "exists", "save")
    async def test_an_empty_session_is_a_session(self, store: Any) -> None:
        """A session without attributes is stored and alive, not absent."""
        session_id = new_id()
        await store.save(session_id, {}, 60)

        expect(await store.get(session_id), {}, "get")
        expect(await store.exists(session_id), True, "exists")

    @promised_by("save")
    async def test_save_replaces_all_that_was_there(self, store: Any) -> None:
        """`save` replaces what was there; nothing of it is merged or kept."""
        session_id = new_id()
        await store.save(session_id, {"a": 1, "b": 1}, 60)
        await store.save(session_id, {"a": 2}, 60)

        expect(await store.get(session_id), {"a": 2}, "get, after the second save")

    @promised_by("delete")
    async def test_a_deleted_session_is_gone(self, store: Any) -> None:
        """`delete` removes the session at once."""
        session_id = new_id()
        await store.save(session_id, {"a": 1}, 60)
        await store.delete(session_id)

        await expect_gone(store, session_id, "after delete")

    @promised_by("delete")
    async def test_deleting_an_absent_session_does_nothing(self, store: Any) -> None:
        """`delete` of an absent session does nothing: no error, nothing else is touched."""
        other = new_id()
        await store.save(other, {"a": 1}, 60)
        absent = new_id()
        await store.delete(absent)
        await store.delete(absent)

        expect(await store.get(other), {"a": 1}, "get of another session")

    @promised_by("save", "get", "delete")
    async def test_sessions_do_not_see_each_other(self, store: Any) -> None:
        """Each id is a session of its own, whatever else it is similar to."""
        base = new_id() + "a_b"
        alike = [base, base + "c", base[:-1], base.upper(), base.replace("_", "x"), base + "."]
        alike += ["_", "~-._", base.ljust(128, "z"), base.ljust(127, "z")]
        for each in alike:
            await store.save(each, {"id": each}, 60)
        await store.delete(base)

        await expect_gone(store, base, "the deleted one")
        for each in alike[1:]:
            expect(await store.get(each), {"id": each}, f"get, the id {each!r}")

    @promised_by("get")
    async def test_changing_what_was_loaded_changes_nothing_stored(self, store: Any) -> None:
        """`get` hands out a copy: changing it must not change what is stored."""
        session_id = new_id()
        await store.save(session_id, {"cart": [1], "deep": {"a": {}}}, 60)
        loaded = await store.get(session_id)
        loaded["cart"].append(2)
        loaded["deep"]["a"]["b"] = 1
        loaded["new"] = 1

        expect(await store.get(session_id), {"cart": [1], "deep": {"a": {}}}, "get, once more")

    @promised_by("save")
    async def test_changing_what_was_saved_changes_nothing_stored(self, store: Any) -> None:
        """`save` keeps a copy: changing the dictionary later must not change what is stored."""
        session_id = new_id()
        data: dict[str, Any] = {"cart": [1], "deep": {"a": {}}}
        await store.save(session_id, data, 60)
        data["cart"].append(2)
        data["deep"]["a"]["b"] = 1
        data["new"] = 1

        expect(await store.get(session_id), {"cart": [1], "deep": {"a": {}}}, "get, after save")

    @promised_by("get", "save", "exists", "delete")
    async def test_many_tasks_may_use_the_store_at_once(self, store: Any) -> None:
        """Any method may be called from several tasks at once."""
        numbered = {new_id(): number for number in range(20)}

        async def visit(session_id: str, number: int) -> list[Any]:
            await store.save(session_id, {"n": number}, 60)
            found = [await store.get(session_id), await store.exists(session_id)]
            await store.delete(session_id)
            return [*found, await store.get(session_id)]

        found = await gather(*(visit(*each) for each in numbered.items()))
        expect(found, [[{"n": number}, True, None] for number in range(20)], "20 tasks at once")


def _json(data: object) -> str:
    return json.dumps(data, sort_keys=True, ensure_ascii=False)
