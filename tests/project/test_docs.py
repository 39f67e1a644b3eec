"""The documentation runs: its Python, its links, its property keys and its lists of names."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import inspect
import io
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from pyfly_session import HttpSession, errors
from pyfly_session.config import bind_properties, describe_properties
from pyfly_session.config.oauth2_properties import bind_oauth2_properties
from pyfly_session.core.codec import _SHARED_TYPES
from pyfly_session.testing import plugin
from tests.project.pages import (
    DOCS,
    NOTES,
    PACKAGE,
    PAGES,
    ROOT,
    Block,
    blocks_of,
    check_shown,
    name_of,
    pages,
    without_blocks,
)
from tests.project.reader import run_tests
from tests.support.cases import for_each

_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.M)
# A container spells the path to a property alike, with methods behind it.
_KEY = re.compile(r"(?<!config\.)\bpyfly\.session\.(?P<rest>[a-z-]+(?:\.[a-z-]+)*)")
_VARIABLE = re.compile(r"\bPYFLY_SESSION_[A-Z0-9_]*[A-Z0-9]")
# Whose blocks of text are compared in test_texts.py, besides those that a block before prints.
_TEXTS = {
    "docs/how-to/custom-store.md",
    "docs/how-to/run-on-cluster-and-sentinel.md",
    "docs/reference/errors.md",
}
# What else is looked at, and the beginnings of the pages that have it: test_transcripts.py runs
# the commands, test_deploy.py the servers, Sphinx the directives, and browser/test_tutorial.py the
# provider.
_LANGUAGES: dict[str, str | tuple[str, ...]] = {
    "console": "docs/",
    "{eval-rst}": "docs/reference/api/",
    "js": "docs/tutorial/log-in-with-a-provider.md",
    **dict.fromkeys(("nginx", "ini", "dockerfile"), "docs/how-to/deploy.md"),
}
# The modules that an application, or its tests, import from.
_PUBLIC = [
    *("", ".auto_configuration", ".concurrency", ".events", ".fastapi", ".management"),
    *(".observability", ".scopes", ".security", ".security.oauth2", ".testing"),
    *(".testing.application", ".testing.plugin", ".web"),
]
# What has no leading underscore because other modules of the library use it.
_NOT_OFFERED = {"pyfly_session.observability.system_of"}
# What a fixture is while its module is not run by pytest.
_FIXTURE = type(plugin.sessions)
# docs/reference/properties.md names two of those that container platforms set by themselves.
_SERVICE_VARIABLES = {"PYFLY_SESSION_SERVICE_HOST", "PYFLY_SESSION_PORT_80_TCP"}


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Return the globals that the blocks of one page share: those of a module of its own."""
    module = ModuleType("documentation_page")
    sys.modules[module.__name__] = module
    yield vars(module)
    del sys.modules[module.__name__]


