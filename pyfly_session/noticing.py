"""Providers that take note when they are overridden, so that nobody has to look at each."""

from __future__ import annotations

from typing import Any, TypeVar

from dependency_injector import providers

T = TypeVar("T")


class Changes:
    """Counts what happened to any noticing provider of this process."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


CHANGES = Changes()


class Noticing:
    """Mixed into a provider: counts every override, its end, and every reset."""

    def override(self, provider: Any) -> Any:
        """As the provider's own."""
        CHANGES.count += 1
        return super().override(provider)  # type: ignore[misc]

    def reset_last_overriding(self) -> None:
        """As the provider's own."""
        CHANGES.count += 1
        super().reset_last_overriding()  # type: ignore[misc]

    def reset_override(self) -> None:
        """As the provider's own."""
        CHANGES.count += 1
        super().reset_override()  # type: ignore[misc]


class NoticingCallable(Noticing, providers.Callable[T]):
    """A ``providers.Callable``."""


class NoticingDependency(Noticing, providers.Dependency[T]):
    """A ``providers.Dependency``."""


class NoticingObject(Noticing, providers.Object[T]):
    """A ``providers.Object``."""


class NoticingConfiguration(Noticing, providers.Configuration):
    """A ``providers.Configuration``, which is overridden by every change of it."""


class NoticingList(Noticing, providers.List):
    """A ``providers.List``."""


class NoticingSingleton(Noticing, providers.ThreadSafeSingleton[T]):
    """A ``providers.ThreadSafeSingleton``."""

    def reset(self) -> Any:
        """As the provider's own."""
        CHANGES.count += 1
        return super().reset()
