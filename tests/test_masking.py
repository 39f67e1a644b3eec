"""How configured values appear in messages."""

from hypothesis import given
from hypothesis import strategies as st

from pyfly_session.config.masking import mask_url, masked, show, show_key
from tests.support.cases import for_each

PASSWORD = "s3cr3t"


@for_each(
    ("url", "hidden"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:pw@h/0", "redis://:***@h/0"),
        ("redis://user:p@w@h", "redis://user:***@h"),
        ("redis://pw@h", "redis://***@h"),
        ("user:pw@h", "user:***@h"),
        ("redis://h/0?Password=a&b@c", "redis://***"),
        ("redis://h/0?db=1&password=a&ssl=1", "redis://h/0?db=1&password=***"),
        ("redis://:pw@h?password=x@y", "redis://:***@h?password=***"),
        ("redis://:p?password=w@h", "redis://***"),
        ("", ""),
    ],
)
def test_mask_url_hides_credentials(url: str, hidden: str) -> None:
    assert mask_url(url) == hidden


@given(user=st.text(max_size=5), tail=st.text(max_size=9), scheme=st.sampled_from(["redis://", ""]))
def test_mask_url_never_shows_a_password(user: str, tail: str, scheme: str) -> None:
    hidden = mask_url(f"{scheme}{user}:{PASSWORD}{tail}@host:6379/0")
    assert PASSWORD not in hidden
    assert mask_url(hidden) == hidden


@given(
    name=st.text(max_size=9), value=st.sampled_from([PASSWORD, f"{PASSWORD}&db=1", f"x@{PASSWORD}"])
)
def test_mask_url_shows_no_parameter_that_is_not_known_to_be_harmless(
    name: str, value: str
) -> None:
    for text in (f"redis://h/0?db=1&{name}={value}", f"db+driver://h?mode=ro;{name}={value}"):
        assert PASSWORD not in mask_url(text)


@for_each(
    "name",
    [
        *("password", "Password", "pass%77ord", "ssl_password", "passphrase", "sslpassword"),
        *("token", "auth_token", "secret", "apiKey", "api-key", "jwt", "otp", "credential"),
        *("authorization", "csrf", "cookie", "session_id", "key", "sslkey", "pwd"),
        *("auth", "user", "username", "colour", "x-api", "credentials_path", "key_prefix"),
    ],
)
def test_mask_url_hides_what_its_name_does_not_call_a_secret_either(name: str) -> None:
    assert mask_url(f"redis://h/0?{name}={PASSWORD}&db=1") == f"redis://h/0?{name}=***"


@for_each(
    "url",
    [
        "rediss://h/0?db=1&protocol=3&ssl_cert_reqs=none&ssl_ca_certs=/etc/ca.pem",
        "redis://h?socket_timeout=x&health_check_interval=5&max_connections=many",
        "postgresql+asyncpg://h/shop?ssl=verify-full&application_name=shop",
        "sqlite+aiosqlite:///file:s.db?mode=ro&uri=true",
    ],
)
def test_mask_url_shows_what_helps_to_find_a_mistake(url: str) -> None:
    assert mask_url(url) == url


def test_quoted_values_are_short_and_on_one_line() -> None:
    assert len(show("x" * 5000)) < 90
    assert (show("a\nb"), show(None)) == (r"'a\nb'", "null")
    assert (show(object()), masked(None, secret=True)) == ("a value of type object", None)


def test_strange_keys_are_quoted() -> None:
    assert (show_key("max-lifetime"), show_key("a\x1bb")) == ("max-lifetime", r"'a\x1bb'")
    assert len(show_key("x" * 5000)) < 90
