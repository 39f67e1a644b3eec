"""What operators send, read up to a bound."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import MultiDict
from starlette.requests import Request

from pyfly_session.management.operations import PAGE_SIZE, Refusal

_MOST_BYTES = 64 * 1024
# The sessions of a page, each picked, and a few besides.
_MOST_FIELDS = PAGE_SIZE + 16


async def read_json(request: Request) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        Refusal: It is none, or too large, or does not say that it is JSON.
    """
    _require(request, "application/json")
    try:
        value = json.loads(await _read(request))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refusal(400, "the body must be a JSON object")
    return value


async def read_form(request: Request) -> MultiDict:
    """Return the fields of a form.

    Raises:
        Refusal: It is none, or too large.
    """
    _require(request, "application/x-www-form-urlencoded")
    try:
        text = (await _read(request)).decode()
        return MultiDict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise Refusal(400, "the body must be a form") from error


def _require(request: Request, media_type: str) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise Refusal(415, f"the body must be {media_type}")


async def _read(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise Refusal(413, f"the body must have at most {_MOST_BYTES} bytes")
    return body
