"""What a single file may hold: YAML made stricter, and placeholders."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfly_session.config import bind_properties, load_config
from pyfly_session.config.placeholders import resolve_tree
from pyfly_session.config.yaml import read_yaml
from pyfly_session.errors import ConfigurationError
from tests.support.cases import for_each

PASSWORD = "s3cr3t"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pyfly.yaml"


def read(file: Path, text: str | bytes) -> dict[Any, Any]:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_yaml(file)


def refusal(file: Path, text: str | bytes) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        read(file, text)
    assert caught.value.origin
    assert file.name in caught.value.origin
    return caught.value


@for_each("text", ["", "# only a comment\n", "---\n", "~", "\ufeff"])
def test_empty_file_is_an_empty_mapping(file: Path, text: str) -> None:
    assert read(file, text) == {}


def test_scalars_are_those_of_yaml(file: Path) -> None:
    text = "\ufeffa: 1\nb: 1.5\nc: on\nd: text\ne: ~\nf: [x, {y: 0x10}]\n"
    expected = {"a": 1, "b": 1.5, "c": True, "d": "text", "e": None, "f": ["x", {"y": 16}]}
    assert read(file, text) == expected


@for_each(
    ("text", "problem", "line"),
    [
        ("- a", "the file must hold a mapping, got a list", 1),
        ("# x\n5", "the file must hold a mapping, got 5", 2),
        ("a: b: c", "the file is not valid YAML: mapping values are not allowed here", 1),
        ("a:\n\t- b", "the file is not valid YAML: found character '\\t' that cannot start", 2),
        ("a: [1,\n", "the file is not valid YAML: ", 2),
        ("a: 1\n---\nb: 2", "the file is not valid YAML: but found another document", 2),
        ("a: *x", "the file is not valid YAML: found undefined alias", 1),
        ("x: 1\na: !!python/object:os.system x", "the file is not valid YAML: could not", 2),
        ("a: !!python/object/apply:os.system [x]", "the tag tag:yaml.org,2002:python/obj", 1),
        ("a: !!set {x}", "the tag tag:yaml.org,2002:set is not supported", 1),
        ("!!set a: 1", "the tag tag:yaml.org,2002:set is not supported", 1),
        ("a: !!seq x", "the tag tag:yaml.org,2002:seq is not supported", 1),
        ("a: 2020-13-45", "the value is not a timestamp; quote it if it is text", 1),
        ("a: !!bool perhaps", "the value is not a bool", 1),
        ("a: !!timestamp x", "the value is not a timestamp", 1),
        ("? [a]\n: 1", "a key must be a text or a number", 1),
        ("a: 1\nb: 2\na: 3", "a is given twice; remove one of the two", 3),
        ("p: {a: 1}\np: {b: 1}", "p is given twice", 2),
        ("pyfly:\n  session:\n    ttl: 1\n    ttl: 2", "pyfly.session.ttl is given twice", 4),
        ("pyfly.session.ttl: 1\npyfly: {session: {ttl: 2}}", "pyfly is given twice", 2),
        ("pyfly: {session: {ttl: 2}}\npyfly.session: 5", "pyfly.session is given twice", 2),
        ("a:\n  <<: 5", "<< must be followed by a mapping or a list of mappings", 2),
        ("a: &a {b: *a}", "the file is nested too deeply or contains itself", 1),
        ("pyfly.session." + "a." * 99 + ": 1", "the file is nested too deeply", 1),
    ],
)
def test_unusable_file_is_refused_by_line(file: Path, text: str, problem: str, line: int) -> None:
    error = refusal(file, text)
    assert str(error).startswith(problem)
    assert str(error).endswith(f"{file.as_posix()}, line {line})")


@for_each("text", [b"\xff\xfe\x00", b"a: \xff", b"a: \x00", b"\xff\xfe\xff\xd8"])
def test_file_that_is_no_text_is_refused(file: Path, text: bytes) -> None:
    assert str(refusal(file, text)).startswith("the file is not valid YAML: ")


def test_directory_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the file cannot be read: Is a directory \(/"):
        read_yaml(tmp_path)


def test_deep_nesting_is_refused(file: Path) -> None:
    assert str(refusal(file, "a: " + "[" * 1200)).startswith("the file is nested too deeply")


def test_small_file_cannot_stand_for_a_billion_values(file: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "stands for more than 100000 values" in str(refusal(file, "\n".join(lines)))


def test_errors_quote_nothing_of_the_line(file: Path) -> None:
    for text in (f"url: [redis://:{PASSWORD}@h", f"url: x: {PASSWORD}", f"- {PASSWORD}"):
        assert PASSWORD not in str(refusal(file, text))


def test_anchors_and_merge_keys_work(file: Path) -> None:
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  a: 0\n  <<: [*x, *y]\nw: {<<: *x}"
    tree = read(file, text)
    assert (tree["z"], tree["w"]) == ({"a": 0, "b": 2, "c": 4}, {"a": 1, "b": 2})


def test_dotted_keys_of_this_package_are_expanded(file: Path) -> None:
    text = """
pyfly.session.ttl: 5
pyfly:
  session.redis.url: redis://h
  session:
    cookie.path: /x
    cookie:
      secure: true
    redis:
  security.x: 1
