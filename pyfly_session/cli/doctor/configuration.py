"""What ``doctor`` says about a valid configuration: what is not safe, or will not last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from pyfly_session.auto_configuration.application import check_login
from pyfly_session.auto_configuration.store import choose_store
from pyfly_session.cli.doctor.findings import Finding, Level, of_error
from pyfly_session.config import SessionProperties
from pyfly_session.config.oauth2_properties import PREFIX as OAUTH2
from pyfly_session.config.oauth2_properties import OAuth2Properties
from pyfly_session.config.session_properties import PREFIX
from pyfly_session.errors import ConfigurationError

_NOT_PRODUCTION = {"dev", "development", "local", "test"}


class Subject:
    """What is checked: a configuration, and what is known of where it is to be used.

    Args:
        container: A container of the configuration.
        production: False if a profile for development or tests is active.
        workers: Processes that are to serve the application, or None if nobody said.
    """

    def __init__(self, container: Any, *, production: bool, workers: int | None) -> None:
        self.container = container
        self.production = production
        self.workers = workers
        self.properties: SessionProperties = container.properties()
        self.oauth2: OAuth2Properties = container.oauth2_properties()
        self.origins: Mapping[str, str] = container.config_origins()

    def about(
        self, level: Level, check: str, key: str, message: str, remedy: str | None = None
    ) -> Finding:
        """Return a finding about one property, by its full key."""
        origin = self.origins.get(key)
        place = f" ({origin})" if origin else " (default)" if key.startswith(PREFIX) else ""
        return Finding(level, check, f"{key} {message}{place}", remedy, key, origin)


def is_production(profiles: tuple[str, ...]) -> bool:
    """Return whether a configuration is judged as that of an application that people use."""
    return not _NOT_PRODUCTION & {each.lower() for each in profiles}


def check_configuration(subject: Subject) -> list[Finding]:
    """Look at everything that can be told without a server."""
    checks = (_enabled, _store, _cookie, _lifetime, _encryption, _transport, _login)
    found = [finding for check in checks for finding in check(subject)]
    if not any(each.level == "error" for each in found):
        found += _start(subject)
    return found


def _start(subject: Subject) -> Iterator[Finding]:
    """Make what an application makes when it starts; whatever else is missing shows there."""
    try:
        subject.container.web_filters()
    except ConfigurationError as error:
        yield of_error("start", error)
    else:
        yield Finding("ok", "start", "everything that an application needs can be made")


def _enabled(subject: Subject) -> Iterator[Finding]:
    key = f"{PREFIX}.enabled"
    if subject.properties.enabled is not True:
        remedy = f"set {key} to true, or there are no sessions"
        yield subject.about("error", "sessions", key, "is not true", remedy)
    else:
        yield subject.about("ok", "sessions", key, "is true")


def _store(subject: Subject) -> Iterator[Finding]:
    properties, key = subject.properties, f"{PREFIX}.store"
    try:
        kind, reason = choose_store(properties, subject.origins)
    except ConfigurationError as error:
        yield of_error("store", error)
        return
    said = reason.removeprefix(f"{key} ")
    if kind != properties.store_kind:
        yield subject.about("error", "store", key, said)
    elif kind != "memory":
        yield subject.about("ok", "store", key, said)
    elif subject.workers is not None and subject.workers > 1:
        problem = f"is memory, and there are {subject.workers} workers with sessions of their own"
        yield subject.about("error", "store", key, problem, "use redis or sql, or a single worker")
    elif subject.production:
        problem = "is memory: sessions end with the process"
        yield subject.about("warning", "store", key, problem, "use redis or sql")
    else:
        yield subject.about("ok", "store", key, said)
    if subject.production and kind != "memory" and not properties.fail_fast:
        problem = (
            "is false: without the package of the store, or with a misspelt store, sessions would"
            " be in memory, with a line in the log"
        )
        remedy = "set it to true in production"
        yield subject.about("warning", "store", f"{PREFIX}.fail-fast", problem, remedy)
    registry = properties.concurrency.registry
    if properties.concurrency.enabled and registry not in ("store", properties.store_kind):
        key, problem = f"{PREFIX}.concurrency.registry", f"is {registry}, the store is {kind}"
        yield subject.about("warning", "store", key, problem, "use store, or limits do not hold")


def _cookie(subject: Subject) -> Iterator[Finding]:
    properties, cookie = subject.properties, subject.properties.cookie
    if "cookie" not in properties.resolver:
        return
    key = f"{PREFIX}.cookie.secure"
    if cookie.secure:
        yield subject.about("ok", "cookie", key, "is true")
    elif subject.production:
        remedy = "set it to true; behind a proxy that ends HTTPS, too"
        problem = "is false: whoever reads along on plain HTTP has the session"
        yield subject.about("error", "cookie", key, problem, remedy)
    prefixed = properties.cookie_name.lower().startswith(("__host-", "__secure-"))
    if subject.production and cookie.secure and not prefixed:
        host = cookie.domain is None and cookie.path == "/"
        name = "__Host-session" if host else "__Secure-session"
        problem = f"is {properties.cookie_name}: a neighbouring subdomain can set such a cookie"
        remedy = f"a name such as {name}; everybody is logged out once when it changes"
        yield subject.about("hint", "cookie", f"{PREFIX}.cookie-name", problem, remedy)
    if cookie.same_site == "none":
        problem = "is none: requests that other sites make carry the session"
        remedy = "use lax, or protect every form against requests of other sites"
        yield subject.about("warning", "cookie", f"{PREFIX}.cookie.same-site", problem, remedy)
    if cookie.domain is not None:
        problem = f"is {cookie.domain}: every subdomain receives the session"
        remedy = "leave it out if one host is enough"
        yield subject.about("hint", "cookie", f"{PREFIX}.cookie.domain", problem, remedy)


def _lifetime(subject: Subject) -> Iterator[Finding]:
    properties, key = subject.properties, f"{PREFIX}.max-lifetime"
    if properties.max_lifetime is None:
        if subject.production:
            problem = "is not set: a session that is used, or stolen, never ends"
            yield subject.about("hint", "lifetime", key, problem, "set it, to 43200 for example")
    elif properties.max_lifetime < properties.ttl:
        problem = f"is {properties.max_lifetime}, less than {PREFIX}.ttl with {properties.ttl}"
        remedy = "make it longer; sessions end before they were idle for so long"
        yield subject.about("warning", "lifetime", key, problem, remedy)


def _encryption(subject: Subject) -> Iterator[Finding]:
    encryption, key = subject.properties.encryption, f"{PREFIX}.encryption.keys"
    shared = subject.production and subject.properties.store_kind in ("redis", "sql")
    if encryption.keys:
        try:
            subject.container.session_codec()
        except ConfigurationError as error:
            yield of_error("encryption", error)
            return
        number = len(encryption.keys)
        said = f"has {number} {'key' if number == 1 else 'keys'} that can be used"
        yield subject.about("ok", "encryption", key, said)
        if encryption.accept_plain:
            key = f"{PREFIX}.encryption.accept-plain"
            problem = "is true: whoever can write to the store can make sessions without a key"
            remedy = "set it to false as soon as the sessions from before have ended"
            yield subject.about("warning", "encryption", key, problem, remedy)
    elif shared:
        problem = "is empty: whoever reads the store reads the sessions"
        yield subject.about("hint", "encryption", key, problem, "add a key if that matters")
    if shared and not subject.properties.hash_ids:
        problem = "is false: whoever reads the store has the ids, and so the sessions"
        remedy = "set it to true; everybody is logged out once"
        yield subject.about("hint", "encryption", f"{PREFIX}.hash-ids", problem, remedy)


def _transport(subject: Subject) -> Iterator[Finding]:
    redis, key = subject.properties.redis, f"{PREFIX}.redis.url"
    if subject.properties.store_kind != "redis" or not redis.url.startswith("redis:"):
        return
    nodes = redis.cluster.nodes or redis.sentinel.nodes
    hosts = [each.rpartition(":")[0].strip("[]") for each in nodes]
    far = [each for each in hosts or [urlsplit(redis.url).hostname or ""] if not _is_near(each)]
    if far and subject.production:
        problem = f"starts with redis://: sessions travel to {far[0]} as plain text"
        remedy = "use rediss:// unless that network is yours alone"
        yield subject.about("hint", "transport", key, problem, remedy)


def _is_near(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in ("", "localhost")


_ADDRESSES = (
    *("redirect-uri", "issuer-uri", "authorization-uri", "token-uri", "user-info-uri"),
    *("jwks-uri", "end-session-uri", "post-logout-redirect-uri"),
)


def _login(subject: Subject) -> Iterator[Finding]:
    key = f"{OAUTH2}.login.enabled"
    if not subject.oauth2.login.enabled:
        return
    try:
        check_login(subject.container)
    except ConfigurationError as error:
        yield of_error("login", error)
        return
    names = ", ".join(subject.oauth2.registrations) or "none"
    yield subject.about("ok", "login", key, f"is true; registrations: {names}")
    if not subject.oauth2.registrations:
        problem = "is true, and there are no registrations"
        yield subject.about("error", "login", key, problem, "add one, or switch the login off")
    for name, each in subject.oauth2.registrations.items():
        base = f"{OAUTH2}.client.registrations.{name}"
        for leaf in _ADDRESSES:
            value = getattr(each, leaf.replace("-", "_")) or ""
            if subject.production and value.startswith("http:"):
                remedy = "use https://"
                problem = "starts with http://: codes and tokens travel as plain text"
                yield subject.about("warning", "login", f"{base}.{leaf}", problem, remedy)
        if subject.production and not (each.client_secret or subject.oauth2.login.secret):
            problem = "is not set: a login comes back to the process that began it, or begins anew"
            remedy = f"set it, or {OAUTH2}.login.secret for a public client, with several processes"
            yield subject.about("warning", "login", f"{base}.client-secret", problem, remedy)
        if subject.production and each.redirect_uri is None:
            problem = "is not set: it is made from each request's own address"
            remedy = "set it, if a proxy ends HTTPS or passes on any Host"
            yield subject.about("hint", "login", f"{base}.redirect-uri", problem, remedy)
