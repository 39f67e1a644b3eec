"""Binding and validation of the properties."""

import copy
import math
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from pyfly_session.config import SessionProperties, bind_properties
from pyfly_session.config.binding import Properties, allowed, bind, leaves, type_name
from pyfly_session.config.mistakes import Mistakes
from pyfly_session.errors import ConfigurationError
from tests.support.cases import for_each

PASSWORD = "s3cr3t"


def bound(**session: Any) -> SessionProperties:
    return bind_properties({"pyfly": {"session": _kebab(session)}})


def refusal(**session: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        bound(**session)
    return caught.value


def _kebab(section: dict[str, Any]) -> dict[str, Any]:
    return {
        key.replace("_", "-"): _kebab(value) if isinstance(value, dict) else value
        for key, value in section.items()
    }


@for_each("tree", [{}, {"pyfly": None}, {"pyfly": {}}, {"pyfly": {"session": None}}, {"app": 1}])
def test_missing_section_gives_the_defaults(tree: dict[str, Any]) -> None:
    assert bind_properties(tree) == SessionProperties()


def test_defaults_are_the_documented_ones() -> None:
    properties = SessionProperties()
    assert (properties.enabled, properties.store, properties.fail_fast) == (None, "memory", False)
    assert (properties.cookie_name, properties.ttl) == ("PYFLY_SESSION", 1800)
    assert properties.max_lifetime is None
    assert (properties.creation, properties.exclude_patterns) == ("always", ())
    cookie = properties.cookie
    assert (cookie.secure, cookie.path, cookie.domain) == (False, "/", None)
    assert (cookie.same_site, cookie.partitioned) == ("lax", False)
    redis = properties.redis
    assert (redis.url, redis.key_prefix) == ("redis://localhost:6379/0", "pyfly:session:")
    assert (redis.connect_timeout, redis.timeout, redis.pool_timeout) == (2.0, 2.0, 2.0)
    assert (redis.max_connections, redis.retries) == (50, 1)
    assert properties.memory.max_sessions == 100_000


def test_null_stands_for_the_default() -> None:
    assert bound(ttl=None, cookie=None, redis={"url": None}, enabled=None) == SessionProperties()


def test_empty_text_takes_away_an_optional_value() -> None:
    properties = bound(
        enabled=" ", max_lifetime="", cookie={"domain": ""}, memory={"max_sessions": ""}
    )
    assert (properties.enabled, properties.max_lifetime) == (None, None)
    assert (properties.cookie.domain, properties.memory.max_sessions) == (None, None)


@for_each("word", ["true", "Yes", " ON ", "1", 1, True])
def test_words_for_true(word: object) -> None:
    assert bound(enabled=word).enabled is True


@for_each("word", ["FALSE", "no", "Off", "0", 0, False])
def test_words_for_false(word: object) -> None:
    assert bound(enabled=word).enabled is False


@for_each("word", ["maybe", 2, 1.5, [], "", 10**500])
def test_other_words_are_no_booleans(word: object) -> None:
    error = refusal(fail_fast=word)
    assert str(error).startswith(
        "pyfly.session.fail-fast must be true or false (or yes/no, on/off, 1/0), got "
    )


def test_texts_become_numbers_and_lists() -> None:
    properties = bound(
        ttl=" 60 ", redis={"timeout": "0.5", "pool_timeout": 3}, exclude_patterns="/a, *.css,"
    )
    assert properties.ttl == 60
    assert (properties.redis.timeout, properties.redis.pool_timeout) == (0.5, 3.0)
    assert properties.exclude_patterns == ("/a", "*.css")
    assert bound(exclude_patterns=["/a"]).exclude_patterns == ("/a",)
    assert bound(exclude_patterns="").exclude_patterns == ()


@for_each("word", ["if-required", "IF_REQUIRED", " If-Required "])
def test_choices_are_read_without_regard_to_case(word: str) -> None:
    assert bound(creation=word).creation == "if-required"


def test_store_is_kept_as_written_and_compared_in_lower_case() -> None:
    properties = bound(store=" Redis ")
    assert (properties.store, properties.store_kind) == (" Redis ", "redis")


@for_each(
    ("session", "message"),
    [
        ({"ttl": 0}, "ttl must be at least 1 second, got 0"),
        ({"ttl": "-5"}, "ttl must be at least 1 second, got -5"),
        ({"ttl": 2**31}, "ttl must be at most 2147483647 seconds, got 2147483648"),
        (
            {"ttl": True},
            "ttl must be a whole number of seconds, at least 1 and at most 2147483647, or a"
            " duration such as 30m, got true",
        ),
        (
            {"max_lifetime": 1.5},
            "max-lifetime must be a whole number of seconds, at least 1 and at most 2147483647, or"
            " a duration such as 30m, got 1.5",
        ),
        ({"ttl": 10**500}, "ttl must be at most 2147483647 seconds, got a number of more than 80"),
        ({"store": 5}, "store must be memory, redis or sql, in any case (quote it), got 5"),
        ({"cookie_name": "a b"}, "cookie-name must be a cookie name: letters, digits and"),
        ({"cookie_name": "a\n"}, "cookie-name must be a cookie name: letters, digits and"),
        ({"cookie_name": ""}, "cookie-name must be a cookie name: letters, digits and"),
        ({"creation": "often"}, "creation must be one of always, if-required, never, got 'often'"),
        (
            {"exclude_patterns": ["/a", "b"]},
            "exclude-patterns must be a list of path patterns, each starting with / or *, got 'b'",
        ),
        ({"exclude_patterns": 5}, "exclude-patterns must be a list of path patterns, each start"),
        ({"exclude_patterns": {}}, "exclude-patterns must be a list of path patterns, each start"),
        ({"cookie": {"path": "x"}}, "cookie.path must be a path that starts with / and holds no"),
        ({"cookie": {"path": "/;x"}}, "cookie.path must be a path that starts with / and holds no"),
        ({"cookie": {"domain": "http://x"}}, "cookie.domain must be a domain name without scheme"),
        ({"cookie": {"same_site": "x"}}, "cookie.same-site must be one of lax, none, strict, got"),
        ({"redis": {"timeout": 0}}, "redis.timeout must be more than 0 seconds, got 0"),
        ({"redis": {"timeout": "1e99"}}, "redis.timeout must be at most 3600 seconds, got 1e+99"),
        ({"redis": {"timeout": math.nan}}, "redis.timeout must be a number of seconds, more than"),
        ({"redis": {"timeout": "soon"}}, "redis.timeout must be a number of seconds, more than 0"),
        ({"redis": {"max_connections": 0}}, "redis.max-connections must be at least 1, got 0"),
        ({"redis": {"key_prefix": ""}}, "redis.key-prefix must be a text whose braces, if it has"),
        ({"redis": {"url": ""}}, "redis.url must be a URL that starts with redis://, rediss://"),
        ({"redis": {"url": "localhost"}}, "redis.url must be a URL that starts with redis://"),
        ({"redis": {"url": "redis://h:1/a"}}, "redis.url must end in the number of a database"),
        ({"redis": {"url": "redis://h:port"}}, "redis.url has no valid host and port, got redis:"),
        ({"redis": 5}, "redis must be a section with keys below it (url, key-prefix, username"),
        ({"cookie": ["x"]}, "cookie must be a section with keys below it (secure, path, domain,"),
        ({"memory": {"max_sessions": 0}}, "memory.max-sessions must be at least 1, got 0"),
    ],
)
def test_wrong_value_is_refused_by_name(session: dict[str, Any], message: str) -> None:
    error = refusal(**session)
    assert str(error).startswith(f"pyfly.session.{message}")
    assert str(error).startswith(f"{error.key} ")


@for_each("section", ["pyfly", "pyfly.session"])
def test_scalar_in_the_place_of_a_root_section_is_refused(section: str) -> None:
    tree: dict[str, Any] = {"pyfly": 5} if section == "pyfly" else {"pyfly": {"session": "on"}}
    with pytest.raises(ConfigurationError, match=f"^{section} must be a section") as caught:
        bind_properties(tree, {section: "a.yaml"})
    assert caught.value.origin == "a.yaml"


def test_origin_of_the_section_is_used_where_the_key_has_none() -> None:
    with pytest.raises(ConfigurationError, match=r"(?m)\(a.yaml\)$"):
        bind_properties({"pyfly": {"session": {"ttl": 0}}}, {"pyfly.session": "a.yaml"})


@for_each(
    ("key", "proposal"),
    [
        ("cookie_name", "pyfly.session.cookie-name"),
        ("cookieName", "pyfly.session.cookie-name"),
        ("tll", "pyfly.session.ttl"),
        ("max-lifetme", "pyfly.session.max-lifetime"),
        ("reddis", "pyfly.session.redis"),
        ("secure", "pyfly.session.cookie.secure"),
        ("redis-url", "pyfly.session.redis.url"),
        ("cookie-secure", "pyfly.session.cookie.secure"),
        ("samesite", "pyfly.session.cookie.same-site"),
        ("memory-max-sessions", "pyfly.session.memory.max-sessions"),
        ("max_sessions", "pyfly.session.concurrency.max-sessions"),
    ],
)
def test_unknown_key_is_refused_with_a_proposal(key: str, proposal: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        bind_properties({"pyfly": {"session": {key: PASSWORD}}}, {"pyfly.session": "a.yaml"})
    assert str(caught.value).startswith(
        f"pyfly.session.{key} is not a known property; did you mean {proposal}? Allowed here:"
        " enabled, store, fail-fast, "
    )
    assert str(caught.value).endswith("(a.yaml)")
    assert PASSWORD not in str(caught.value)


def test_a_name_in_the_section_of_the_cookie_is_found() -> None:
    error = refusal(cookie={"name": "sid"})
    assert "did you mean pyfly.session.cookie-name?" in str(error)


@for_each(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("12 h", 43200), ("7D", 604800), ("60", 60)]
)
def test_durations_may_be_written_with_a_unit(text: str, seconds: int) -> None:
    properties = bind_properties({"pyfly": {"session": {"ttl": text, "max-lifetime": text}}})
    assert (properties.ttl, properties.max_lifetime) == (seconds, seconds)


@for_each("text", ["30 minutes", "1.5h", "-5m", "h", "5w", "9999999d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert "pyfly.session.ttl must be" in str(refusal(ttl=text))


def test_everything_that_is_wrong_is_told_at_once() -> None:
    error = refusal(ttl="soon", stroe="redis", cookie={"same-site": "none", "secur": True})
    lines = str(error).splitlines()
    assert [line.partition(" ")[0] for line in lines] == [
        "pyfly.session.ttl", "pyfly.session.stroe", "pyfly.session.cookie.secur",
    ]  # fmt: skip
    assert error.key == "pyfly.session.ttl"


@for_each(
    ("given", "remedy"),
    [
        ({"registry": "postgres"}, "with pyfly.session.store: sql"),
        (
            {"redis": {"url": "redis://sessions"}},
            "in the Redis of pyfly.session.redis; set its url",
        ),
        ({"postgres": {"dsn": "x"}}, "set pyfly.session.store to sql, and pyfly.session.sql.url"),
    ],
)
def test_what_the_original_has_elsewhere_is_said(given: dict[str, Any], remedy: str) -> None:
    assert remedy in str(refusal(concurrency=given))


def test_a_limit_that_would_limit_nothing_is_refused() -> None:
    assert "needs pyfly.session.concurrency.enabled: true" in str(
        refusal(concurrency={"max-sessions": 3})
    )


def test_unknown_key_without_likeness_gets_the_choice_only() -> None:
    error = refusal(memory={"xyz": 1})
    assert str(error) == (
        "pyfly.session.memory.xyz is not a known property; allowed here: max-sessions"
    )
    assert error.key == "pyfly.session.memory.xyz"


def test_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"session\.True is not a known property"):
        bind_properties({"pyfly": {"session": {True: 1}}})


def test_properties_are_immutable_and_hashable() -> None:
    properties = SessionProperties()
    with pytest.raises(AttributeError):
        properties.ttl = 5  # type: ignore[misc]
    assert hash(properties) == hash(copy.deepcopy(properties))


class Wider(Properties, frozen=True, kw_only=True):
    """Kinds of fields that a later property may have."""

    keys: Annotated[dict[str, str], Meta(extra={"secret": True})] = msgspec.field(
        default_factory=dict
    )
    note: str = ""
    size: int = 0


def test_other_kinds_of_fields_can_be_added() -> None:
    mistakes = Mistakes({})
    given = {"keys": {"k1": PASSWORD}, "note": "x", "size": "7"}
    wider = bind(Wider, given, "app", (), mistakes)
    assert (wider.keys, repr(wider)) == ({"k1": PASSWORD}, "Wider(keys='***', note='x', size=7)")
    described = [(key, type_name(field), allowed(field)) for key, field in leaves(Wider, "app")]
    assert described == [
        ("app.keys", "mapping", "a mapping"),
        ("app.note", "text", "text"),
        ("app.size", "integer", "a whole number"),
    ]
    assert not mistakes
    assert bind(Wider, {"keys": PASSWORD}, "app", (), mistakes) == Wider()
    assert [str(each) for each in mistakes] == ["app.keys must be a mapping, got '***'"]
