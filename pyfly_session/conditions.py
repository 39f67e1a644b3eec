"""The conditions report: which bean was chosen, and why. Builds nothing to find out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dependency_injector import providers

from pyfly_session.auto_configuration import SessionContainer
from pyfly_session.errors import ConfigurationError
from pyfly_session.properties import SessionProperties, mask_url
from pyfly_session.store_configuration import choose_store


@dataclass(frozen=True, slots=True)
class Condition:
    """What became of one bean.

    Attributes:
        bean: Name of the provider in the container.
        choice: What it gives: a class, or ``none``.
        reason: The property, missing package or override that decided, and where it was set.
    """

    bean: str
    choice: str
    reason: str


def conditions(container: Any) -> list[Condition]:
    """Explain every bean of a `SessionContainer`.

    Raises:
        ConfigurationError: The configuration itself is wrong.
    """
    properties: SessionProperties = container.properties()
    origins: Mapping[str, str] = container.config_origins()
    return [
        _filter_condition(container, properties, origins),
        _store_condition(container, properties, origins),
        _client_condition(container, properties, origins),
    ]


def container_report(container: Any) -> str:
    """Return the conditions as lines of text; credentials are masked."""
    rows = conditions(container)
    names = max(len(row.bean) for row in rows)
    choices = max(len(row.choice) for row in rows)
    return "\n".join(f"{row.bean:<{names}}  {row.choice:<{choices}}  {row.reason}" for row in rows)


def _filter_condition(
    container: Any, properties: SessionProperties, origins: Mapping[str, str]
) -> Condition:
    bean = "session_filter"
    if own := _own(container, bean):
        return Condition(bean, own, _BACKS_OFF)
    if properties.enabled is True:
        return Condition(
            bean,
            "SessionFilter",
            "pyfly.session.enabled is true"
            + _at(origins, "enabled", default=properties.enabled is None),
        )
    value = "not set" if properties.enabled is None else "false"
    return Condition(
        bean,
        "none",
        f"pyfly.session.enabled is {value}"
        + _at(origins, "enabled", default=properties.enabled is None),
    )


def _store_condition(
    container: Any, properties: SessionProperties, origins: Mapping[str, str]
) -> Condition:
    bean = "session_store"
    if own := _own(container, bean):
        return Condition(bean, own, _BACKS_OFF)
    try:
        kind, reason = choose_store(properties, origins)
    except ConfigurationError as error:
        return Condition(bean, "none", f"pyfly.session.fail-fast is true: {error}")
    chosen = "RedisSessionStore" if kind == "redis" else "InMemorySessionStore"
    return Condition(
        bean, chosen, reason + _at(origins, "store", default=properties.store == _DEFAULTS.store)
    )


def _client_condition(
    container: Any, properties: SessionProperties, origins: Mapping[str, str]
) -> Condition:
    bean = "redis_client"
    if own := _own(container, bean):
        return Condition(bean, own, _BACKS_OFF)
    if _own(container, "session_store"):
        return Condition(bean, "none", "the session_store of the application is in use")
    if properties.store_kind != "redis":
        return Condition(bean, "none", f"pyfly.session.store is {properties.store_kind}")
    url = mask_url(properties.redis.url)
    return Condition(
        bean,
        "Redis",
        f"pyfly.session.redis.url is {url}"
        + _at(origins, "redis.url", default=properties.redis.url == _DEFAULTS.redis.url),
    )


_DEFAULTS = SessionProperties()
_BACKS_OFF = "provided by the application; the auto-configuration backs off"


def _own(container: Any, bean: str) -> str | None:
    """Describe the provider that the application put in place of ours, or return None."""
    provider = getattr(container, bean)
    overriding = provider.last_overriding
    if overriding is None:
        declared = SessionContainer.providers[bean]
        return None if type(provider) is type(declared) else _describe(provider)
    return _describe(overriding)


def _describe(provider: Any) -> str:
    if isinstance(provider, providers.Object):
        return type(provider()).__name__
    made = getattr(provider, "provides", None)
    return getattr(made, "__name__", None) or type(provider).__name__


def _at(origins: Mapping[str, str], key: str, *, default: bool) -> str:
    origin = origins.get(f"pyfly.session.{key}", "default" if default else None)
    return f" ({origin})" if origin else ""
