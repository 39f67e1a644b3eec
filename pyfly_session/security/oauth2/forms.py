"""What comes in a query or in a form: bounded, and nothing of the protocol there twice."""

from __future__ import annotations

from collections.abc import Iterable
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