pyfly.profiles.active: dev
pyfly.other: 2
a.b: 3
"""
    assert read(file, text) == {
        "pyfly": {
            "session": {
                "ttl": 5, "redis": {"url": "redis://h"}, "cookie": {"path": "/x", "secure": True},
            },
            "security.x": 1,
            "profiles": {"active": "dev"},
        },
        "pyfly.other": 2,
        "a.b": 3,
    }  # fmt: skip


def resolved(text: str, **environ: str) -> object:
    return resolve_tree({"k": text}, environ, {"k": "a.yaml"})["k"]


@for_each(
    ("text", "expected"),
    [
        ("plain $A {A} $", "plain $A {A} $"), ("${A}", "1"), ("${ A }-${B:x}-${A:y}", "1-x-1"),
        ("${B:}", ""), ("${B:redis://h:6379/0}", "redis://h:6379/0"), ("${B:${A}}", "1"),
        ("${B:a${C:b${D:c}d}e}f", "abcdef"), ("${EMPTY:x}", ""), ("$${A}", "${A}"),
        ("$$${A}", "$${A}"), ("${B:$${x}", "${x"), ("${TRICK}", "${A}"),
    ],
)  # fmt: skip
def test_placeholders_are_replaced(text: str, expected: str) -> None:
    assert resolved(text, A="1", EMPTY="", TRICK="${A}") == expected


@for_each(
    ("text", "problem"),
    [
        (
            "${A}",
            "k needs the environment variable A, which is not set; set it, or give a default"
            " as in ${A:default} (a.yaml)",
        ),
        ("${B:${A}}", "k needs the environment variable A"),
        ("${A:x", "k holds a '${' without its '}'"),
        ("${}", "k holds a placeholder without a variable's name"),
        ("${a-b:c}", "k holds a placeholder without a variable's name"),
        ("${A:" * 10 + "}" * 10, "k nests placeholders more than 8 deep"),
    ],
)
def test_placeholder_without_a_value_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolved(text)
    assert str(caught.value).startswith(problem)
    assert caught.value.origin == "a.yaml"


def test_placeholder_in_a_list_is_named_by_its_position() -> None:
    with pytest.raises(ConfigurationError, match=r"(?m)^app\.x\[1\] needs .* \(a\.yaml\)$"):
        resolve_tree({"app": {"x": ["a", "${A}"]}}, {}, {"app.x": "a.yaml"})


def test_placeholder_that_a_profile_overrides_needs_no_variable(tmp_path: Path) -> None:
    (tmp_path / "pyfly.yaml").write_text("# ${X}\npyfly.session.redis.url: ${REDIS_URL}\n", "utf-8")
    (tmp_path / "pyfly-a.yaml").write_text("pyfly.session.redis.url: redis://a\n", "utf-8")
    assert load_config(tmp_path, "a", environ={})["pyfly"]["session"]["redis"]["url"] == "redis://a"
    with pytest.raises(ConfigurationError) as caught:
        load_config(tmp_path, environ={})
    assert caught.value.key == "pyfly.session.redis.url"
    assert "variable REDIS_URL" in str(caught.value)
    assert str(caught.value).endswith(f"({tmp_path.as_posix()}/pyfly.yaml)")


@given(st.text())
def test_variable_cannot_change_the_structure(value: str) -> None:
    tree = {"app": {"a": "<${X}>", "b": ["${X:y}", 1]}}
    assert resolve_tree(tree, {"X": value}, {}) == {"app": {"a": f"<{value}>", "b": [value, 1]}}


_SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="ascii"))


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii")).filter(lambda key: not key.startswith("pyfly")),
        st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=5),
        max_size=4,
    )
)
def test_tree_written_as_json_comes_back(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]
) -> None:
    file = tmp_path_factory.getbasetemp() / "pyfly.yaml"
    assert read(file, json.dumps(tree)) == tree


def test_a_number_with_a_leading_nought_is_not_octal(tmp_path: Path) -> None:
    (tmp_path / "pyfly.yaml").write_text(
        "pyfly: {session: {ttl: 03600}}\nshop: {mode: 0644}\n", "utf-8"
    )
    config = load_config(tmp_path, environ={})
    assert bind_properties(config).ttl == 3600
    # What is the application's own is YAML as it always was.
    assert config["shop"]["mode"] == 0o644


def test_a_profile_that_yaml_takes_for_a_boolean_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyfly.yaml").write_text("pyfly: {profiles: {active: no}}\n", "utf-8")
    with pytest.raises(ConfigurationError, match=r"got false: YAML takes .* quote it"):
        load_config(tmp_path, environ={})


def test_a_placeholder_as_shells_write_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyfly.yaml").write_text("pyfly: {session: {ttl: '${X:-5}'}}\n", "utf-8")
    with pytest.raises(ConfigurationError, match=r"write \$\{X:5\}"):
        load_config(tmp_path, environ={})


def test_a_missing_blank_is_told(tmp_path: Path) -> None:
    (tmp_path / "pyfly.yaml").write_text("pyfly:\n  session:\n    ttl:1800\n", "utf-8")
    with pytest.raises(ConfigurationError, match="write a blank behind the colon"):
        load_config(tmp_path, environ={})
