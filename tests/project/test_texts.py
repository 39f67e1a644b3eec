"""What the pages show as plain text is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from pyfly_session import errors
from tests.project.pages import DOCS, blocks_of
from tests.project.reader import run_tests

_ID = re.compile(r"\b[0-9a-f]{32}\b")


def text_of(page: Path) -> str:
    """Return the only block of text that a page has."""
    [text] = [block.text for block in blocks_of(page) if block.language == "text"]
    return text


def test_the_tree_of_the_errors_is_that_of_the_classes() -> None:
    root = errors.SessionError
    classes = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, root) and each is not root
    ]
    shown: dict[str, tuple[str, str]] = {}
    above = [root.__name__]
    first, *lines = text_of(DOCS / "reference" / "errors.md").splitlines()
    assert first == root.__name__
    for line in lines:
        found = re.fullmatch(r"(?P<rails>[│ ├└─]+)(?P<name>\w+)(?: +(?P<remark>.+))?", line)
        assert found is not None, line
        depth = len(found["rails"]) // 4
        del above[depth:]
        shown[found["name"]] = (above[-1], found["remark"] or "")
        above.append(found["name"])
    assert shown.pop("SessionStoreError") == ("SessionError", "the backend's fault")
    assert shown == {
        each.__name__: (
            each.__bases__[0].__name__,
            "".join(f"also a {other.__name__}" for other in each.__bases__[1:]),
        )
        for each in classes
        if each is not errors.SessionStoreError
    }


def test_a_store_that_forgets_the_way_is_told_what_the_page_shows(tmp_path: Path) -> None:
    page = DOCS / "how-to" / "custom-store.md"
    for block in blocks_of(page):
        if block.file is not None:
            broken = block.text.replace("WHERE id = ? AND moved_to IS NULL", "WHERE id = ?")
            (tmp_path / block.file).write_text(broken, encoding="utf-8")
    done = run_tests(tmp_path, "-k", "leaves_the_way")
    told = re.findall(r"^E +(?:Failed: )?(.*)$", done.stdout, re.M)
    shown = [line.strip() for line in text_of(page).splitlines()]
    # The id of the session is another one each time.
    assert [_ID.sub("id", line.strip()) for line in told] == [_ID.sub("id", line) for line in shown]


def test_every_error_names_the_section_that_says_what_to_do() -> None:
    headings = re.findall(
        r"^## `(\w+)`$", (DOCS / "reference" / "errors.md").read_text("utf-8"), re.M
    )
    sections = {f"docs/reference/errors.md#{each.lower()}" for each in headings}
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    assert {str(vars(each)["page"]) for each in classes} == sections
    error = errors.TooManySessionsError("alice")
    assert error.__notes__ == ["See docs/reference/errors.md#toomanysessionserror"]
    assert "docs/" not in str(error)
