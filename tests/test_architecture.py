"""The rooms of the package import each other in one direction only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pyfly_session"

# Each room with the rooms that it may import besides itself and the standard library.
CORE = {
    "errors",
    "ids",
    "type_tags",
    "codec",
    "metadata",
    "pictures",
    "attributes",
    "session_state",
    "session",
    "ports",
}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "ids": set(),
    "type_tags": set(),
    "codec": {"errors", "type_tags", "msgspec"},
    "metadata": {"errors", "type_tags", "codec", "msgspec"},
    "pictures": set(),
    "attributes": {"errors", "codec", "metadata", "pictures"},
    "session_state": {"errors", "ids", "codec", "metadata", "attributes"},
    "session": {"errors", "ids", "codec", "metadata", "attributes", "session_state"},
    "ports": set(),
    "store_capabilities": {*CORE},
    "hashed_ids": {"store_capabilities", "ports"},
    "merge": {*CORE},
    "outcome": set(),
    "turns": set(),
    "tasks": set(),
    "events": set(),
    "event_publisher": {*CORE, "events", "store_capabilities", "tasks"},
    "invalidation": {"store_capabilities", "metadata", "event_publisher"},
    "records": {"errors", "ids", "store_capabilities", "turns"},
    "principal_index": {*CORE, "store_capabilities", "records"},
    "registration": {"errors", "metadata", "session", "principal_index"},
    "index": {"metadata", "session", "records", "principal_index"},
    "concurrency": {"principal_index"},
    "repository": {
        *CORE,
        "invalidation",
        "events",
        "store_capabilities",
        "merge",
        "outcome",
        "registration",
        "index",
        "event_publisher",
        "hashed_ids",
        "turns",
        "tasks",
    },
    "encryption": {"codec", "errors", "cryptography"},
    "observability": {
        *CORE,
        "store_capabilities",
        "config",
        "repository",
        "web",
        "opentelemetry",
    },
    "scopes": {"codec", "errors", "metadata", "session", "web", "dependency_injector"},
    "config": {"errors", "msgspec", "yaml"},
    "adapters": {*CORE, "redis"},
    "keeping": {*CORE, "repository"},
    "web": {*CORE, "concurrency", "keeping", "repository", "config", "starlette"},
    "security": {
        *CORE,
        "concurrency",
        "store_capabilities",
        "registration",
        "web",
        "starlette",
        "authlib",
        "httpx2",
        "joserfc",
    },
    "fastapi": {
        *CORE,
        "web",
        "config",
        "security",
        "pydantic",
        "pydantic_core",
        "starlette",
    },
    "testing": {
        *CORE,
        *("store_capabilities", "repository", "web", "security", "adapters", "auto_configuration"),
        *("pytest", "anyio", "dependency_injector", "httpx2", "starlette"),
    },
}
# Those that wire everything, and that nobody below imports.
TOP = {
    "__init__",
    "auto_configuration",
    "cli",
    "management",
}


def room_of(path: Path) -> str:
    return room_in(path.relative_to(PACKAGE).parts).removesuffix(".py")


def room_in(parts: Sequence[str]) -> str:
    """Return the room of a path in the package: each file below the folder ``core`` is one."""
    if parts[0] != "core":
        return parts[0]
    return parts[2] if parts[1] == "principals" else parts[1]


def imported_rooms(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            base = node.module or ""
            names |= {f"{base}.{alias.name}" for alias in node.names}
    rooms = set()
    for name in names:
        parts = name.split(".")
        if parts[0] == "pyfly_session":
            rooms.add(room_in(parts[1:]))
        elif parts[0] not in sys.stdlib_module_names:
            rooms.add(parts[0])
    return rooms


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_room_imports_only_what_it_may(path: Path) -> None:
    room = room_of(path)
    if room in TOP:
        return
    assert room in ALLOWED, f"say in this test what the new room {room} may import"
    forbidden = imported_rooms(path) - ALLOWED[room] - {room}
    assert not forbidden, f"{room} must not import {sorted(forbidden)}"


@pytest.mark.parametrize("room", ["cli", "management"])
def test_what_people_look_at_is_imported_by_nobody(room: str) -> None:
    users = {room_of(path) for path in MODULES if room in imported_rooms(path)}
    assert users <= {room, "cli"}


def test_only_the_wiring_names_a_concrete_adapter() -> None:
    users = {room_of(path) for path in MODULES if "adapters" in imported_rooms(path)}
    assert users <= TOP | {"adapters", "testing"}


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("pyfly_session", ["redis", "dependency_injector", "pytest"]),
        ("pyfly_session.testing", ["redis", "dependency_injector"]),
    ],
)
def test_importing_the_package_spares_what_it_does_not_need(module: str, spared: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {spared} if name in sys.modules])"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.strip() == "[]"


def test_no_module_has_outgrown_its_purpose() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in MODULES}
    too_long = {str(path): length for path, length in lengths.items() if length > 350}
    assert not too_long
