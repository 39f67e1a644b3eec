"""Broken in what is not a session: the records that the library keeps beside them."""

from typing import Any

from pyfly_session.ids import is_acceptable, is_record
from pyfly_session.ports import Moved
from tests.broken.sound import CapableSoundStore, SoundStore

EVERYWHERE = (
    "test_a_record_is_kept_like_a_session", "test_every_capability_takes_records",
    "test_a_record_is_gone_exactly_at_its_ttl", "test_records_and_sessions_do_not_see_each_other",
)  # fmt: skip


class RefusesRecords(SoundStore):
    """It checks ids as if all of them came from clients."""

    caught_by = EVERYWHERE
    promise = "the store refused the id of a record, which has a colon"

    def put(self, session_id: str, value: bytes, ttl: int) -> None:
        if not is_acceptable(session_id):
            raise ValueError(f"not the id of a session: {session_id!r}")
        super().put(session_id, value, ttl)


class IgnoresRecords(SoundStore):
    caught_by = EVERYWHERE

    def put(self, session_id: str, value: bytes, ttl: int) -> None:
        if not is_record(session_id):
            super().put(session_id, value, ttl)


class RecordsAreCutOff(SoundStore):
    """Its column has 128 characters, enough for the ids of sessions; it is a strict database."""

    caught_by = ("test_a_record_is_kept_like_a_session",)
    promise = "the store refused the id of a record, which has a colon and up to 160 characters"

    def put(self, session_id: str, value: bytes, ttl: int) -> None:
        if len(session_id) > 128:
            raise ValueError("value too long for type character varying(128)")
        super().put(session_id, value, ttl)


class RecordsLiveForEver(SoundStore):
    caught_by = ("test_a_record_is_gone_exactly_at_its_ttl",)
    promise = "A record lives for `ttl` seconds"

    def put(self, session_id: str, value: bytes, ttl: int) -> None:
        super().put(session_id, value, 10**9 if is_record(session_id) else ttl)


class RecordsLoseTheirKind(SoundStore):
    """What is before the colon it takes for a name space of the caller's."""

    caught_by = ("test_records_and_sessions_do_not_see_each_other",)
    promise = "entries of their own"

    def find(self, session_id: str) -> bytes | None:
        return super().find(session_id.rpartition(":")[2])

    def put(self, session_id: str, value: bytes, ttl: int) -> None:
        super().put(session_id.rpartition(":")[2], value, ttl)

    async def delete(self, session_id: str) -> None:
        await super().delete(session_id.rpartition(":")[2])


class RecordsAreNotSwapped(CapableSoundStore):
    caught_by = ("test_every_capability_takes_records",)
    promise = "compare_and_swap, a record"

    async def compare_and_swap(self, session_id: str, *args: Any) -> bytes | Moved | None:
        return None if is_record(session_id) else await super().compare_and_swap(session_id, *args)
