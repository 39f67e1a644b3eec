"""The filters of an enabled application: asked of the container, cheaply, for each request."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from dependency_injector import providers

from pyfly_session.web.filters import WebFilter


class CurrentFilters:
    """Returns the container's filters, asking it again when something they depend on changed.

    Resolving a dozen providers costs some 10 µs. What can change is told by a few of them:
    the configuration, which is another object after every change; the session store and the
    resolver of ids, where the application brings its own; the epoch, a new object after
    ``reset_singletons()``; and the event loop, for a Redis client belongs to one.
    With any other override in place the container is asked every time.

    Args:
        container: A `pyfly_session.auto_configuration.SessionContainer`.
    """

    def __init__(self, container: Any) -> None:
        self._filters = container.web_filters
        self._config = container.config
        self._epoch = container.epoch
        self._store = container.session_store
        self._resolver = container.session_id_resolver
        self._beans = (
            container.clock,
            container.properties,
            container.redis_client,
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
        self._asks_store = not isinstance(container.session_store, providers.Dependency)
        self._asks_resolver = not isinstance(container.session_id_resolver, providers.Dependency)
        self._seen: tuple[object, ...] = (None,) * 5
        self._known: Sequence[WebFilter] = ()

    def __call__(self) -> Sequence[WebFilter]:
        """Return the filters that hold for a request beginning now."""
        if not self._cacheable:
            return self._ask()
        if any(map(_overriding, self._beans)):
            return self._ask()
        store = self._store
        asks = self._asks_store or store.last_overriding is not None
        resolver = self._resolver
        asks_resolver = self._asks_resolver or resolver.last_overriding is not None
        seen = (
            self._config(),
            self._epoch(),
            store() if asks else None,
            resolver() if asks_resolver else None,
            get_running_loop(),
        )
        known = self._seen
        for now, before in zip(seen, known, strict=True):
            if now is not before:
                self._known = self._ask()
                self._seen = seen
                break
        return self._known

    def forget(self) -> None:
        """Ask the container at the next call, whatever it looks like."""
        self._seen = (None,) * 5

    def _ask(self) -> Sequence[WebFilter]:
        return tuple(each for each in self._filters() if each is not None)


_overriding = attrgetter("last_overriding")
