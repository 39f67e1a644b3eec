"""Broken in `load_and_slide`, `create_if_absent` or `compare_and_swap`."""

import asyncio
import json
from typing import Any

from pyfly_session.ports import Moved
from tests.broken.sound import CapableSoundStore

NO_UPDATE_IS_LOST = (
    "test_two_requests_that_set_different_attributes_both_win",
    "test_a_write_that_arrives_during_the_commit_is_merged",
    "test_many_writers_at_once_lose_nothing",
    "test_two_requests_that_update_one_attribute_both_count",
    "test_an_update_that_arrives_during_the_commit_counts",
    "test_many_updates_of_one_attribute_lose_nothing",
)
NOBODY_ELSE_SEES_IT = (
    "test_a_late_write_never_reaches_the_session_of_the_next_user",
    "test_a_write_that_a_login_overtakes_does_not_reach_the_next_user",
)
NOTHING_COMES_BACK = (
    "test_a_write_after_the_logout_does_not_resurrect_the_session",
    "test_a_logout_that_arrives_during_the_commit_is_not_undone",
    "test_a_write_after_the_end_does_not_revive_the_session",
)


class GetTripsOverStrangeBytes(CapableSoundStore):
    caught_by = ("test_bytes_that_are_no_session_are_absent",)
    promise = "counts as absent"

    async def get(self, session_id: str) -> dict[str, Any] | None:
        value = self.find(session_id)
        return None if value is None else self.codec.loads(value)


class CapabilityIsNoCoroutine(CapableSoundStore):
    caught_by = ("test_the_library_accepts_the_store",)
    promise = "coroutine methods"

    def load_and_slide(self, session_id: str, ttl: int) -> Any:
        return super().load_and_slide(session_id, ttl)


class LoadWith0Slides(CapableSoundStore):
    caught_by = ("test_load_and_slide_with_0_is_no_access",)
    promise = "leaves its life as it is"

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        return await super().load_and_slide(session_id, ttl or 60)


class VerbsHaveAWorldOfTheirOwn(CapableSoundStore):
    caught_by = ("test_the_verbs_and_the_capabilities_speak_of_one_session",)
    promise = "`save` stores what `load_and_slide` returns"

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        await super().save("verbs-" + session_id, data, ttl)


class LoadDoesNotSlide(CapableSoundStore):
    caught_by = ("test_load_and_slide_gives_the_full_time", "test_reading_keeps_a_session_alive")

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | None:
        return self.find(session_id)


class LoadShortensALife(CapableSoundStore):
    caught_by = ("test_load_and_slide_never_shortens_a_life",)
    promise = "that lives longer than `ttl`"

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        value = self.find(session_id)
        if value is None:
            return self.way(session_id)
        self.put(session_id, value, ttl)
        return value


class LoadCreates(CapableSoundStore):
    caught_by = (
        "test_load_and_slide_never_creates",
        "test_a_request_after_the_logout_finds_nothing",
    )

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | None:
        value = self.find(session_id) or b"{}"
        self.put(session_id, value, ttl)
        return value


class LoadRevivesTheExpired(CapableSoundStore):
    caught_by = ("test_load_and_slide_does_not_revive_an_expired_session",)
    promise = "An expired session is absent for `load_and_slide`"

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | None:
        if session_id not in self.entries:
            return None
        self.put(session_id, self.entries[session_id][0], ttl)
        return self.find(session_id)


class LoadSavesWhatItRead(CapableSoundStore):
    caught_by = (
        "test_a_delete_during_load_and_slide_holds",
        "test_a_write_during_load_and_slide_is_kept",
    )
    promise = "while `load_and_slide` runs"

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | None:
        value = self.find(session_id)
        await asyncio.sleep(0)
        if value is not None:
            self.put(session_id, value, ttl)
        return value


class LoadWritesJsonAnew(CapableSoundStore):
    caught_by = ("test_load_and_slide_returns_what_is_stored", "test_bytes_are_kept_as_they_are")
    promise = ""

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        value = await super().load_and_slide(session_id, ttl)
        return json.dumps(json.loads(value)).encode() if isinstance(value, bytes) else value


