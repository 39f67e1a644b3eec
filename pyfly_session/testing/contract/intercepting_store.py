"""A store between the code under test and a real one: counts, acts in between, interrupts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pyfly_session.core.codec import DEFAULT_CODEC

Action = Callable[[], Awaitable[object]]

VERBS = ("get", "save", "delete", "exists")
CAPABILITY_METHODS = (
    "load_and_slide",
    "create_if_absent",
    "compare_and_swap",
    "rename",
    "delete_moved",
)


class Interposed:
    """Another store with all that it can; something can be done around any call.

    Args:
        inner: The store that does the work; only the methods it has are offered.

    Attributes:
        calls: The names of the methods in the order in which they were called.
    """

    get: Any
    save: Any
    delete: Any
    exists: Any

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.codec = getattr(inner, "codec", DEFAULT_CODEC)
        self.calls: list[str] = []
        self._before: dict[str, Action] = {}
        self._after: dict[str, Action] = {}
        self._cancel_at: tuple[int, str] | None = None
        for name in (*VERBS, *CAPABILITY_METHODS):
            # On the instance: a capability is found by its methods, so a class cannot have them.
            if hasattr(inner, name):
                setattr(self, name, self._through(name))

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

    def _through(self, operation: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any) -> Any:
            return await self._call(operation, *args)

        return call

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
