"""Broken in one of the four verbs."""

import asyncio
import json
from typing import Any

from tests.broken.sound import SoundStore

AT_ITS_TTL = "test_a_session_is_gone_exactly_at_its_ttl"
LIVES = "lives for `ttl` seconds"


class SaveIgnoresTtl(SoundStore):
    caught_by = (AT_ITS_TTL,)
    promise = LIVES

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        await super().save(session_id, data, 1800)


class ExpiresOneTickLate(SoundStore):
    caught_by = (AT_ITS_TTL,)
    promise = LIVES

    def find(self, session_id: str) -> bytes | None:
        value, end = self.entries.get(session_id, (b"", 0.0))
        return value if end >= self.clock() else None


class ExpiresEarly(SoundStore):
    """It rounds to whole seconds, downwards."""

    caught_by = (AT_ITS_TTL,)
    promise = LIVES

    def find(self, session_id: str) -> bytes | None:
        value, end = self.entries.get(session_id, (b"", 0.0))
        return value if end > self.clock() + 0.5 else None


class ExistsForgetsTheTime(SoundStore):
    """It waits for a clean-up that comes later."""

    caught_by = (AT_ITS_TTL,)
    promise = LIVES

    async def exists(self, session_id: str) -> bool:
        return session_id in self.entries


class GetSlides(SoundStore):
    caught_by = ("test_looking_does_not_prolong_the_session",)
    promise = "do not count as an access"

    async def get(self, session_id: str) -> dict[str, Any] | None:
        value = self.find(session_id)
        if value is not None:
            self.put(session_id, value, 60)
        return await super().get(session_id)


class ExistsSlides(SoundStore):
    caught_by = ("test_looking_does_not_prolong_the_session",)
    promise = "do not count as an access"

    async def exists(self, session_id: str) -> bool:
        value = self.find(session_id)
        if value is not None:
            self.put(session_id, value, 60)
        return value is not None


class SaveKeepsTheFirstEnd(SoundStore):
    caught_by = ("test_saving_again_starts_the_time_anew", "test_reading_keeps_a_session_alive")
    promise = ""

    def put(self, session_id: str, value: bytes, ttl: int) -> None:
        if self.find(session_id) is None:
            super().put(session_id, value, ttl)
        else:
            self.entries[session_id] = (value, self.entries[session_id][1])


class GetHandsOutTheStoredObject(SoundStore):
    caught_by = ("test_changing_what_was_loaded_changes_nothing_stored",)
    promise = "`get` hands out a copy"

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.objects: dict[str, Any] = {}

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        await super().save(session_id, data, ttl)
        self.objects[session_id] = await super().get(session_id)

    async def get(self, session_id: str) -> dict[str, Any] | None:
        return self.objects.get(session_id) if await self.exists(session_id) else None


class SaveKeepsTheCallersObject(SoundStore):
    caught_by = ("test_changing_what_was_saved_changes_nothing_stored",)
    promise = "`save` keeps a copy"

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.objects: dict[str, dict[str, Any]] = {}

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        await super().save(session_id, data, ttl)
        self.objects[session_id] = data

    async def get(self, session_id: str) -> dict[str, Any] | None:
        if not await self.exists(session_id):
            return None
        return self.codec.loads(self.codec.dumps(self.objects[session_id]))


class SaveMerges(SoundStore):
    caught_by = ("test_save_replaces_all_that_was_there",)
    promise = "`save` replaces what was there"

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        await super().save(session_id, {**(await self.get(session_id) or {}), **data}, ttl)


class GetRaisesOnAbsent(SoundStore):
    caught_by = ("test_an_unknown_id_is_absence_not_an_error",)
    promise = "`get` answers None"

    async def get(self, session_id: str) -> dict[str, Any] | None:
        return self.codec.loads(self.entries[session_id][0])


class EmptyIsAbsent(SoundStore):
    caught_by = ("test_an_empty_session_is_a_session",)
    promise = "A session without attributes is stored"

    async def get(self, session_id: str) -> dict[str, Any] | None:
        return await super().get(session_id) or None


