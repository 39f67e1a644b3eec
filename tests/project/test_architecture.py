"""The rooms of the package import each other in one direction only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from tests.support.cases import for_each

PACKAGE = Path(__file__).parent.parent.parent / "pyfly_session"

_BOTTOM = {"errors", "events", "ids", "ports"}
_SESSIONS = {*_BOTTOM, "concurrency", "core"}
_HTTP = {*_SESSIONS, "web", "@starlette"}
_SECURITY = {*_HTTP, "security"}
_WIRING = {*_SECURITY, "adapters", "config", "observability"}
# Each room with what it may import besides itself and the standard library: a folder, or a part of
# one that has a row of its own. Libraries have an @, because one is called like a folder of ours.
# `docs/explanation/architecture.md` shows the same to readers.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "events": set(),
    "ids": set(),
    "ports": set(),
    "core": {*_BOTTOM, "@msgspec"},
    "core.encryption": {"core", "errors", "@cryptography"},
    "concurrency": {"core.principals", "ports"},
    "adapters": {"core.codec", "errors", "ids", "ports"},
    "adapters.redis": {"core.codec", "errors", "ids", "ports", "@redis"},
    "adapters.sql": {"core.codec", "errors", "ids", "ports", "@sqlalchemy"},
    "config": {"errors", "@msgspec", "@yaml"},
    "web": {*_SESSIONS, "@starlette"},
    "security": _HTTP,
    "security.oauth2": {*_SECURITY, "@authlib", "@httpx2", "@joserfc"},
    "scopes": {*_SECURITY, "@dependency_injector"},
    "observability": {*_SECURITY, "@opentelemetry"},
    "fastapi": {*_SECURITY, "@fastapi", "@pydantic", "@pydantic_core"},
    "auto_configuration": {*_WIRING, "@dependency_injector", "@msgspec", "@redis", "@sqlalchemy"},
    "testing.contract": {*_BOTTOM, "core", "testing.clock", "@pytest", "@anyio"},
    # The public names, and what is started from outside; nobody below imports these.
    "__init__": {*_SECURITY, "auto_configuration"},
    "management": {*_WIRING, "auto_configuration", "@jinja2", "@markupsafe"},
    "__main__": {"cli"},
    "cli": {
        *(*_WIRING, "__init__", "auto_configuration", "management"),
        *("@click", "@dependency_injector", "@redis", "@sqlalchemy", "@uvicorn"),
    },
    "testing": {
        *(*_WIRING, "auto_configuration", "testing.contract"),
        *("@dependency_injector", "@httpx2", "@pytest"),
    },
}
# What imports more than it may until its code is changed. This may only shrink.
STILL: dict[str, set[str]] = {}


def name_of(path: Path) -> str:
    """Return the name of a module below the package, ``__init__`` for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def imports_of(module: str) -> list[str]:
    """Return what a module imports: our modules below the package, and libraries as a whole."""
    return [*_imports_of(module)]


def _imports_of(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        names: list[tuple[str, str]] = []
        if isinstance(node, ast.Import):
            names = [(each.name, "") for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            names = [(node.module or "", each.name) for each in node.names]
        for source, name in names:
            library, _, inner = source.partition(".")
            if library != "pyfly_session":
                yield from () if library in sys.stdlib_module_names else (f"@{library}",)
            elif (below := f"{inner}.{name}".strip(".")) in MODULES:
                yield below
            else:
                yield inner or "__init__"


def rooms_of(module: str) -> list[str]:
    """Return the module and the folders that it is in, the innermost first."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def room_of(module: str) -> str:
    """Return the innermost of the rooms that have a row in the table."""
    known = next((each for each in rooms_of(module) if each in ALLOWED), None)
    assert known is not None, f"say in ALLOWED what the new room {folder_of(module)} may import"
    return known


def folder_of(module: str) -> str:
    return rooms_of(module)[-1]


def excess_of(module: str) -> set[str]:
    """Return what a module imports although its room may not."""
    room = room_of(module)
    allowed = ALLOWED[room] | {room}
    return {folder_of(each) for each in imports_of(module) if not allowed & {*rooms_of(each)}}


def path_of(module: str) -> str:
    return MODULES[module].relative_to(PACKAGE).as_posix()


def test_each_room_imports_only_what_it_may() -> None:
    """What is forbidden is not imported, and what is no longer an exception is not listed."""
    excess = {path_of(module): excess_of(module) for module in MODULES}
    assert {path: found for path, found in excess.items() if found} == STILL


def test_neither_rooms_nor_modules_import_in_a_circle() -> None:
    """There is an order in which everything can be read."""
    modules = {module: {*imports_of(module)} & MODULES.keys() - {module} for module in MODULES}
    tuple(TopologicalSorter(modules).static_order())
    rooms: dict[str, set[str]] = {}
    for module, imported in modules.items():
        # The finer rows of the table belong to their folder here.
        room = folder_of(module)
        rooms.setdefault(room, set()).update({*map(folder_of, imported)} - {room})
    tuple(TopologicalSorter(rooms).static_order())


@for_each("room", ["cli", "management", "testing"])
def test_what_is_started_from_outside_is_imported_by_nobody(room: str) -> None:
    """Only the command line reaches over, to what an operator's lookup does already."""
    users = {folder_of(each) for each in MODULES if room in map(folder_of, imports_of(each))}
    assert users <= {room, "cli", "__main__"}


def test_only_the_wiring_names_a_concrete_adapter() -> None:
    """Nothing that sessions are made of depends on where they are kept."""
    users = {folder_of(each) for each in MODULES if "adapters" in map(folder_of, imports_of(each))}
    assert users <= {"adapters", "auto_configuration", "cli", "testing"}


@for_each(
    ("module", "spared"),
    [
        ("pyfly_session", ["redis", "sqlalchemy", "dependency_injector", "cryptography", "pytest"]),
        ("pyfly_session.security.oauth2", ["authlib", "httpx2", "joserfc"]),
        ("pyfly_session.testing", ["redis", "dependency_injector"]),
        ("pyfly_session.auto_configuration", ["pyfly_session.scopes"]),
    ],
)
def test_importing_the_package_spares_what_it_does_not_need(module: str, spared: list[str]) -> None:
    """An application loads the optional packages that it uses, and no others."""
    code = f"import sys, {module}; print([name for name in {spared} if name in sys.modules])"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_file_is_one_concept_of_at_most_500_lines_and_says_which() -> None:
    """A file is described once, in its docstring; one that grows further is two concepts."""
    texts = {path_of(module): path.read_text("utf-8") for module, path in MODULES.items()}
    assert {path for path, text in texts.items() if not ast.get_docstring(ast.parse(text))} == set()
    assert {path for path, text in texts.items() if len(text.splitlines()) > 500} == set()


def test_the_root_holds_few_modules() -> None:
    """What a newcomer sees first is the folders, and what everything rests on."""
    assert len([*PACKAGE.glob("*.py")]) <= 1 + 9, "besides __init__.py"
