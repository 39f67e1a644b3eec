"""A store that keeps every promise, made to be broken in one place."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar

from pyfly_session import SessionCodec, SessionStoreError
from pyfly_session.errors import SessionDecodingError
from pyfly_session.ids import is_record
from pyfly_session.ports import FORWARD_SECONDS, SCAN_HEAD, SCAN_STEP, Moved, Scanned


class SoundStore:
    """Keeps every promise.

    Attributes:
        caught_by: The tests of the contract that a subclass does not pass.
        promise: A piece of what their failures say.
    """

    caught_by: ClassVar[tuple[str, ...]] = ()
    promise: ClassVar[str] = ""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.codec = SessionCodec()
        self.clock = clock
        self.entries: dict[str, tuple[bytes, float]] = {}
        self.ways: dict[str, tuple[str, float]] = {}
        self.fault: OSError | None = None

    def check(self) -> None:
        if self.fault is not None:
            raise SessionStoreError("the backend failed") from self.fault

    def find(self, session_id: str) -> bytes | None:
        self.check()
        value, end = self.entries.get(session_id, (b"", 0.0))
        return value if end > self.clock() else None

    def put(self, session_id: str, value: bytes, ttl: int) -> None:
        self.check()
        self.entries[session_id] = (value, self.clock() + ttl)

    def way(self, session_id: str) -> Moved | None:
        new_id, end = self.ways.get(session_id, ("", 0.0))
        return Moved(new_id) if end > self.clock() else None

    async def get(self, session_id: str) -> dict[str, Any] | None:
        value = self.find(session_id)
        try:
            return None if value is None else self.codec.loads(value)
        except SessionDecodingError:
            return None

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        self.put(session_id, self.codec.dumps(data), ttl)

    async def delete(self, session_id: str) -> None:
        self.check()
        self.entries.pop(session_id, None)

    async def exists(self, session_id: str) -> bool:
        return self.find(session_id) is not None


class CapableSoundStore(SoundStore):
    """Keeps every promise of every capability, too."""

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        value = self.find(session_id)
        if value is None:
            return self.way(session_id)
        if self.entries[session_id][1] < self.clock() + ttl:
            self.put(session_id, value, ttl)
        return value

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        if self.find(session_id) is not None:
            return False
        self.put(session_id, value, ttl)
        return True

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        current = self.find(session_id)
        if current != expected:
            return current or self.way(session_id)
        self.put(session_id, value, ttl)
        return value

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        current = self.find(session_id)
        if current not in (expected, value):
            return current or self.way(session_id)
        self.put(new_id, value, ttl)
        del self.entries[session_id]
        self.ways[session_id] = (new_id, self.clock() + FORWARD_SECONDS)
        return value

    async def delete_moved(self, session_id: str) -> str | None:
        await self.delete(session_id)
        way = self.way(session_id)
        return way.new_id if way else None

    def scanned(self, session_id: str) -> Scanned:
        value, end = self.entries[session_id]
        return Scanned(session_id, value[:SCAN_HEAD], len(value), end - self.clock())

    async def scan_sessions(self) -> AsyncIterator[Sequence[Scanned]]:
        session_ids = [each for each in self.entries if not is_record(each)]
        for start in range(0, len(session_ids), SCAN_STEP):
            some = session_ids[start : start + SCAN_STEP]
            yield [self.scanned(each) for each in some if self.find(each)]