class CreateOverwrites(CapableSoundStore):
    caught_by = ("test_create_if_absent_never_replaces",)
    promise = "changes nothing if the id is taken"

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        taken = self.find(session_id) is not None
        self.put(session_id, value, ttl)
        return not taken


class CreateChecksThenActs(CapableSoundStore):
    caught_by = ("test_of_many_creators_of_one_id_one_wins",)
    promise = "one is told True"

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        if self.find(session_id) is not None:
            return False
        await asyncio.sleep(0)
        self.put(session_id, value, ttl)
        return True


class CreateFindsTheExpiredInItsWay(CapableSoundStore):
    caught_by = ("test_create_if_absent_gives_the_full_time_and_takes_an_expired_id",)
    promise = "an expired one is absent"

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        return session_id not in self.entries and await super().create_if_absent(
            session_id, value, ttl
        )


class CreateSaysNothing(CapableSoundStore):
    caught_by = (
        "test_create_if_absent_stores_a_new_session",
        "test_repeating_an_interrupted_creation_stores_the_session",
    )
    promise = ""

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        return False


class SwapCreates(CapableSoundStore):
    caught_by = (
        "test_compare_and_swap_never_creates",
        "test_compare_and_swap_does_not_revive_an_expired_session",
        *NOTHING_COMES_BACK,
    )

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        current = self.find(session_id)
        if current not in (expected, None):
            return current
        self.put(session_id, value, ttl)
        return value


class SwapIgnoresExpected(CapableSoundStore):
    caught_by = (
        "test_compare_and_swap_keeps_what_another_writer_stored",
        "test_of_many_writers_onto_one_value_one_wins", *NO_UPDATE_IS_LOST, *NOBODY_ELSE_SEES_IT,
    )  # fmt: skip

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        return await super().compare_and_swap(session_id, self.find(session_id) or b"", value, ttl)


class SwapChecksThenActs(CapableSoundStore):
    caught_by = (
        "test_of_many_writers_onto_one_value_one_wins",
        "test_a_delete_during_compare_and_swap_holds",
        "test_many_writers_at_once_lose_nothing",
        "test_many_updates_of_one_attribute_lose_nothing",
    )

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        current = self.find(session_id)
        await asyncio.sleep(0)
        if current != expected:
            return current or self.way(session_id)
        self.put(session_id, value, ttl)
        return value


class SwapCallsAConflictAbsence(CapableSoundStore):
    caught_by = (
        "test_compare_and_swap_keeps_what_another_writer_stored",
        "test_a_repeated_compare_and_swap_finds_its_own_value",
        "test_repeating_an_interrupted_write_stores_it",
        "test_repeating_an_interrupted_update_applies_it_once",
    )

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        current = self.find(session_id)
        if current not in (expected, None):
            return None
        return await super().compare_and_swap(session_id, expected, value, ttl)


class SwapComparesMeaning(CapableSoundStore):
    """Its column is a JSON type of the database."""

    caught_by = ("test_bytes_are_compared_as_they_are",)
    promise = "compares bytes, not what they mean"

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        current = self.find(session_id)
        if current and json.loads(current) == json.loads(expected):
            expected = current
        return await super().compare_and_swap(session_id, expected, value, ttl)


class SwapKeepsTheFormerEnd(CapableSoundStore):
    caught_by = ("test_compare_and_swap_gives_the_full_time",)
    promise = "`compare_and_swap` lets the session live `ttl` seconds"

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        _, end = self.entries.get(session_id, (b"", 0.0))
        swapped = await super().compare_and_swap(session_id, expected, value, ttl)
        if swapped == value:
            self.entries[session_id] = (value, end)
        return swapped


class SwapAnswersTrue(CapableSoundStore):
    caught_by = ("test_compare_and_swap_replaces_what_the_caller_read",)
    promise = "returns `value`"

    async def compare_and_swap(self, *args: Any) -> Any:
        return await super().compare_and_swap(*args) == args[2]


class SwapSpellsItsAnswerAnew(CapableSoundStore):
    """What it answers can never be what it expects."""

    caught_by = ("test_two_requests_that_set_different_attributes_both_win",)
    promise = "at each of 64 attempts the store held what nobody wrote"

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        found = await super().compare_and_swap(session_id, expected, value, ttl)
        return json.dumps(json.loads(found)).encode() if isinstance(found, bytes) else found
