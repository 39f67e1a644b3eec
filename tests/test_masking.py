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


def test_quoted_values_are_short_and_on_one_line() -> None:
    assert len(show("x" * 5000)) < 90
    assert (show("a\nb"), show(None)) == (r"'a\nb'", "null")
    assert (show(object()), masked(None, secret=True)) == ("a value of type object", None)


def test_strange_keys_are_quoted() -> None:
    assert (show_key("max-lifetime"), show_key("a\x1bb")) == ("max-lifetime", r"'a\x1bb'")
    assert len(show_key("x" * 5000)) < 90
