"""The site of the documentation: built strictly, complete, quiet, and as narrow as a phone."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.needs import lacks
from tests.project.pages import blocks_of

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.timeout(300)  # the site is built once, and every page looked at
_DESK = {"width": 1280, "height": 800}
_PHONE = {"width": 390, "height": 844}
_ENTRY = "document.querySelector('.sidebar-tree .current-page > a')?.getBoundingClientRect().y"
_OVERHANG = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass
class Page(HTMLParser):
    """What one page of the site offers and asks for.

    Attributes:
        anchors: Where a link may lead in it.
        links: Where its links lead.
        parts: The files that a browser loads with it.
    """

    path: Path
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value is not None}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        target = given.get("href") or given.get("src")
        if target is not None and tag == "a":
            self.links.append(target)
        elif target is not None and tag in {"link", "script", "img"}:
            self.parts.append(target)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site, built with every warning an error."""
    for module in ("sphinx", "myst_parser", "furo", "sphinx_copybutton"):
        if importlib.util.find_spec(module) is None:
            lacks(f"{module}, of the extra `docs`")
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-c", "docs", "-d", str(folder / ".doctrees")]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "sphinx", *options, ".", str(folder)],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for page in pages.values():
        for link in page.links:
            target, _, anchor = unquote(link).partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            path = (page.path.parent / target).resolve() if target else page.path
            found = pages.get(path)
            if not path.is_file() or (found and anchor and anchor not in found.anchors):
                broken.append(f"{page.path.relative_to(site)}: {link}")
    assert not broken


def test_everything_comes_from_the_site_itself(site: Path, pages: dict[Path, Page]) -> None:
    for page in pages.values():
        for part in page.parts:
            path = page.path.parent / unquote(part.partition("?")[0].partition("#")[0])
            assert part.startswith(("data:", "#")) or path.is_file(), f"{page.path}: {part}"


def test_every_page_shows_where_it_is_fits_a_phone_and_writes_nothing_to_the_console(
    site: Path, pages: dict[Path, Page], chromium: Any
) -> None:
    found: list[str] = []
    context = chromium.new_context()
    tab = context.new_page()
    tab.on("console", lambda message: found.append(f"{tab.url}: {message.text}"))
    tab.on("pageerror", lambda error: found.append(f"{tab.url}: {error}"))
    for path in pages:
        # The one leads elsewhere at once, the others are all alike.
        if path == site / "index.html" or path.parent.is_relative_to(site / "_modules"):
            continue
        tab.set_viewport_size(_DESK)
        tab.goto(path.as_uri())
        top = tab.evaluate(_ENTRY)
        if top is not None and not 0 < top < _DESK["height"] - 32:
            found.append(f"{path.relative_to(site)} is out of sight in the navigation")
        tab.set_viewport_size(_PHONE)
        for theme in ("light", "dark"):
            tab.emulate_media(color_scheme=theme)
            if overhang := max(0, tab.evaluate(_OVERHANG)):
                found.append(f"{path.relative_to(site)}, {theme}, is {overhang} pixels too wide")
    context.close()
    assert not found


# Where somebody comes to who types a word into the search.
_SOUGHT = {
    "cookie": "how-do-i", "nginx": "deploy", "password": "log-in-with-your-own-form",
    "logout": "log-in-and-out", "worker": "deploy", "csrf": "log-in-with-your-own-form",
    "memory": "choose-a-store", "test": "test-an-application",
}  # fmt: skip


def test_the_search_finds_what_people_type(site: Path, chromium: Any) -> None:
    context = chromium.new_context()
    tab = context.new_page()
    missing = {}
    for word, page in _SOUGHT.items():
        tab.goto(f"{(site / 'search.html').as_uri()}?q={word}")
        tab.locator(".search-summary", has_text="found").wait_for()
        links = tab.locator("#search-results li > a").evaluate_all("all => all.map(a => a.href)")
        if not any(f"/{page}.html" in link for link in links[:10]):
            missing[word] = links[:3]
    context.close()
    assert not missing


# One of each kind: text, wide blocks, wide tables, lists of properties, signatures, the search.
_KINDS = [
    *("docs/index", "docs/how-to/deploy", "docs/explanation/performance"),
    *("docs/reference/properties", "docs/reference/api/codec", "search"),
]


