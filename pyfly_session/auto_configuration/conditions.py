"""The conditions report: which bean was chosen, and why. Builds nothing to find out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from dependency_injector import providers

from pyfly_session.auto_configuration.container import SessionContainer
from pyfly_session.auto_configuration.oauth2 import login_refusal
from pyfly_session.auto_configuration.store import choose_store
from pyfly_session.config import SessionProperties
from pyfly_session.config.effective import EffectiveValue, effective_values
from pyfly_session.config.mistakes import origin_of
from pyfly_session.config.oauth2_properties import PREFIX as OAUTH2
from pyfly_session.config.oauth2_properties import OAuth2Properties
from pyfly_session.config.session_properties import PREFIX
from pyfly_session.errors import ConfigurationError

__all__ = ["Condition", "conditions", "container_report", "own_bean"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What became of one bean.

    Attributes:
        bean: Name of the provider in the container.
        choice: What it gives: a class, or ``none``.
        reason: The property, missing package or override that decided, and where it was set.
        key: The property that decided, or None.
        origin: The file or variable that set it, ``default`` if nobody did, or None.
    """

    bean: str
    choice: str
    reason: str
    key: str | None = None
    origin: str | None = None


def conditions(container: Any) -> list[Condition]:
    """Explain every bean of a `SessionContainer`.

    Raises:
        ConfigurationError: The configuration itself is wrong.
    """
    properties, oauth2 = container.properties(), container.oauth2_properties()
    values = {each.key: each for each in effective_values(properties, oauth2)}
    report = _Report(container, properties, oauth2, container.config_origins(), values)
    return [
        _provided(container, bean) or explain(report, bean)
        for bean, explain in _BEANS.items()
        if hasattr(container, bean)
    ]


def container_report(container: Any) -> str:
    """Return the conditions as lines of text; credentials are masked."""
    rows = conditions(container)
    names = max(len(row.bean) for row in rows)
    choices = max(len(row.choice) for row in rows)
    return "\n".join(f"{row.bean:<{names}}  {row.choice:<{choices}}  {row.reason}" for row in rows)


@dataclass(frozen=True, slots=True)
class _Report:
    """What the conditions are read from."""

    container: Any
    properties: SessionProperties
    oauth2: OAuth2Properties
    origins: Mapping[str, str]
    values: Mapping[str, EffectiveValue]

    def because(self, bean: str, choice: str, key: str, reason: str = "") -> Condition:
        """Return a condition that one property decided.

        Args:
            bean: The bean.
            choice: What it gives.
            key: The full key of the property.
            reason: What there is to say; unless it is given, the value of the property.
        """
        value = self.values[key]
        origin = self.origins.get(key, "default" if value.is_default else None)
        reason = reason or f"{key} is {_in_words(value.value)}"
        return Condition(bean, choice, reason + _in(origin), key, origin)


def _in_words(value: object) -> str:
    match value:
        case None:
            return "not set"
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(value)
        case _:
            return str(value)


def _switched(key: str, choice: str, otherwise: str = "none") -> Explain:
    """Return what explains a bean that one property switches on, or changes for another."""

    def explain(report: _Report, bean: str) -> Condition:
        return report.because(bean, choice if report.values[key].value is True else otherwise, key)

    return explain


def _store(report: _Report, bean: str) -> Condition:
    key = f"{PREFIX}.store"
    try:
        kind, reason = choose_store(report.properties, report.origins)
    except ConfigurationError as error:
        reason = f"{PREFIX}.fail-fast is true: {error}"
        return Condition(bean, "none", reason, key, report.origins.get(key))
    return report.because(bean, _STORES[kind], key, reason)


def _unused(report: _Report, bean: str, kind: str) -> Condition | None:
    """Explain what is there for another store than the one in use, or return None."""
    if own_bean(report.container, "session_store"):
        return Condition(bean, "none", "the session_store of the application is in use")
    if report.properties.store_kind == kind:
        return None
    key = f"{PREFIX}.store"
    reason = f"{key} is {report.properties.store_kind}"
    return Condition(bean, "none", reason, key, report.origins.get(key))


def _engine(report: _Report, bean: str) -> Condition:
    return _unused(report, bean, "sql") or report.because(bean, "AsyncEngine", f"{PREFIX}.sql.url")


def _client(report: _Report, bean: str) -> Condition:
    redis, choice, key = report.properties.redis, "Redis", f"{PREFIX}.redis.url"
    if redis.cluster.nodes:
        choice, key = "RedisCluster", f"{PREFIX}.redis.cluster.nodes"
    elif redis.sentinel.master:
        key = f"{PREFIX}.redis.sentinel.master"
    return _unused(report, bean, "redis") or report.because(bean, choice, key)


def _resolver(report: _Report, bean: str) -> Condition:
    ways = report.properties.resolver
    names = {"cookie": "SessionCookie", "header": "SessionHeader"}
    choice = names[ways[0]] if len(ways) == 1 else "SessionIdResolvers"
    return report.because(bean, choice, f"{PREFIX}.resolver")


