"""The figure of sessions that were ended: those that were there, each once."""

import time
from typing import Any

import pytest

from pyfly_session.core.hashed_ids import HashedIdStore
from pyfly_session.core.store_capabilities import CapableStore
from tests.management.conftest import OpenShop, Shop


@pytest.fixture(params=["memory, listened to", "valkey, listened to", "hashed", "valkey"])
def office(request: pytest.FixtureRequest, open_shop: OpenShop) -> Shop:
    """Return a shop over a kind of store, whose sessions' ends somebody is told of, or nobody."""
    kind, _, listened = request.param.partition(", ")
    told: list[Any] = []
    return open_shop(kind, listeners=[told.append] if listened else [])


def ended(office: Shop) -> int:
    return int(office.person("root").json("/manage/counts")["events"]["ended"])


def call(office: Shop, method: str, *arguments: Any, **options: Any) -> Any:
    """Call a method of the principals' sessions in the loop of the application."""

    async def called() -> Any:
        # Asked for here: a client of Redis belongs to one loop.
        return await getattr(office.container.principal_sessions(), method)(*arguments, **options)

    assert office.client.portal is not None
    return office.client.portal.call(called)


def forget(office: Shop, session_id: str | None) -> None:
    """Have a session gone from the store as if its time was over."""
    assert office.client.portal is not None

    async def delete() -> None:
        hashed = office.container.properties().hash_ids
        store = (HashedIdStore if hashed else CapableStore)(office.container.session_store())
        await store.delete(str(session_id))

    office.client.portal.call(delete)


def test_what_was_not_there_is_not_counted(office: Shop) -> None:
    assert call(office, "end", "unknown") is False
    assert (call(office, "end_all", "alice"), ended(office)) == (0, 0)


def test_what_is_ended_one_by_one_is_counted_once(office: Shop) -> None:
    alice = office.person("alice")
    assert [call(office, "end", alice.session_id) for _ in range(2)] == [True, False]
    assert ended(office) == 1


def test_of_all_only_those_that_lived_are_counted(office: Shop) -> None:
    people = [office.person("alice") for _ in range(3)]
    forget(office, people[0].session_id)
    assert (call(office, "end_all", "alice"), ended(office)) == (2, 2)


def test_a_session_that_was_getting_a_new_id_is_counted_once(office: Shop) -> None:
    alice = office.person("alice")
    # Another request is about to store it under this id.
    former = [str(alice.session_id)]
    call(office, "register", "alice", "0" * 32, time.time(), replaces=former)
    assert (call(office, "end_all", "alice"), ended(office)) == (1, 1)
    assert alice.who() == "nobody"


def test_a_session_that_got_another_id_is_found_by_the_former_one(office: Shop) -> None:
    alice = office.person("alice")
    former = alice.session_id
    assert alice.get("/turn").status_code == 200
    assert alice.session_id != former
    assert call(office, "end", former) is True
    assert (ended(office), alice.who()) == (1, "nobody")
