"""Broken in `scan_sessions`."""

from collections.abc import AsyncIterator, Sequence

from pyfly_session.ports import SCAN_STEP, Scanned
from tests.broken.sound import CapableSoundStore

WHAT_IT_IS = ("test_a_scan_tells_of_each_session_what_it_is",)
ALL_THE_TIME = ("test_a_scan_goes_on_in_short_steps_while_others_write",)
NO_ACCESS = ("test_to_be_scanned_is_no_access",)


class ScanTellsOfRecords(CapableSoundStore):
    caught_by = WHAT_IT_IS
    promise = "and of nothing else"

    async def scan_sessions(self) -> AsyncIterator[Sequence[Scanned]]:
        yield [self.scanned(each) for each in [*self.entries] if self.find(each)]


class ScanTellsTheSizeOfTheFront(CapableSoundStore):
    caught_by = WHAT_IT_IS
    promise = "gives id, front, size and time left"

    def scanned(self, session_id: str) -> Scanned:
        told = super().scanned(session_id)
        return told._replace(size=len(told.head))


class ScanGivesAllAtOnce(CapableSoundStore):
    caught_by = ALL_THE_TIME
    promise = "in short steps"

    async def scan_sessions(self) -> AsyncIterator[Sequence[Scanned]]:
        yield [each async for step in super().scan_sessions() for each in step]


class ScanCountsPlaces(CapableSoundStore):
    """Its cursor is a number of places, and a session that goes moves all others by one."""

    caught_by = ALL_THE_TIME
    promise = "every session that is there all the time"

    async def scan_sessions(self) -> AsyncIterator[Sequence[Scanned]]:
        place = 0
        while some := [*self.entries][place : place + SCAN_STEP // 2]:
            yield [self.scanned(each) for each in some if self.find(each)]
            place += len(some)


class ScanExtends(CapableSoundStore):
    caught_by = NO_ACCESS
    promise = "extends no life"

    def scanned(self, session_id: str) -> Scanned:
        self.put(session_id, self.entries[session_id][0], 60)
        return super().scanned(session_id)
