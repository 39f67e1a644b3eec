"""A store around a store: a test acts, or fails the call, before and after any call."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from pyfly_session import SessionStore, SessionStoreUnavailableError, ids


@dataclass(frozen=True)
class Call:
    """One call of the store.

    Attributes:
        name: The method.
        key: The id that it is about.
        number: Which call of this store it is, counted from 0.
    """

    name: str
    key: str
    number: int

    @property
    def is_about_a_session(self) -> bool:
        """False for records and notes about sessions: no client can send their ids."""
        return ids.is_acceptable(self.key)

    @property
    def writes(self) -> bool:
        return self.name not in ("get", "exists") and not self.name.startswith("load")

    @property
    def stores_a_session(self) -> bool:
        """True if the call creates, changes or moves a session, but does not end one."""
        return self.writes and self.is_about_a_session and not self.name.startswith("delete")


Hook = Callable[[Call], Awaitable[object]]


async def _nothing(call: Call) -> None:
    pass


class WatchedStore:
    """Passes every call on to another store, whatever that store can do.

    Attributes:
        calls: Every call so far.
        before: Awaited before each call reaches the store; what it raises, the caller gets.
        after: Awaited after the store has done it, before the caller knows.
    """

    def __init__(self, inner: SessionStore) -> None:
        self.calls: list[Call] = []
        self.before: Hook = _nothing
        self.after: Hook = _nothing
        for name in dir(inner):
            method = getattr(inner, name)
            if name.startswith("_") or (not callable(method) and name != "codec"):
                continue
            watched = inspect.iscoroutinefunction(method)
            # On the instance: a store's capabilities are found by its methods.
            setattr(self, name, self._watched(name, method) if watched else method)

    @property
    def store(self) -> SessionStore:
        return cast("SessionStore", self)

    def recover(self) -> None:
        """Let every call pass again."""
        self.before = self.after = _nothing

    def fail(self, which: Callable[[Call], bool] = lambda call: True) -> None:
        """Fail these calls before they reach the store."""

        async def refuse(call: Call) -> None:
            if which(call):
                raise SessionStoreUnavailableError("the server is gone", operation=call.name)

        self.before = refuse

    def at(self, number: int, action: Callable[[], Awaitable[object]]) -> None:
        """Act once: before the call that has this number, counted from now."""
        wanted = len(self.calls) + number

        async def act(call: Call) -> None:
            if call.number == wanted:
                await action()

        self.before = act

    def _watched(self, name: str, method: Callable[..., Awaitable[Any]]) -> Any:
        async def call(key: str, *args: Any, **options: Any) -> Any:
            this = Call(name, key, len(self.calls))
            self.calls.append(this)
            await self.before(this)
            result = await method(key, *args, **options)
            await self.after(this)
            return result

        return call
