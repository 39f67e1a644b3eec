"""What comes in a query, in a form or as JSON: bounded, unambiguous, and text that is text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from pyfly_session.security.oauth2.errors import OAuth2LoginError

MOST_BYTES = 16_384
"""The largest body that is read; a logout token takes about one thousand bytes."""


async def read_form(request: Request) -> list[tuple[str, str]]:
    """Return the fields of a form.

    Raises:
        OAuth2LoginError: The body is too large, or incomplete.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                raise OAuth2LoginError("invalid_request", "The body is too large.", 413)
    except ClientDisconnect as error:
        raise OAuth2LoginError("invalid_request", "The body is incomplete.") from error
    return parse_qsl(body.decode("utf-8", "replace"))


def once_each(pairs: Iterable[tuple[str, str]], names: frozenset[str]) -> dict[str, str]:
    """Return what is there under the names of the protocol; each may be there once only.

    Source: RFC 6749, section 3.1.

    Raises:
        OAuth2LoginError: One is there twice.
    """
    found = [pair for pair in pairs if pair[0] in names]
    if len({name for name, _ in found}) != len(found):
        raise OAuth2LoginError("invalid_request", "The provider's answer is ambiguous.")
    return dict(found)


def read_object(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: It is something else, or has text in it that nobody can store.
    """
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - as any other fault
    json.dumps(found, ensure_ascii=False).encode()
    return found
