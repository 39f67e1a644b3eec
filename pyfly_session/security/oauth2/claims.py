"""From a provider's claims to a `SecurityContext`, and to the names that a session is found by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import quote

from pyfly_session.security.context import SecurityContext
from pyfly_session.security.login import ALIAS_PREFIX
from pyfly_session.security.oauth2.registration import ClientRegistration

ContextMapper = Callable[[ClientRegistration, Mapping[str, Any]], SecurityContext]
"""Makes the context of verified claims; an anonymous one refuses the login."""

# What ties a token to a moment says nothing about the user.
_PROTOCOL = frozenset(
    {"sub", "id", "iss", "aud", "azp", "nonce", "at_hash", "c_hash", "sid", "jti"}
)

# A picture in a claim has no place in a session.
_LONGEST = 2048


def claims_to_context(
    registration: ClientRegistration, claims: Mapping[str, Any]
) -> SecurityContext:
    """Return the context of a user; anonymous if the claims do not say who it is.

    The user's id is the claim that the registration names, else ``sub``, and without OpenID
    ``id`` or ``login`` as well. Claims that are texts become attributes, unless they are long.
    """
    if registration.user_name_attribute:
        candidates: tuple[str, ...] = (registration.user_name_attribute,)
    else:
        candidates = ("sub",) if registration.is_openid else ("sub", "id", "login")
    user_id = next((text for name in candidates if (text := _identity(claims.get(name)))), None)
    attributes = {
        name: value
        for name, value in claims.items()
        if isinstance(value, str) and name not in _PROTOCOL and len(value) <= _LONGEST
    }
    attributes["registration_id"] = registration.registration_id
    return SecurityContext(user_id, _roles(registration, claims), [], attributes)


def qualified_context(
    registration: ClientRegistration, claims: Mapping[str, Any]
) -> SecurityContext:
    """Return the context of a user whose id begins with that of the registration, and a colon.

    A name is unique at its own provider only, and may be that of a user of a form as well.
    """
    context = claims_to_context(registration, claims)
    if not context.user_id:
        return context
    return replace(context, user_id=f"{registration.registration_id}:{context.user_id}")


def _identity(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if type(value) is int else None


def _roles(registration: ClientRegistration, claims: Mapping[str, Any]) -> list[str]:
    mapping: dict[str, list[str]] = {}
    for entry in registration.role_mapping:
        value, _, role = entry.rpartition("=")
        mapping.setdefault(value, []).append(role)
    roles: dict[str, None] = {}
    for path in registration.role_claims:
        for value in _values(claims, path):
            roles.update(dict.fromkeys(mapping.get(value, []) if mapping else [value]))
    return list(roles)


def _values(claims: Mapping[str, Any], path: str) -> list[str]:
    """Return the texts of a claim; a claim may have dots in its own name."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found]
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


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
