"""Beans that follow what they are made of, and applications that follow their container."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from dependency_injector import providers

from pyfly_session.core.tasks import running_loop
from pyfly_session.errors import ConfigurationError
from pyfly_session.web.filters import WebFilter

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


_overriding = attrgetter("last_overriding")


def ready(container: Any, bean: str) -> Any:
    """Return a bean of a container; one that waits for another to be awaited is refused.

    Raises:
        ConfigurationError: Names the bean that has to be awaited: nobody does that for a request.
    """
    made = getattr(container, bean)()
    for each in made if isinstance(made, list) else (made,):
        if asyncio.isfuture(each):
            name = next(n for n in _MAY_WAIT if asyncio.isfuture(getattr(container, n)()))
            raise ConfigurationError(
                f"the bean {name} has to be awaited; await it when the application starts, and"
                f" give what it is: container.{name}.override(providers.Object(await ...))"
            )
    return made


# In the order in which they are built: the first that is a future is the cause.
_MAY_WAIT = ("clock", "redis_client", "sql_engine", "session_store", "session_id_resolver",
             "session_limit", "session_repository", "session_concurrency_controller",
             "session_filter", "client_registration_repository", "oauth2_login_handler",
             "web_filters")  # fmt: skip


class CurrentFilters:
    """Returns the container's filters, asking it again when something they are made of changed.

    To ask costs some 10 µs, so it first compares what is there with what was there: by what each
    bean is overridden, what is in the lists, and the event loop if there is a client that
    belongs to one. The store, the resolver and the configuration may be overridden by something
    that gives another object later, a provider of an outer container for example: it is called. If
    another bean is, nothing is kept.

    Args:
        container: A `pyfly_session.auto_configuration.SessionContainer`.
    """

    def __init__(self, container: Any) -> None:
        self._container = container
        self._epoch = container.epoch
        self._lists = (container.session_listeners, container.web_filters)
        self._asked = (container.config, container.session_store, container.session_id_resolver)
        self.forget()

    def __call__(self) -> Sequence[WebFilter]:
        """Return the filters that hold for a request beginning now."""
        listeners, filters = self._lists
        if (
            self._seen
            == (self._epoch(), listeners.args, filters.args, *map(_overriding, self._beans))
            and (self._seen_loop is None or asyncio.get_running_loop() is self._seen_loop)
            and (not self._looked_at or all(look() is seen for look, seen in self._looked_at))
        ):
            return self._known
        return self._ask()

    def forget(self) -> None:
        """Ask the container at the next call, whatever it looks like."""
        self._known: Sequence[WebFilter] = ()
        self._beans: list[Any] = []
        self._seen: tuple[object, ...] = ()
        self._seen_loop: object = None
        self._looked_at: list[tuple[Callable[[], object], object]] = []

    def _ask(self) -> Sequence[WebFilter]:
        # Before the answer: what changes meanwhile is noticed by the next request.
        container = self._container
        self._beans = beans = _beans_behind(container)
        args = [each.args for each in self._lists]
        seen = (self._epoch(), *args, *map(_overriding, beans))
        untold = [bean for bean in beans if _changes_untold(bean)]
        looked_at = [(bean, bean()) for bean in untold if bean in self._asked]
        known = tuple(each for each in ready(container, "web_filters") if each is not None)
        if len(looked_at) < len(untold):
            self.forget()
            return known
        self._known, self._seen, self._looked_at = known, seen, looked_at
        # To ask for the running loop is a system call before Python 3.12.
        belongs_to_one = container.redis_clients().any or container.sql_engines().any
        self._seen_loop = running_loop() if belongs_to_one else None
        return known


# Not overridden in an application that runs, or seen by what they change.
_PLUMBING = frozenset({
    "config_origins", "epoch", "memory_store", "principal_sessions", "redis_clients", "redis_store",
    "session_codec", "sql_engines", "sql_store", "store_warnings",
})  # fmt: skip
_BEHIND_LOGIN = frozenset({
    "client_registration_repository", "oauth2_back_channel_logout_filter", "oauth2_login_filter",
    "oauth2_login_handler", "oauth2_session_security_filter", "security_context_mapper",
})  # fmt: skip


def _beans_behind(container: Any) -> list[Any]:
    """Return the beans that the filters are made of, those of the application's own included."""
    left_out = _PLUMBING
    if not container.oauth2_properties().login.enabled:
        left_out |= _BEHIND_LOGIN
    return [bean for name, bean in container.providers.items() if name not in left_out]


def _changes_untold(bean: Any) -> bool:
    """Tell whether a bean may become another one without being overridden anew."""
    overriding = bean.last_overriding
    # A configuration is a kind of object, but what it gives changes.
    return isinstance(overriding, providers.Configuration) or not isinstance(
        overriding, providers.Object | None
    )
