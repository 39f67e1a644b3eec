"""Whatever stands in a file or a variable: a configuration, or a `ConfigurationError`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pyfly_session import ConfigurationError, SessionRepository
from pyfly_session.auto_configuration import create_container
from pyfly_session.auto_configuration.conditions import container_report
from pyfly_session.config import bind_properties, describe_properties, load_config
from tests.conftest import effort

SECRET = "s3cr3t-s3cr3t"
KEYS = [each.key.removeprefix("pyfly.session.") for each in describe_properties()]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, -1, 2**31 - 1, 2**31, 10**400]),
    st.floats(),
    st.text(max_size=9),
    st.sampled_from(
        [
            *("memory", "redis", "always", "never", "none", "strict", "", " ", "on", "1800", "1e9"),
            *("redis://h", "redis://h:99999", "redis://[", "redis://u:p@h/x", "rediss://h?db=z"),
            *("unix:///s?db=x", "redis://h?colour=red", "redis://h?protocol=9", "h:1", "h:0", ":1"),
            *("__Host-x", "/x", "/x; Secure", "example.org", "a,b", "${X}", "${X:1}", "${", "$${"),
        ]
    ),
    st.dates(),
    st.binary(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
DOTTED = st.sampled_from(KEYS) | st.text(max_size=9)


def nest(flat: dict[str, Any]) -> dict[str, Any]:
    """Return a tree; where a key is both a value and a section, one of them wins."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            if not isinstance(place.get(section), dict):
                place[section] = {}
            place = place[section]
        place[name] = value
    return {"pyfly": {"session": tree}}


TREES = st.dictionaries(DOTTED, VALUES, max_size=5).map(nest) | st.dictionaries(
    st.sampled_from(["pyfly", "x"]), VALUES, max_size=2
)


@effort(50, 20_000)
@given(TREES)
def test_any_tree_gives_a_filter_or_a_configuration_error(tree: dict[str, Any]) -> None:
    session = tree.get("pyfly", {})
    session = session.get("session") if isinstance(session, dict) else None
    if isinstance(session, dict):
        session["enabled"] = True
    try:
        container = create_container(tree)
        made = container.session_filter()
        assert container_report(container)
    except ConfigurationError as error:
        assert all(len(line) < 1000 for line in str(error).splitlines())
        assert len(str(error).splitlines()) <= 21
        return
    assert made is None or isinstance(made.repository, SessionRepository)


@effort(50, 20_000)
@given(st.sampled_from(KEYS), VALUES)
def test_one_wrong_value_is_named_by_its_key(key: str, value: Any) -> None:
    try:
        properties = bind_properties(nest({key: value}))
    except ConfigurationError as error:
        assert error.key
        assert error.key.startswith("pyfly.session")
        assert error.key in str(error)
        return
    assert hash(properties) == hash(bind_properties(nest({key: value})))


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_any_file_gives_a_configuration_or_a_configuration_error(folder: Path) -> None:
    pieces = st.one_of(
        st.sampled_from(
            [
                *("pyfly:", "\n", "  ", "session:", " ttl: ", "1", "{", "}", "[", "]", ", ", ": "),
                *("&a ", "*a", "<<: ", "!!python/object:os.system ", "!!set ", "- ", "? ", "| "),
                *("${X}", "${", "${A:${B:c}}", "\t", "\x00", "\ufeff", "---\n", "...\n", "'", '"'),
                *("pyfly.session.ttl: ", "pyfly.profiles.active: ", "0x", "1_000", ".inf", "~"),
            ]
        ),
        st.text(max_size=5),
    )
    trees = st.dictionaries(st.sampled_from(["pyfly", "app", "pyfly.session.ttl"]), VALUES).map(
        lambda tree: yaml.safe_dump(tree, allow_unicode=True)
    )
    texts = st.lists(pieces, max_size=20).map("".join) | trees | TREES.map(yaml.safe_dump)

    @effort(50, 20_000)
    @given(texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=40))
    def search(content: bytes) -> None:
        (folder / "pyfly.yaml").write_bytes(content)
        try:
            config = load_config(folder, "", environ={"X": "1"})
        except ConfigurationError as error:
            assert error.origin or error.key
            # A line for each thing that is wrong, and nothing of the file begins another.
            lines = str(error).split("\n")
            assert len(lines) == 1 or all(line.startswith("pyfly") for line in lines)
            return
        assert isinstance(config, dict)
        assert repr(config)

    search()


def test_any_variable_gives_a_configuration_or_a_configuration_error(folder: Path) -> None:
    names = st.sampled_from(
        [each.environment_variable for each in describe_properties()]
    ) | st.one_of(
        st.from_regex(r"PYFLY_(SESSION|SECURITY_OAUTH2)_[A-Z_]{0,9}", fullmatch=True),
        st.text(st.characters(codec="utf-8", exclude_characters="="), max_size=9).map(
            "PYFLY_SECURITY_OAUTH2_CLIENT_REGISTRATIONS_{}_CLIENT_ID".format
        ),
    )

    @effort(50, 20_000)
    @given(st.dictionaries(names, st.text(max_size=20), max_size=3))
    def search(environ: dict[str, str]) -> None:
        try:
            config = load_config(folder, environ=environ)
        except ConfigurationError as error:
            assert error.key
            return
        assert bind_properties(config).ttl

    search()


@effort(40, 5000)
@given(
    st.sampled_from(["redis.password", "redis.sentinel.password", "encryption.keys"]),
    st.dictionaries(st.sampled_from(KEYS), SCALARS, max_size=3),
    st.booleans(),
)
def test_no_error_and_no_representation_shows_a_secret(
    key: str, others: dict[str, Any], listed: bool
) -> None:
    tree = nest({**others, "enabled": True, key: [SECRET] if listed else SECRET})
    try:
        container = create_container(tree)
        properties = container.properties()
        assert SECRET not in repr(properties)
        container.session_filter()
        assert SECRET not in container_report(container)
    except ConfigurationError as error:
        assert SECRET not in str(error)
        assert SECRET not in repr(error.value)
