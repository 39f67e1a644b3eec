"""What the author of a store may leave out, and what happens then."""

import anyio.lowlevel
import pytest

from pyfly_session import SessionStore
from pyfly_session.testing import Clock, SessionStoreContract
from pyfly_session.testing.contract.expiry import Expiry
from pyfly_session.testing.contract.store_fixtures import _no_store
from pyfly_session.testing.contract.time_travel import Timeline
from tests.broken.sound import CapableSoundStore


class TestStoreWithATimeOfItsOwn(Expiry):
    """Nobody moves its time: the tests wait, here for a sleep that takes no time."""

    @pytest.fixture
    def wall(self, monkeypatch: pytest.MonkeyPatch) -> Clock:
        wall = Clock()

        async def sleep(seconds: float) -> None:
            wall.advance(seconds)

        monkeypatch.setattr(anyio, "sleep", sleep)
        return wall

    @pytest.fixture
    def store(self, wall: Clock) -> SessionStore:
        return CapableSoundStore(wall)

    async def test_it_is_found_out_that_tests_have_to_wait(
        self, store: SessionStore, timeline: Timeline
    ) -> None:
        assert not timeline.exact
        assert timeline.ttl == 1


class TestFixtureThatIsACoroutine(Expiry):
    @pytest.fixture
    async def store(self, clock: Clock) -> SessionStore:
        await anyio.lowlevel.checkpoint()
        return CapableSoundStore(clock)

    async def test_it_is_found_out_that_the_clock_moves_the_store(
        self, store: SessionStore, timeline: Timeline
    ) -> None:
        assert timeline.exact


def test_without_a_store_the_author_is_told_what_to_write() -> None:
    class TestMine(SessionStoreContract):
        pass

    with pytest.raises(pytest.fail.Exception, match="TestMine has no fixture 'store': define one"):
        _no_store(TestMine())


async def test_the_default_hooks_say_that_they_are_not_there() -> None:
    contract = SessionStoreContract()
    assert contract.break_backend(None) is None
    with pytest.raises(NotImplementedError):
        await contract.advance(None, 1)
