"""The filters of an enabled application: asked of the container, cheaply, for each request."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Sequence
from operator import attrgetter, is_not
from typing import Any

from dependency_injector import providers

from pyfly_session.noticing import CHANGES, Noticing
from pyfly_session.web.filters import WebFilter


class CurrentFilters:
    """Returns the container's filters, asking it again when something they depend on changed.

    Resolving a dozen providers costs some 10 µs. So they count their changes themselves
    (`pyfly_session.noticing`): overrides, also of the configuration, and resets. Besides, the
    event loop matters, for a Redis client belongs to one. A bean that the application brings
    itself is looked at each time, or asked for if it may change without telling.

    Args:
        container: A `pyfly_session.auto_configuration.SessionContainer`.
    """

    def __init__(self, container: Any) -> None:
        self._filters = container.web_filters
        self._epoch = container.epoch
        self._own = (container.session_store, container.session_id_resolver)
        self._beans = (
            container.config,
            *self._own,
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
        self._silent = tuple(bean for bean in self._beans if not isinstance(bean, Noticing))
        ours = isinstance(container.session_filter, providers.Dependency)
        self._cacheable = ours and isinstance(container.web_filters, providers.List)
        self.forget()

    def __call__(self) -> Sequence[WebFilter]:
        """Return the filters that hold for a request beginning now."""
        if (
            CHANGES.count == self._seen_count
            and get_running_loop() is self._seen_loop
            and not self._asked
            and not self._silent
        ):
            return self._known
        return self._look()

    def forget(self) -> None:
        """Ask the container at the next call, whatever it looks like."""
        self._known: Sequence[WebFilter] = ()
        self._seen_count = -1
        self._seen_epoch: object = None
        self._seen_loop: object = None
        self._seen_overriding: tuple[object, ...] = ()
        self._asked: tuple[Any, ...] = ()
        self._answers: list[object] = []

    def _look(self) -> Sequence[WebFilter]:
        """Ask the container, or only for what changes without telling."""
        count = CHANGES.count
        seen = (self._epoch(), get_running_loop(), tuple(map(_overriding, self._beans)))
        answers = [bean() for bean in self._asked]
        before: tuple[object, ...] = (self._seen_epoch, self._seen_loop, self._seen_overriding)
        if before == seen and not any(map(is_not, answers, self._answers)):
            self._seen_count = count
            return self._known
        known = tuple(each for each in self._filters() if each is not None)
        own = [bean for bean in self._own if _is_own(bean)]
        others = (bean for bean in self._beans[1:] if bean not in self._own)
        if not self._cacheable or any(map(_changes_untold, others)):
            # Nothing is kept of what may be another one with the next request.
            self.forget()
            return known
        self._seen_count = count
        self._seen_epoch, self._seen_loop, self._seen_overriding = seen
        self._asked = tuple(own)
        self._answers = [bean() for bean in own]
        self._known = known
        return known


def _is_own(bean: Any) -> bool:
    """Tell whether the application brings this bean itself."""
    return bean.last_overriding is not None or not isinstance(bean, providers.Dependency)


def _changes_untold(bean: Any) -> bool:
    """Tell whether a bean may become another one without being overridden anew."""
    return not isinstance(bean.last_overriding, providers.Object | None)


_overriding = attrgetter("last_overriding")
