"""What an OpenAPI document tells of the session: in which cookie or header its id travels."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

SCHEME = "Session"
"""Name of the security scheme; operations that need a session refer to it."""

_DESCRIPTION = "The id of a server-side session."


def security_scheme(way: str, name: str) -> dict[str, Any]:
    """Return the scheme of an id that travels in a ``cookie`` or ``header`` of this name."""
    return {"type": "apiKey", "in": way, "name": name, "description": _DESCRIPTION}


Way = tuple[str, str]
"""How an id travels: ``cookie`` or ``header``, and the name of that."""


def describe_session(
    app: Any,
    resolver: Callable[[], Any],
    configured: Callable[[], tuple[Way, ...]] = lambda: (("cookie", "PYFLY_SESSION"),),
) -> None:
    """Have an application's ``openapi()`` tell the cookie or header of the session.

    `pyfly_session.auto_configuration.enable_sessions` does it for the application that it is
    given. One that is mounted below that has a document of its own. Nothing happens if the
    application has no ``openapi``, or its document no scheme of ours.

    Args:
        app: A FastAPI application.
        resolver: Returns the resolver that holds now; the provider of a container does.
        configured: Returns the ways that count for a resolver without ``ways``.
    """
    undescribed = getattr(app, "openapi", None)
    if not callable(undescribed):
        return

    def openapi() -> dict[str, Any]:
        # A copy: FastAPI keeps what it made, and the properties may change.
        document: dict[str, Any] = copy.deepcopy(undescribed())
        schemes = document.get("components", {}).get("securitySchemes", {})
        if SCHEME in schemes:
            _add_ways(document, schemes, getattr(resolver(), "ways", ()) or configured())
        return document

    app.openapi = openapi


def _add_ways(document: dict[str, Any], schemes: dict[str, Any], ways: tuple[Way, ...]) -> None:
    schemes[SCHEME] = security_scheme(*ways[0])
    for number, (way, name) in enumerate(ways[1:], 2):
        alternative = f"{SCHEME}{way.capitalize()}"
        if alternative in schemes:
            alternative += str(number)
        schemes[alternative] = security_scheme(way, name)
        for path in document.get("paths", {}).values():
            for operation in path.values():
                _offer(operation, alternative)


def _offer(operation: Any, alternative: str) -> None:
    """Let an operation that needs the session accept it another way as well."""
    security = operation.get("security", []) if isinstance(operation, dict) else []
    for requirement in [each for each in security if SCHEME in each]:
        others = {name: scopes for name, scopes in requirement.items() if name != SCHEME}
        security.append({**others, alternative: requirement[SCHEME]})
