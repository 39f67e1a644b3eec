"""`Circuit`: keeps a dead server from costing every request its full timeout."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from pyfly_session.adapters.redis.errors import UNREACHED
from pyfly_session.errors import SessionStoreUnavailableError


class Circuit:
    """Counts failures to reach a server; after some in a row, refuses calls for a while.

    Closed, calls pass. Open, they fail at once. When the pause is over one call passes, as a
    probe: if it succeeds the circuit closes, if it fails the pause begins anew. An answer of
    the server that happens to be an error is an answer, and counts as success.

    Shared by tasks and event loops; its state is a counter and a time, and a lost race costs
    one probe more.

    Args:
        failures: How many failures in a row open the circuit; 0 never opens it.
        pause: Seconds that it stays open.
        clock: Seconds on a scale of its own.

    Attributes:
        answers: How often the server has answered.

    Source: M. Nygard, "Release It!", chapter "Circuit Breaker".
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        pause: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = failures
        self._pause = pause
        self._clock = clock
        self._failed = 0
        self.answers = 0
        self._open_until = 0.0

    def another(self) -> Circuit:
        """Return a closed circuit with the same settings, for another server."""
        return Circuit(failures=self._threshold, pause=self._pause, clock=self._clock)

    @property
    def is_open(self) -> bool:
        """True while calls are refused."""
        return self._blocked and self._clock() < self._open_until

    @property
    def _blocked(self) -> bool:
        return 0 < self._threshold <= self._failed

    def enter(self, operation: str) -> None:
        """Let a call pass, or refuse it.

        Raises:
            SessionStoreUnavailableError: The circuit is open.
        """
        if not self._blocked:
            return
        rest = self._open_until - self._clock()
        if rest > 0:
            raise SessionStoreUnavailableError(
                f"the session store was not reached {self._failed} times in a row;"
                f" trying again in {rest:.1f} s",
                operation=operation,
            )
        # This call is the probe; the others go on waiting for its outcome.
        self._open_until = self._clock() + self._pause

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Take note of what becomes of a call that was let pass."""
        answers = self.answers
        try:
            yield
        except UNREACHED:
            self.failed(answers)
            raise
        except Exception:
            # An answer, if not the hoped-for one: the server is there.
            self.succeeded()
            raise
        self.succeeded()

    def succeeded(self) -> None:
        """Take note that the server answered."""
        self._failed = 0
        self.answers += 1

    def failed(self, answers: int | None = None) -> None:
        """Take note that the server was not reached.

        Args:
            answers: How many answers there were when the call began; if there were more since, the
                server is there, however slow it is.
        """
        if answers not in (None, self.answers):
            return
        self._failed += 1
        if self._blocked:
            self._open_until = self._clock() + self._pause
