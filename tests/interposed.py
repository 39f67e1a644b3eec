"""Stores between the code under test and a real store: they count, act in between, interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pyfly_session.codec import DEFAULT_CODEC
from pyfly_session.ports import Moved

Action = Callable[[], Awaitable[object]]


class InterposedVerbs:
    """The four verbs of another store; something can be done around any call."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.codec = getattr(inner, "codec", DEFAULT_CODEC)
        self.calls: list[str] = []
        self._before: dict[str, Action] = {}
        self._after: dict[str, Action] = {}
        self._cancel_at: tuple[int, str] | None = None

    def before(self, operation: str, action: Action, *, always: bool = False) -> None:
        """Do something before the operation reaches the store, once or every time."""
        self._before[operation] = action if always else self._once(self._before, operation, action)

    def after(self, operation: str, action: Action) -> None:
        """Do something once, after the store did the operation and before the caller knows."""
        self._after[operation] = self._once(self._after, operation, action)

    def cancel_at(self, call: int, when: str) -> None:
        """Cancel the caller at its nth call from now, before or after the store did it."""
        self._cancel_at = (len(self.calls) + call, when)

    @property
    def cancelled(self) -> bool:
        """True once the cancellation has happened."""
        return self._cancel_at is None

    @staticmethod
    def _once(actions: dict[str, Action], operation: str, action: Action) -> Action:
        async def act() -> None:
            del actions[operation]
            await action()

        return act

    async def _call(self, operation: str, *args: Any) -> Any:
        self.calls.append(operation)
        number = len(self.calls) - 1
        self._interrupt(number, "before")
        if operation in self._before:
            await self._before[operation]()
        result = await getattr(self.inner, operation)(*args)
        if operation in self._after:
            await self._after[operation]()
        self._interrupt(number, "after")
        return result

    def _interrupt(self, number: int, when: str) -> None:
        if self._cancel_at == (number, when):
            self._cancel_at = None
            raise asyncio.CancelledError

    async def get(self, session_id: str) -> dict[str, Any] | None:
        return await self._call("get", session_id)  # type: ignore[no-any-return]

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        await self._call("save", session_id, data, ttl)

    async def delete(self, session_id: str) -> None:
        await self._call("delete", session_id)

    async def exists(self, session_id: str) -> bool:
        return await self._call("exists", session_id)  # type: ignore[no-any-return]


class InterposedStore(InterposedVerbs):
    """As `InterposedVerbs`, with every capability of the other store."""

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | None:
        return await self._call("load_and_slide", session_id, ttl)  # type: ignore[no-any-return]

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        return await self._call("create_if_absent", session_id, value, ttl)  # type: ignore[no-any-return]

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        return await self._call("compare_and_swap", session_id, expected, value, ttl)  # type: ignore[no-any-return]

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        return await self._call("rename", session_id, new_id, expected, value, ttl)  # type: ignore[no-any-return]

    async def delete_moved(self, session_id: str) -> str | None:
        return await self._call("delete_moved", session_id)  # type: ignore[no-any-return]


def interpose(store: Any) -> InterposedVerbs:
    """Return the store with something between it and its user; it keeps its capabilities."""
    return InterposedStore(store) if hasattr(store, "rename") else InterposedVerbs(store)
