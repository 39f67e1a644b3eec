"""Description of the properties and the reference page made from it."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyfly_session.config import (
    PropertyDescription,
    bind_properties,
    describe_properties,
)
from tests.support.cases import for_each

DOCS = Path(__file__).parent.parent.parent / "docs"
SCRIPT = str(DOCS / "reference_table.py")
reference_table: Any = SimpleNamespace(**runpy.run_path(SCRIPT))
_BEGIN, _BEGIN_OAUTH2 = reference_table.BEGIN, reference_table.BEGIN_OAUTH2
PAGE = DOCS / "reference" / "properties.md"


def test_every_property_is_described() -> None:
    described = {each.key: each for each in describe_properties()}
    assert all(each.description.endswith(".") and each.allowed for each in described.values())
    ttl = described["pyfly.session.ttl"]
    assert (ttl.type, ttl.default, ttl.example) == ("integer", 1800, 3600)
    assert ttl.allowed == (
        "a whole number of seconds, at least 1 and at most 2147483647, or a duration such as 30m"
    )
    prefix = described["pyfly.session.redis.key-prefix"]
    assert prefix.environment_variable == "PYFLY_SESSION_REDIS_KEY_PREFIX"
    assert {each.type for each in described.values()} == {
        "boolean", "integer", "number", "text", "list",
    }  # fmt: skip


@for_each("each", describe_properties())
def test_every_default_and_example_is_allowed(each: PropertyDescription) -> None:
    for value in (each.default, each.example):
        sentinel = {"master": "mymaster", "nodes": ["sentinel:26379"]}
        redis = {"sentinel": sentinel} if "sentinel" in each.key and value == each.example else {}
        session = {"cookie": {"secure": True}, "concurrency": {"enabled": True}, "redis": redis}
        tree: Any = {"pyfly": {"session": session}}
        section = tree
        *sections, name = each.key.split(".")
        for key in sections:
            section = section.setdefault(key, {})
        section[name] = value
        bind_properties(tree)


def test_reference_table_is_up_to_date() -> None:
    text = PAGE.read_text("utf-8")
    assert reference_table.update_page(text) == text, (
        "run: python docs/reference_table.py docs/reference/properties.md"
    )


def test_reference_command_rewrites_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    tables = (f"{begin}\nstale row\n{reference_table.END}" for begin in (_BEGIN, _BEGIN_OAUTH2))
    page.write_text(f"a\n{'between'.join(tables)}\nb\n", "utf-8")
    monkeypatch.setattr("sys.argv", ["reference_table", str(page)])
    runpy.run_path(SCRIPT, run_name="__main__")
    text = page.read_text("utf-8")
    assert text.startswith("a\n<!-- begin")
    assert "| `pyfly.session.ttl` | `PYFLY_SESSION_TTL` | `1800` |" in text
    login = (
        "`pyfly.security.oauth2.login.enabled` | `PYFLY_SECURITY_OAUTH2_LOGIN_ENABLED` | `false`"
    )
    assert f"| {login} |" in text
    assert "between" in text
    assert "stale row" not in text


def test_reference_page_without_markers_is_refused() -> None:
    for page in ("no markers", f"{_BEGIN}{reference_table.END}"):
        with pytest.raises(ValueError, match="the page needs the two lines"):
            reference_table.update_page(page)
