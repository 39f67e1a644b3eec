"""Beans that may be overridden at any time: providers that count it, and those who follow them.

A bean is built once for each set of inputs, and a running application asks the container for
its filters at each request, cheaply.
"""

from __future__ import annotations

import threading
from asyncio import get_running_loop
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
from dependency_injector import providers

from pyfly_session.web.filters import WebFilter

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


_KEPT_BEANS = 4


class Following:
    """Builds a bean once for each set of inputs: a singleton that notices overrides.

    The latest few are kept, so that the end of an override brings the former bean back.
    """

    def __init__(self, build: Callable[..., Any]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._made: tuple[tuple[tuple[Any, ...], Any], ...] = ()

    def get(self, *inputs: Any) -> Any:
        """Return the bean for these inputs."""
        for known, bean in self._made:
            if _same(known, inputs):
                return bean
        with self._lock:
            for known, bean in self._made:
                if _same(known, inputs):
                    return bean
            bean = self._build(*inputs)
            self._made = ((inputs, bean), *self._made[: _KEPT_BEANS - 1])
            return bean


def _same(before: tuple[Any, ...], now: tuple[Any, ...]) -> bool:
    """Compare services by identity and values, that is properties, by what they say."""
    if len(before) != len(now):
        return False
    for old, new in zip(before, now, strict=True):
        if old is new or (isinstance(new, msgspec.Struct | str) and old == new):
            continue
        if not (isinstance(old, tuple) and isinstance(new, tuple) and _same(old, new)):
            return False
    return True


def following(build: Callable[..., Any], *inputs: Any) -> providers.Callable[Any]:
    """Return a provider of what ``build`` makes of the inputs, which are providers too."""
    return NoticingCallable(Following.get, providers.ThreadSafeSingleton(Following, build), *inputs)


class CurrentFilters:
    """Returns the container's filters, asking it again when something they depend on changed.

    Resolving a dozen providers costs some 10 µs. So they count their changes themselves
    (`Noticing`): overrides, also of the configuration, and resets. Besides, the event loop
    matters where there is a Redis client, which belongs to one. What the application brings
    itself, and an outer container's configuration, may change without telling: these are looked
    at, or asked for, with each request.

    Args:
        container: A `pyfly_session.auto_configuration.SessionContainer`.
    """

    def __init__(self, container: Any) -> None:
        self._filters = container.web_filters
        self._redis_clients = container.redis_clients
        # Asked for, where they may become another one without telling.
        self._asked = (container.config, container.session_store, container.session_id_resolver)
        self._beans = (
            container.clock,
            container.properties,
            container.redis_client,
            container.session_listeners,
            container.session_repository,
            container.session_limit,
            container.session_concurrency_controller,
            container.session_filter,
            container.web_filters,
            *(
                bean
                for bean in container.oauth2.providers.values()
                # Those are what the container itself hands down.
                if not isinstance(bean, providers.Dependency)
            ),
        )
        ours = isinstance(container.session_filter, providers.Dependency)
        self._cacheable = ours and isinstance(container.web_filters, providers.List)
        self.forget()

    def __call__(self) -> Sequence[WebFilter]:
        """Return the filters that hold for a request beginning now."""
        if (
            CHANGES.count == self._seen_count
            and (self._seen_loop is None or get_running_loop() is self._seen_loop)
            and (not self._looked_at or self._looks_the_same())
        ):
            return self._known
        return self._ask()

    def forget(self) -> None:
        """Ask the container at the next call, whatever it looks like."""
        self._known: Sequence[WebFilter] = ()
        self._seen_count = -1
        self._seen_loop: object = None
        # What does not count its changes: a way to look at it, and what was seen last.
        self._looked_at: list[tuple[Callable[[], object], object]] = []

    def _looks_the_same(self) -> bool:
        return all(look() is seen for look, seen in self._looked_at)

    def _ask(self) -> Sequence[WebFilter]:
        # Before the answer: what changes meanwhile is noticed by the next request.
        count, loop = CHANGES.count, get_running_loop()
        known = tuple(each for each in self._filters() if each is not None)
        if not self._cacheable or any(map(_changes_untold, self._beans)):
            # Nothing is kept of what may be another one with the next request.
            self.forget()
            return known
        looks: list[Callable[[], object]] = [
            bean for bean in self._asked if _changes_untold(bean) or not isinstance(bean, Noticing)
        ]
        looks += [
            partial(getattr, bean, "last_overriding")
            for bean in self._beans
            if not isinstance(bean, Noticing)
        ]
        self._looked_at = [(look, look()) for look in looks]
        self._known, self._seen_count = known, count
        # To ask for the running loop is a system call before Python 3.12.
        self._seen_loop = loop if self._redis_clients().any else None
        return known


def _changes_untold(bean: Any) -> bool:
    """Tell whether a bean may become another one without being overridden anew."""
    overriding = bean.last_overriding
    # A configuration is a kind of object, but what it gives changes.
    return isinstance(overriding, providers.Configuration) or not isinstance(
        overriding, providers.Object | None
    )
