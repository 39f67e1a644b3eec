"""The security page names tests as evidence, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "explanation" / "security.md"


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text("utf-8")))
    sources = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "pyfly_session/testing").rglob("*.py")]
    defined = {
        name
        for source in sources
        for name in re.findall(r"def (test_\w+)\(", source.read_text("utf-8"))
    }
    assert len(named) > 30
    assert named - defined == set()


def test_every_requirement_of_the_chapter_has_a_row() -> None:
    text = PAGE.read_text("utf-8")
    requirements = {"7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 3, "7.6": 2}
    for section, count in requirements.items():
        for number in range(1, count + 1):
            assert f"| {section}.{number} " in text


def test_whatever_the_library_claims_is_shown_by_a_test() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("| ") and not line.startswith(("| ---", "| requirement", "| advice"))
    ]
    assert len(rows) > 40
    unproven = [
        what
        for what, library, _, test in rows
        if not test and library and not library.startswith(("—", "not yet"))
    ]
    assert unproven == ["7.5.1 sensitive changes need authentication anew"]
