"""The path of a request, as the application's routes and as the browser see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROOT = "pyfly_session.root"
"""Where a scope keeps the path below which the application with the sessions is, if there is one.

Further inside, ``root_path`` tells of an application that may be mounted in that one.
"""


def root_of(scope: Mapping[str, Any]) -> str:
    """Return the path below which an application is, as the browser sees it; often empty."""
    root: str = scope.get("root_path", "")
    return root.rstrip("/")


def route_path(scope: Mapping[str, Any]) -> str:
    """Return the path that the application's routes see: without what lies above it.

    Below a ``Mount``, with ``--root-path`` or behind a proxy the scope has the whole path and,
    as its ``root_path``, what the application is below.

    Source: ASGI specification, HTTP connection scope; Starlette's ``get_route_path``.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not root or not path.startswith(root):
        # A proxy has stripped it.
        return path
    rest = path[len(root) :]
    if not rest:
        return "/"
    return rest if rest[0] == "/" else path


def browser_path(scope: Mapping[str, Any]) -> str:
    """Return the path that the browser asked for, be it that a proxy has stripped some of it."""
    root: str = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"]
    return path if path == root else root + route_path(scope)
