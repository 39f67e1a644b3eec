"""Puts what was measured on a page of the documentation, between two marks."""

from __future__ import annotations

from pathlib import Path


def put(page: Path, name: str, text: str) -> None:
    """Replace what is between ``<!-- name: begin -->`` and ``<!-- name: end -->``.

    Raises:
        SystemExit: The page has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.read_text("utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise SystemExit(f"{page} has no marks {begin} and {end} to put the tables between")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", "utf-8")
