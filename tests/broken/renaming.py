"""Broken in `rename` or `delete_moved`."""

import asyncio
from typing import Any

from pyfly_session.ports import Moved
from tests.broken.sound import CapableSoundStore, SoundStore


class HalfACapability(SoundStore):
    caught_by = ("test_the_library_accepts_the_store",)
    promise = "no capability by halves"

    rename = CapableSoundStore.rename


class RenameLeavesTheFormerId(CapableSoundStore):
    caught_by = (
        "test_the_former_id_is_absent_after_a_rename",
        "test_rotation_keeps_the_data_and_ends_the_former_id",
        "test_a_late_write_under_the_former_id_arrives_in_the_session",
        "test_of_two_rotations_exactly_one_id_survives",
    )

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        renamed = await super().rename(session_id, new_id, expected, value, ttl)
        if renamed == value:
            self.put(session_id, expected, ttl)
        return renamed


class RenameForgetsTheWay(CapableSoundStore):
    caught_by = (
        "test_latecomers_are_told_where_the_session_moved",
        "test_each_change_of_id_leaves_its_own_way",
        "test_a_late_write_under_the_former_id_arrives_in_the_session",
        "test_of_two_rotations_exactly_one_id_survives",
        "test_rotations_at_the_same_moment_leave_one_session",
        "test_a_rotation_that_another_one_overtakes_yields",
        "test_what_a_visitor_does_while_logging_in_is_kept",
        "test_a_load_under_a_former_id_is_told_that_it_moved",
        "test_a_logout_after_rotations_ends_every_id",
        "test_repeating_an_interrupted_rotation_moves_the_session",
        "test_repeating_an_interrupted_rotation_keeps_what_others_wrote",
    )

    def way(self, session_id: str) -> Moved | None:
        return None


class LoadForgetsTheWay(CapableSoundStore):
    caught_by = (
        "test_a_load_under_a_former_id_is_told_that_it_moved",
        "test_the_way_to_the_new_id_is_remembered_for_its_time",
    )

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        value = self.find(session_id)
        return None if value is None else await super().load_and_slide(session_id, ttl)


class LoadFollowsTheWay(CapableSoundStore):
    """The former id opens the session still."""

    caught_by = (
        "test_the_former_id_is_absent_after_a_rename",
        "test_a_load_under_a_former_id_is_told_that_it_moved",
        "test_rotation_keeps_the_data_and_ends_the_former_id",
    )

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        found = await super().load_and_slide(session_id, ttl)
        return await self.load_and_slide(found.new_id, ttl) if isinstance(found, Moved) else found


class LoadSlidesWhatMoved(CapableSoundStore):
    """A former id keeps the session alive."""

    caught_by = ("test_a_load_under_a_former_id_prolongs_nothing",)
    promise = "A load under a former id is no access"

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        found = await super().load_and_slide(session_id, ttl)
        if isinstance(found, Moved):
            await self.load_and_slide(found.new_id, ttl)
        return found


class TheWayIsForgottenEarly(CapableSoundStore):
    caught_by = ("test_the_way_to_the_new_id_is_remembered_for_its_time",)
    promise = "`FORWARD_SECONDS`"

    def way(self, session_id: str) -> Moved | None:
        new_id, end = self.ways.get(session_id, ("", 0.0))
        return Moved(new_id) if end > self.clock() + 1 else None


class TheWayIsRememberedForEver(CapableSoundStore):
    caught_by = ("test_the_way_to_the_new_id_is_remembered_for_its_time",)
    promise = "`FORWARD_SECONDS`"

    def way(self, session_id: str) -> Moved | None:
        return Moved(self.ways[session_id][0]) if session_id in self.ways else None


class RenameDropsTheData(CapableSoundStore):
    caught_by = (
        "test_a_renamed_session_is_under_the_new_id",
        "test_rotation_keeps_the_data_and_ends_the_former_id",
    )

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        renamed = await super().rename(session_id, new_id, expected, value, ttl)
        if renamed == value:
            self.put(new_id, b"{}", ttl)
        return renamed


