"""The filters of an enabled application: asked of the container, cheaply, for each request."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Sequence
from operator import attrgetter, is_not
from typing import Any

from dependency_injector import providers

from pyfly_session.web.filters import WebFilter


class CurrentFilters:
    """Returns the container's filters, asking it again when something they depend on changed.

    Resolving a dozen providers costs some 10 µs. What can change is told by a few things that
    cost little to look at: what overrides each bean, the configuration among them, which is
    overridden anew by every change; the epoch, a new object after ``reset_singletons()``; the
    event loop, for a Redis client belongs to one. A bean of the application's own that is not
    simply an object is asked for each time.

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
        ours = isinstance(container.session_filter, providers.Dependency)
        self._cacheable = ours and isinstance(container.web_filters, providers.List)
        self._known: Sequence[WebFilter] = ()
        self.forget()

    def __call__(self) -> Sequence[WebFilter]:
        """Return the filters that hold for a request beginning now."""
        if (
            self._epoch() is self._seen_epoch
            and get_running_loop() is self._seen_loop
            and tuple(map(_overriding, self._beans)) == self._seen_overriding
            and not self._asked
        ):
            return self._known
        return self._look()

    def forget(self) -> None:
        """Ask the container at the next call, whatever it looks like."""
        self._seen_epoch: object = None
        self._seen_loop: object = None
        self._seen_overriding: tuple[object, ...] = ()
        self._asked: tuple[Any, ...] = ()
        self._answers: list[object] = []

    def _look(self) -> Sequence[WebFilter]:
        """Ask the container, or only for what changes without telling."""
        seen = (self._epoch(), get_running_loop(), tuple(map(_overriding, self._beans)))
        answers = [bean() for bean in self._asked]
        known: tuple[object, ...] = (self._seen_epoch, self._seen_loop, self._seen_overriding)
        if known == seen and not any(map(is_not, answers, self._answers)):
            return self._known
        self._known = tuple(each for each in self._filters() if each is not None)
        own = [bean for bean in self._own if _is_own(bean)]
        others = (bean for bean in self._beans[1:] if bean not in self._own)
        if self._cacheable and not any(map(_changes_untold, others)):
            self._seen_epoch, self._seen_loop, self._seen_overriding = seen
            self._asked = tuple(own)
            self._answers = [bean() for bean in own]
        else:
            self.forget()
        return self._known


def _is_own(bean: Any) -> bool:
    """Tell whether the application brings this bean itself."""
    return bean.last_overriding is not None or not isinstance(bean, providers.Dependency)


def _changes_untold(bean: Any) -> bool:
    """Tell whether a bean may become another one without being overridden anew."""
    return not isinstance(bean.last_overriding, providers.Object | None)


_overriding = attrgetter("last_overriding")
