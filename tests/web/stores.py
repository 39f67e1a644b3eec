"""A store around a store: it counts calls, fails on demand and stops where a test wants it."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Literal, cast

from pyfly_session import SessionStore, SessionStoreError

METHODS = (
    "get", "save", "delete", "exists", "load_and_slide", "create_if_absent", "compare_and_swap",
    "rename", "delete_moved",
)  # fmt: skip


class Hold:
    """One call of the store that waits until it is released.

    Attributes:
        reached: The call has arrived.
        release: Lets it go on.
    """

    def __init__(self, number: int, where: Literal["before", "after"]) -> None:
        self.number = number
        self.where = where
        self.reached = asyncio.Event()
        self.release = asyncio.Event()


class Probe:
    """Passes every call on to another store, with all of that store's capabilities.

    Attributes:
        calls: Name and id of every call so far.
        new_ids: Every id under which something was stored.
        down: What every call raises, or None.
    """

    def __init__(self, inner: SessionStore) -> None:
        self.inner: Any = inner
        self.codec: Any
        self.calls: list[tuple[str, str]] = []
        self.new_ids: list[str] = []
        self.down: Exception | None = None
        self.down_for: frozenset[str] = frozenset(METHODS)
        self._failures_left = -1
        self._hold: Hold | None = None
        for fact in ("codec", "keeps_life", "has_slid"):
            if hasattr(inner, fact):
                setattr(self, fact, getattr(inner, fact))
        for name in METHODS:
            method = getattr(inner, name, None)
            if inspect.iscoroutinefunction(method):
                setattr(self, name, self._probed(name, method))

    @property
    def store(self) -> SessionStore:
        return cast("SessionStore", self)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    @property
    def loads(self) -> int:
        """How many calls it takes to load a session."""
        return 1 if hasattr(self, "load_and_slide") else 2

    def fail(self, *names: str, error: Exception | None = None, times: int = -1) -> None:
        """Let every call fail, or those with these names; for ever, or so many times."""
        self.down = error or SessionStoreError("the server is gone", operation="test")
        self.down_for = frozenset(names or METHODS)
        self._failures_left = times

    def recover(self) -> None:
        self.down = None

    def hold(self, number: int = 1, where: Literal["before", "after"] = "before") -> Hold:
        """Stop at the n-th call from now, before or after the inner store has done it."""
        self._hold = Hold(len(self.calls) + number, where)
        return self._hold

    def _probed(self, name: str, method: Callable[..., Awaitable[Any]]) -> Any:
        async def call(session_id: str, *args: Any) -> Any:
            self.calls.append((name, session_id))
            if name in ("rename", "save"):
                self.new_ids.append(args[0] if name == "rename" else session_id)
            hold = self._hold if self._hold and self._hold.number == len(self.calls) else None
            if hold and hold.where == "before":
                hold.reached.set()
                await hold.release.wait()
            if self.down is not None and name in self.down_for and self._failures_left:
                self._failures_left -= 1
                raise self.down
            result = await method(session_id, *args)
            if hold and hold.where == "after":
                hold.reached.set()
                await hold.release.wait()
            return result

        return call
