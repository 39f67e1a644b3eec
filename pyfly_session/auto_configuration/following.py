"""Beans that follow what they are made of, and those that there are on a condition only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
from dependency_injector import providers

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
    """Services have to be the same object; properties and texts are compared by value."""
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
    return providers.Callable(
        Following.get, providers.ThreadSafeSingleton(Following, build), *inputs
    )


def _switch(enabled: object) -> str:
    return "on" if enabled is True else "off"


def when(enabled: Any, bean: Any) -> Any:
    """Return a provider of a bean, or of None; builds nothing then.

    Args:
        enabled: A provider of what has to be True.
        bean: The provider of the bean.
    """
    return providers.Selector(
        providers.Callable(_switch, enabled), on=bean, off=providers.Object(None)
    )
