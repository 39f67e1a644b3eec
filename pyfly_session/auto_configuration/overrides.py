"""Applications that follow their container, whatever it is overridden by later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from dependency_injector import providers

from pyfly_session.auto_configuration.container import PLUMBING
from pyfly_session.auto_configuration.oauth2 import OAuth2AutoConfiguration
from pyfly_session.core.tasks import running_loop
from pyfly_session.errors import ConfigurationError
from pyfly_session.web.filters import WebFilter

_overriding = attrgetter("last_overriding")


def ready(container: Any, bean: str) -> Any:
    """Return a bean of a container; one that waits for another to be awaited is refused.

    Raises:
        ConfigurationError: Names the bean that has to be awaited: nobody does that for a request.
    """
    made = getattr(container, bean)()
    for each in made if isinstance(made, list) else (made,):
        if asyncio.isfuture(each):
            # In the order of their declaration, so the first that has to be awaited is the cause.
            given = ((name, one) for name, one in container.providers.items() if one.overridden)
            name = next((name for name, one in given if asyncio.isfuture(one())), bean)
            raise ConfigurationError(
                f"the bean {name} has to be awaited; await it when the application starts, and"
                f" give what it is: container.{name}.override(providers.Object(await ...))"
            )
    return made


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
        changing = [bean for bean in beans if _may_change_without_an_override(bean)]
        looked_at = [(bean, bean()) for bean in changing if bean in self._asked]
        known = tuple(each for each in ready(container, "web_filters") if each is not None)
        if len(looked_at) < len(changing):
            self.forget()
            return known
        self._known, self._seen, self._looked_at = known, seen, looked_at
        # To ask for the running loop is a system call before Python 3.12.
        belongs_to_one = container.redis_clients().any or container.sql_engines().any
        self._seen_loop = running_loop() if belongs_to_one else None
        return known


# Those of the login are looked at only while it is enabled.
_OF_LOGIN = OAuth2AutoConfiguration.cls_providers.keys() - {"oauth2_properties", "web_filters"}


def _beans_behind(container: Any) -> list[Any]:
    """Return the beans that the filters are made of, those of the application's own included."""
    login = container.oauth2_properties().login.enabled
    left_out = PLUMBING if login else PLUMBING | _OF_LOGIN
    return [bean for name, bean in container.providers.items() if name not in left_out]


def _may_change_without_an_override(bean: Any) -> bool:
    """Return whether a bean may become another one without being overridden anew."""
    overriding = bean.last_overriding
    # A configuration is a kind of object, but what it gives changes.
    return isinstance(overriding, providers.Configuration) or not isinstance(
        overriding, providers.Object | None
    )