@pages([page for page in PAGES if any(block.language == "python" for block in blocks_of(page))])
def test_python_of_a_page_runs_from_top_to_bottom(
    page: Path,
    namespace: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    blocks = blocks_of(page)
    # What a page allows for its process is not to hold for the tests after it.
    for name in ("_by_tag", "_tags"):
        monkeypatch.setattr(_SHARED_TYPES, name, dict(getattr(_SHARED_TYPES, name)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYFLY_PROFILES_ACTIVE", raising=False)
    monkeypatch.setenv("CSRF_SECRET", "only for this test")
    if any("REDIS_URL" in block.text for block in blocks if block.language == "python"):
        monkeypatch.setenv("REDIS_URL", request.getfixturevalue("valkey_url"))
    shutil.copytree(ROOT / "config", tmp_path / "config")
    printed = ""
    with asyncio.Runner() as runner:
        for block in blocks:
            if block.language == "text" and printed:
                check_shown(block.text, printed)
            printed = ""
            if block.file is not None:
                path = tmp_path / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.exists():
                    _run_tests_in(tmp_path)  # of the page so far, which goes on otherwise
                path.write_text(block.text, encoding="utf-8")
                if path.name.startswith("test_"):
                    continue
            if block.language == "python":
                with contextlib.redirect_stdout(io.StringIO()) as output:
                    _run(block, page, namespace, runner)
                printed = output.getvalue()
    _run_tests_in(tmp_path)


def _run_tests_in(folder: Path) -> None:
    if tests := sorted(map(str, folder.rglob("test_*.py"))):
        done = run_tests(folder, "-W", "error", *tests)
        assert done.returncode == 0, done.stdout


def _run(block: Block, page: Path, namespace: dict[str, Any], runner: asyncio.Runner) -> None:
    # Blank lines in front make the traceback point into the page.
    code = compile(
        "\n" * (block.line - 1) + block.text,
        page,
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )
    if code.co_flags & inspect.CO_COROUTINE:

        async def run() -> None:
            await eval(code, namespace)  # noqa: S307 - our own pages

        runner.run(run())
    else:
        exec(code, namespace)  # noqa: S102 - our own pages


@for_each("page", PAGES + NOTES)
def test_no_block_is_passed_over(page: Path) -> None:
    blocks = blocks_of(page)
    lines = page.read_text(encoding="utf-8").splitlines()
    # One that is not recognized would be: by another fence, or with words behind its language.
    assert sum(line.lstrip().startswith(("```", "~~~")) for line in lines) == 2 * len(blocks)
    for before, block in zip([None, *blocks], blocks, strict=False):
        if block.language in ("python", "yaml"):
            # Only PAGES are run.
            looked_at = page in PAGES
        elif block.language == "text":
            shown = before is not None and before.language == "python" and "print(" in before.text
            looked_at = shown or name_of(page) in _TEXTS
        else:
            looked_at = name_of(page).startswith(_LANGUAGES.get(block.language, ()))
        assert looked_at, f"line {block.line}: nothing runs or compares this block, add a test"


@for_each("page", PAGES + NOTES)
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.finditer(without_blocks(page.read_text(encoding="utf-8"))):
        target, _, anchor = link["target"].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors_of(path)):
            broken.append(link["target"])
    assert not broken


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    anchors: set[str] = set()
    for heading in _HEADING.finditer(without_blocks(page.read_text(encoding="utf-8"))):
        slug = re.sub(r"[^\w\- ]", "", heading["title"].lower()).replace(" ", "-")
        count = 0
        while (anchor := f"{slug}-{count}" if count else slug) in anchors:
            count += 1
        anchors.add(anchor)
    return anchors


def test_every_page_and_example_has_its_line_in_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    # The navigation of the site is made of these lines.
    listed = re.findall(r"^- \[[^\]]+\]\(([\w./-]+\.md)\)", index, re.M)
    assert len(listed) == len(set(listed))
    pages = {*DOCS.rglob("*.md"), *ROOT.glob("examples/*/README.md")} - {DOCS / "index.md"}
    missing = pages - {(DOCS / path).resolve() for path in listed}
    assert {name_of(page) for page in missing} == set(), "add a line to a list of docs/index.md"


@for_each("module", _PUBLIC)
def test_what_a_module_offers_is_in_the_reference_of_the_code(module: str) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("reference/api/*.md"))
    whole_modules = set(re.findall(r"^\.\. automodule:: ([\w.]+)$", text, re.M))
    directive = r"^\.\. (?:auto(?:class|function|data)|py:function):: ([\w.]+)"
    objects = [_object_at(path) for path in re.findall(directive, text, re.M)]
    offered = dict(_offered(importlib.import_module(f"pyfly_session{module}")))
    assert offered
    for name, each in offered.items():
        homes = [each.__module__] if _is_made(each) else _places_of(each, name)
        documented = whole_modules & {*homes} or any(each is other for other in objects)
        assert documented or f"{homes[0]}.{name}" in _NOT_OFFERED, f"{homes[0]}.{name}"


def _object_at(path: str) -> Any:
    """Return what a directive documents, which may be a name at another place than its home."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _offered(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Return the public names of a module, with what they name."""
    made = {name: each for name, each in vars(module).items() if _is_made(each)}
    own = [name for name, each in made.items() if each.__module__ == module.__name__]
    for name in getattr(module, "__all__", own):
        if not name.startswith("_"):
            yield name, getattr(module, name)


def _is_made(each: object) -> bool:
    return inspect.isclass(each) or inspect.isfunction(each) or isinstance(each, _FIXTURE)


def _places_of(each: object, name: str) -> list[str]:
    """Return the modules that have a constant or an alias, which does not say where it is from."""
    modules = [(at, it) for at, it in sys.modules.items() if at.startswith("pyfly_session")]
    return [at for at, it in modules if vars(it).get(name) is each]


@for_each("page", PAGES)
def test_every_property_that_is_named_exists(page: Path) -> None:
    described = describe_properties()
    keys = {each.key.removeprefix("pyfly.session.") for each in described}
    sections = {key.rpartition(".")[0] for key in keys}
    text = page.read_text(encoding="utf-8")
    # The names of metrics begin like those of properties.
    telemetry = (PACKAGE / "observability.py").read_text(encoding="utf-8")
    metrics = {match["rest"] for match in _KEY.finditer(telemetry)}
    unknown = {match["rest"] for match in _KEY.finditer(text)} - keys - sections - metrics
    assert not unknown
    variables = {each.environment_variable for each in described} | _SERVICE_VARIABLES
    assert not set(_VARIABLE.findall(text)) - variables


@for_each(
    "page", [page for page in PAGES if any(block.language == "yaml" for block in blocks_of(page))]
)
def test_yaml_of_a_page_holds_allowed_properties(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "yaml":
            # Placeholders are resolved where the blocks run; here their defaults stand for them.
            tree = yaml.safe_load(re.sub(r"\$\{\w+:([^}]*)\}", r"\1", block.text))
            assert bind_properties(tree) is not None
            assert bind_oauth2_properties(tree) is not None


def test_architecture_names_every_folder_of_the_package_and_no_other() -> None:
    text = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    ours = {f"{path.relative_to(PACKAGE).as_posix()}/" for path in folders - {PACKAGE}}
    named = re.findall(r"^\| `([\w/]+/)` \|", text, re.M)
    assert sorted(named) == sorted({*ours, f"{PACKAGE.name}/"})


def test_every_exception_has_its_section() -> None:
    headings = set(_HEADING.findall((DOCS / "reference" / "errors.md").read_text(encoding="utf-8")))
    names = {name for name, each in vars(errors).items() if inspect.isclass(each)}
    assert {f"`{name}`" for name in names} <= headings


def test_every_public_member_of_the_session_is_in_a_table_and_no_other() -> None:
    text = (DOCS / "reference" / "session.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`[^|]+) \|", text, re.M)
    named = [name for cell in cells for name in re.findall(r"`(\w+)", cell)]
    own = {*vars(HttpSession), *vars(HttpSession.__base__)}
    members = [name for name in own if not name.startswith("_")]
    assert sorted(named) == sorted(members)
