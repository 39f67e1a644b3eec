"""The names under which a session is found by what a provider calls its user and its session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from pyfly_session.security.login import ALIAS_PREFIX


def alias(registration_id: str, claim: Literal["sub", "sid"], value: str) -> str:
    """Return the name of what a provider calls so, at one registration and no other."""
    # Without a colon in the id there is one way only to read the whole.
    return f"{ALIAS_PREFIX}oidc:{quote(registration_id, safe='')}:{claim}:{value}"


def aliases(registration_id: str, claims: Mapping[str, Any]) -> list[str]:
    """Return the names of a session that began with an ID token of these claims."""
    found = []
    for claim in ("sub", "sid"):
        value = claims.get(claim)
        if isinstance(value, str) and value:
            found.append(alias(registration_id, claim, value))
    return found
