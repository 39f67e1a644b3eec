"""The filters of an enabled application: asked of the container, cheaply, for each request."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dependency_injector import providers

from pyfly_session.noticing import CHANGES, Noticing
from pyfly_session.web.filters import WebFilter


class CurrentFilters:
    """Returns the container's filters, asking it again when something they depend on changed.

    Resolving a dozen providers costs some 10 µs. So they count their changes themselves
    (`pyfly_session.noticing`): overrides, also of the configuration, and resets. Besides, the
    event loop matters where there is a Redis client, which belongs to one. What the application
    brings itself, and an outer container's configuration, may change without telling: these are
    looked at, or asked for, with each request.

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