class RenameIgnoresExpected(CapableSoundStore):
    caught_by = (
        "test_renaming_what_another_writer_changed_moves_nothing",
        "test_a_late_change_of_id_does_not_take_the_session_of_the_next_user",
        "test_a_write_before_the_rotation_is_taken_along",
        "test_a_write_that_arrives_during_the_rotation_is_taken_along",
    )

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        current = self.find(session_id) or expected
        return await super().rename(session_id, new_id, current, value, ttl)


class RenameCreates(CapableSoundStore):
    caught_by = (
        "test_renaming_an_absent_session_creates_nothing",
        "test_a_rotation_after_the_logout_does_not_resurrect_the_session",
        "test_rename_does_not_revive_an_expired_session",
    )

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        if self.find(session_id) is None and self.way(session_id) is None:
            self.put(session_id, expected, ttl)
        return await super().rename(session_id, new_id, expected, value, ttl)


class RenameLeavesWhatIsTheValue(CapableSoundStore):
    """It compares with what was expected only; the answer looks as if it had moved it."""

    caught_by = ("test_renaming_a_session_that_already_is_the_value_moves_it",)
    promise = "moves a session that already is `value`"

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        if self.find(session_id) == value != expected:
            return value
        return await super().rename(session_id, new_id, expected, value, ttl)


class RenameStoresTheNewIdFirst(CapableSoundStore):
    """And looks afterwards whether it was right to."""

    caught_by = ("test_renaming_again_after_an_interruption_destroys_nothing",)
    promise = "later writes are left alone"

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        self.put(new_id, value, ttl)
        renamed = await super().rename(session_id, new_id, expected, value, ttl)
        if renamed not in (value, Moved(new_id)):
            await self.delete(new_id)
        return renamed


class RenameKeepsTheFormerEnd(CapableSoundStore):
    caught_by = ("test_rename_gives_the_full_time",)
    promise = "`rename` lets the session live `ttl` seconds"

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        _, end = self.entries.get(session_id, (b"", 0.0))
        renamed = await super().rename(session_id, new_id, expected, value, ttl)
        if renamed == value:
            self.entries[new_id] = (value, end)
        return renamed


class RenameChecksThenActs(CapableSoundStore):
    caught_by = (
        "test_of_many_changes_of_id_one_wins",
        "test_a_write_during_a_rename_is_answered_truly",
        "test_a_logout_during_a_rename_can_follow_it",
        "test_rotations_at_the_same_moment_leave_one_session",
    )

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        current = self.find(session_id)
        await asyncio.sleep(0)
        if current not in (expected, value):
            return current or self.way(session_id)
        self.put(session_id, current or value, ttl)
        return await super().rename(session_id, new_id, current or value, value, ttl)


class DeleteForgetsTheWay(CapableSoundStore):
    caught_by = (
        "test_deleting_the_former_id_leaves_the_way",
        "test_repeating_an_interrupted_logout_ends_the_session_wherever_it_is",
    )

    async def delete_moved(self, session_id: str) -> str | None:
        moved = await super().delete_moved(session_id)
        self.ways.pop(session_id, None)
        return moved


class DeleteMovedDoesNotTellTheWay(CapableSoundStore):
    caught_by = (
        "test_latecomers_are_told_where_the_session_moved",
        "test_a_logout_after_rotations_ends_every_id",
        "test_a_logout_in_the_middle_of_a_rotation_ends_every_id",
        "test_repeating_an_interrupted_logout_ends_the_session_wherever_it_is",
    )

    async def delete_moved(self, session_id: str) -> str | None:
        await self.delete(session_id)
        return None


class DeleteMovedOnlyLooks(CapableSoundStore):
    caught_by = (
        "test_delete_moved_ends_a_session_that_was_not_moved",
        "test_a_logout_after_an_interrupted_rotation_ends_both_ids",
    )

    async def delete_moved(self, session_id: str) -> str | None:
        way = self.way(session_id)
        return way.new_id if way else None


class TheWayIsAPlainString(CapableSoundStore):
    caught_by = ("test_latecomers_are_told_where_the_session_moved",)
    promise = "`Moved`"

    def way(self, session_id: str) -> Any:
        way = super().way(session_id)
        return way and way.new_id