class DeleteRaisesOnAbsent(SoundStore):
    caught_by = ("test_deleting_an_absent_session_does_nothing",)
    promise = "`delete` of an absent session does nothing"

    async def delete(self, session_id: str) -> None:
        del self.entries[session_id]


class DeleteComesLater(SoundStore):
    caught_by = (
        "test_a_deleted_session_is_gone",
        "test_a_write_after_the_logout_does_not_resurrect_the_session",
        "test_a_request_after_the_logout_finds_nothing",
        "test_a_slow_reader_learns_of_the_logout_and_changes_nothing",
        "test_a_rotation_after_the_logout_does_not_resurrect_the_session",
    )

    async def delete(self, session_id: str) -> None:
        pass


class DeletesByPrefix(SoundStore):
    caught_by = ("test_sessions_do_not_see_each_other",)
    promise = "Each id is a session of its own"

    async def delete(self, session_id: str) -> None:
        for each in [each for each in self.entries if each.startswith(session_id)]:
            del self.entries[each]


class IdsWithoutCase(SoundStore):
    caught_by = ("test_sessions_do_not_see_each_other",)
    promise = "Each id is a session of its own"

    def find(self, session_id: str) -> bytes | None:
        return super().find(session_id.lower())

    def put(self, session_id: str, value: bytes, ttl: int) -> None:
        super().put(session_id.lower(), value, ttl)


class IdsCutOff(SoundStore):
    """Its column has 64 characters."""

    caught_by = ("test_sessions_do_not_see_each_other",)
    promise = "Each id is a session of its own"

    def find(self, session_id: str) -> bytes | None:
        return super().find(session_id[:64])

    def put(self, session_id: str, value: bytes, ttl: int) -> None:
        super().put(session_id[:64], value, ttl)


class NumbersBecomeFloats(SoundStore):
    caught_by = ("test_what_was_saved_comes_back",)
    promise = "every JSON value with its type"

    async def get(self, session_id: str) -> dict[str, Any] | None:
        data = await super().get(session_id)
        return data and json.loads(json.dumps(data), parse_int=float)


class SavesPlainJson(SoundStore):
    """Without a capability a store gets values of Python, not only those of JSON."""

    caught_by = ("test_every_storable_value_comes_back_with_its_type",)
    promise = "Values that the library stores besides JSON"

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        self.put(session_id, json.dumps(data).encode(), ttl)


class OneCursorForAll(SoundStore):
    """Between its two steps another task moves the cursor."""

    caught_by = ("test_many_tasks_may_use_the_store_at_once",)
    promise = "several tasks at once"

    async def get(self, session_id: str) -> dict[str, Any] | None:
        self.cursor = session_id
        await asyncio.sleep(0)
        return await super().get(self.cursor)


class ExistsRemembers(SoundStore):
    """It asks a replica that lags behind."""

    caught_by = (
        "test_a_slow_reader_learns_of_the_logout_and_changes_nothing",
        "test_a_slow_reader_learns_that_the_id_was_changed",
    )
    promise = "A slow request that only read learns"

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.seen: set[str] = set()

    def put(self, session_id: str, value: bytes, ttl: int) -> None:
        super().put(session_id, value, ttl)
        self.seen.add(session_id)

    async def exists(self, session_id: str) -> bool:
        return session_id in self.seen


class VerbIsNoCoroutine(SoundStore):
    caught_by = ("test_the_library_accepts_the_store",)
    promise = "coroutine methods"

    def exists(self, session_id: str) -> Any:
        return super().exists(session_id)


class FailureLooksLikeAbsence(SoundStore):
    caught_by = ("test_a_failing_backend_raises_the_error_of_the_contract",)
    promise = "A failing backend raises `SessionStoreError`"

    async def get(self, session_id: str) -> dict[str, Any] | None:
        return None if self.fault else await super().get(session_id)


class FailureIsTheDriversOwn(SoundStore):
    caught_by = ("test_a_failing_backend_raises_the_error_of_the_contract",)
    promise = "A failing backend raises `SessionStoreError`"

    def check(self) -> None:
        if self.fault is not None:
            raise self.fault