@pytest.mark.parametrize(("theme", "size"), [("light", _DESK), ("dark", _PHONE)])
def test_an_accessibility_checker_finds_nothing(
    site: Path, chromium: Any, theme: str, size: dict[str, int]
) -> None:
    try:
        with warnings.catch_warnings():
            # It reads a file of its own as it is imported.
            warnings.simplefilter("ignore", EncodingWarning)
            from axe_playwright_python.sync_playwright import Axe
    except ModuleNotFoundError:
        lacks("axe-playwright-python")
    context = chromium.new_context(color_scheme=theme, viewport=size)
    tab = context.new_page()
    found = []
    for page in _KINDS:
        tab.goto((site / f"{page}.html").as_uri())
        found += [
            (page, each["impact"], each["id"], each["nodes"][0]["html"])
            for each in Axe().run(tab).response["violations"]
        ]
    context.close()
    assert not found


@pytest.mark.parametrize("picture", ["request", "imports"])
def test_picture_follows_theme_that_reader_chose(site: Path, chromium: Any, picture: str) -> None:
    context = chromium.new_context(color_scheme="light")
    tab = context.new_page()
    tab.goto((site / "docs" / "explanation" / "architecture.html").as_uri())
    image = tab.locator(f'img[src*="{picture}"]')
    seen = []
    for theme in ("light", "dark"):
        tab.evaluate("theme => document.body.dataset.theme = theme", theme)
        seen.append(image.screenshot())
    context.close()
    assert seen[0] != seen[1]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_in_block_of_code_looks_like_link(site: Path, chromium: Any, theme: str) -> None:
    context = chromium.new_context(color_scheme=theme)
    tab = context.new_page()
    tab.goto((site / "docs" / "how-to" / "fastapi.html").as_uri())
    decorations = tab.locator(".highlight pre span").evaluate_all(
        "all => [...new Set(all.map(each => getComputedStyle(each).textDecorationLine))]"
    )
    context.close()
    assert decorations == ["none"]


def test_a_wide_table_shows_where_it_goes_on(site: Path, chromium: Any) -> None:
    context = chromium.new_context(viewport=_PHONE)
    tab = context.new_page()
    tab.goto((site / "docs" / "how-to" / "custom-store.html").as_uri())
    table = tab.locator(".table-wrapper").first
    faded = "each => getComputedStyle(each).maskImage.match(/rgba?\\([^)]*\\)/g)"
    clear, full = "rgba(0, 0, 0, 0)", "rgb(0, 0, 0)"
    tab.locator(".table-wrapper.goes-on").first.wait_for()
    seen = [table.evaluate(faded)]
    table.evaluate("each => each.scrollLeft = each.scrollWidth")
    tab.locator(".table-wrapper.began-before").first.wait_for()
    seen.append(table.evaluate(faded))
    context.close()
    assert [(each[0], each[-1]) for each in seen] == [(full, clear), (clear, full)]


def copied_of(site: Path, chromium: Any, block: str, words: str) -> str:
    """Copy a block of the first tutorial, with nothing but keys."""
    context = chromium.new_context(permissions=["clipboard-read"])
    tab = context.new_page()
    tab.goto((site / "docs" / "tutorial" / "first-session.html").as_uri())
    tab.locator(block, has_text=words).first.locator("button.copybtn").focus()
    tab.keyboard.press("Enter")
    tab.locator("button.copybtn.success").wait_for()
    copied = str(tab.evaluate("navigator.clipboard.readText()"))
    context.close()
    return copied


def test_a_program_is_copied_as_it_is(site: Path, chromium: Any) -> None:
    page = ROOT / "docs" / "tutorial" / "first-session.md"
    [program] = [block.text for block in blocks_of(page) if block.file == "shop.py"]
    copied = copied_of(site, chromium, ".highlight-python", "app = Starlette(")
    assert copied.strip() == program.strip()


def test_commands_of_transcript_are_copied_without_output(site: Path, chromium: Any) -> None:
    copied = copied_of(site, chromium, ".highlight-console", "HTTP/1.1")
    first, *rest = copied.splitlines()
    assert (first, len(rest)) == ("curl -i -b jar -c jar -X POST localhost:8000/cart/lamp", 4)
    assert all(line.startswith("curl -b jar -c jar ") for line in rest)
