"""The pages of the documentation, taken apart for the tests."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PACKAGE = ROOT / "pyfly_session"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
# The other texts for readers: their links hold, too, and so do their blocks.
NOTES = [
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    ROOT / "benchmarks" / "README.md",
    *sorted(ROOT.glob("examples/*/README.md")),
]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w{}-]*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S
)
_FILE = re.compile(r"<!-- file: (?P<path>[\w./-]+) -->\s*\Z")
_SPACES = re.compile(r"(?<=\S)  +")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page.

    Attributes:
        language: What follows the opening fence, may be empty.
        text: What is between the fences.
        line: The line of its first line, from 1.
        file: The path that a comment above gives it, or None.
    """

    language: str
    text: str
    line: int
    file: str | None


@dataclass(frozen=True)
class Step:
    """One command of a ``console`` block, and what is shown of its output, may be nothing."""

    command: str
    shown: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        named = _FILE.search(text, 0, fence.start())
        found.append(
            Block(
                language=fence["language"],
                text=inspect.cleandoc("\n" + fence["text"]) + "\n"
                if fence["indent"]
                else fence["text"],
                line=text.count("\n", 0, fence.start("text")) + 1,
                file=named["path"] if named else None,
            )
        )
    return found


def steps_of(block: Block) -> Iterator[Step]:
    """Return the commands of a ``console`` block, each behind a ``$``."""
    first, *rest = re.split(r"^\$ ", block.text, flags=re.M)
    assert first == "", f"line {block.line}: a command begins with '$ '"
    for each in rest:
        command, _, shown = each.partition("\n")
        yield Step(command, shown)


def without_blocks(text: str) -> str:
    return _FENCE.sub("", text)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def pages(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", paths, ids=name_of)


def check_shown(shown: str, printed: str) -> None:
    """Compare what a page shows with what was printed, but for the width of columns.

    Where a line is ``…`` the page leaves lines out: those that it shows stand in the output in
    this order.
    """
    expected, found = (
        [_SPACES.sub("  ", line) for line in text.strip("\n").splitlines()]
        for text in (shown, printed)
    )
    if "…" not in expected:
        assert expected == found
        return
    rest = iter(found)
    for line in expected:
        # `in` goes on where it stopped before.
        assert line == "…" or line in rest, f"{line!r} is not, or not there, in:\n{printed}"