def _limiting(report: _Report, bean: str) -> Condition:
    concurrency, key = report.properties.concurrency, f"{PREFIX}.concurrency.enabled"
    if not concurrency.enabled:
        return report.because(bean, "none", key)
    says = f"{key} is true: {concurrency.max_sessions} for each user, then {concurrency.strategy}"
    if concurrency.max_sessions < 0:
        says = f"{key} is true, without a limit for all"
    return report.because(bean, "SessionConcurrencyController", key, says)


def _unprovided(choice: str) -> Explain:
    """Return what explains a bean that no property decides about."""
    return lambda report, bean: Condition(bean, choice, "the application provides none")


def _listeners(report: _Report, bean: str) -> Condition:
    count = len(report.container.session_listeners.args)
    if not count:
        return _unprovided("none")(report, bean)
    return Condition(bean, f"List of {count}", "added by the application")


def _registrations(report: _Report, bean: str) -> Condition:
    choice = "InMemoryClientRegistrationRepository"
    client = report.oauth2.client
    key = f"{OAUTH2}.client.enabled"
    if not client.enabled:
        return report.because(bean, choice, key, f"{key} is false, so it is empty")
    places = (
        f"{name}{_in(origin_of(report.origins, f'{OAUTH2}.client.registrations.{name}'))}"
        for name in report.oauth2.registrations
    )
    says = f"{key} is true, with {', '.join(places) or 'no registrations'}"
    return report.because(bean, choice, key, says)


def _of_login(choice: str, *packages: str) -> Explain:
    """Return what explains a bean that only an enabled login has, and the packages it needs."""

    def explain(report: _Report, bean: str) -> Condition:
        key = f"{OAUTH2}.login.enabled"
        if not report.oauth2.login.enabled:
            return report.because(bean, "none", key)
        refusal = login_refusal(report.oauth2, report.properties)
        if refusal is not None:
            key = refusal.key or key
            return Condition(bean, "none", str(refusal), key, report.origins.get(key))
        missing = ", ".join(each for each in packages if find_spec(each) is None)
        if missing:
            remedy = "pip install 'pyfly-session[oauth2]'"
            return Condition(bean, "none", f"not installed: {missing}; {remedy}", key)
        return report.because(bean, choice, key)

    return explain


def _of_back_channel(report: _Report, bean: str) -> Condition:
    explained = _of_login("OAuth2BackChannelLogoutFilter", *_PACKAGES)(report, bean)
    if explained.choice == "none":
        return explained
    return _switched(f"{OAUTH2}.login.back-channel-logout", explained.choice)(report, bean)


Explain = Callable[[_Report, str], Condition]

_STORES = {"memory": "InMemorySessionStore", "redis": "RedisSessionStore", "sql": "SqlSessionStore"}
_BACKS_OFF = "provided by the application; the auto-configuration backs off"
_PACKAGES = ("authlib", "httpx2", "joserfc")
# A new bean is one line here, and a function if none of these explains it.
_BEANS: dict[str, Explain] = {
    "session_filter": _switched(f"{PREFIX}.enabled", "SessionFilter"),
    "session_store": _store,
    "redis_client": _client,
    "sql_engine": _engine,
    "session_id_resolver": _resolver,
    "session_listeners": _listeners,
    "session_repository": _unprovided("SessionRepository"),
    "principal_sessions": _unprovided("PrincipalSessions"),
    "session_limit": _unprovided("none"),
    "session_concurrency_controller": _limiting,
    "telemetry": _switched(f"{PREFIX}.observability.enabled", "Telemetry"),
    "client_registration_repository": _registrations,
    "security_context_mapper": _switched(
        f"{OAUTH2}.login.qualified-user-ids", "qualified_context", "claims_to_context"
    ),
    "oauth2_login_handler": _of_login("OAuth2LoginHandler", *_PACKAGES),
    "oauth2_session_security_filter": _of_login("SecurityContextFilter"),
    "oauth2_login_filter": _of_login("OAuth2LoginFilter", *_PACKAGES),
    "oauth2_back_channel_logout_filter": _of_back_channel,
}


def _provided(container: Any, bean: str) -> Condition | None:
    own = own_bean(container, bean)
    return Condition(bean, own, _BACKS_OFF) if own else None


def own_bean(container: Any, bean: str) -> str | None:
    """Describe the provider that the application put in place of ours, or return None."""
    provider, declared = getattr(container, bean), getattr(SessionContainer, bean)
    overriding = provider.last_overriding
    if overriding is None:
        return None if type(provider) is type(declared) else _describe(provider)
    return _describe(overriding)


def _describe(provider: Any) -> str:
    if isinstance(provider, providers.Object):
        given = provider()
        return getattr(given, "__name__", None) or type(given).__name__
    made = getattr(provider, "provides", None)
    return getattr(made, "__name__", None) or type(provider).__name__


def _in(origin: str | None) -> str:
    return f" ({origin})" if origin else ""
