"""`ProviderClient`: Authlib's client, with bounds to what a provider may answer."""

from __future__ import annotations

import asyncio
import base64
import zlib
from typing import Any
from urllib.parse import quote_plus

import httpx2
from authlib.integrations.httpx_client import AsyncOAuth2Client

from pyfly_session.security.oauth2.forms import read_object

MOST_BYTES = 512 * 1024
"""The largest answer, once it is decompressed; a thousand keys take less."""

_ENCODING = (b"content-encoding", b"content-length", b"transfer-encoding")


class ProviderClient(AsyncOAuth2Client):  # type: ignore[misc]  # Authlib has no types
    """Talks to one provider for as long as one request of a browser takes.

    Args:
        seconds: How long each answer may take, from the first to the last byte.
        options: Those of Authlib's client.
    """

    def __init__(self, seconds: float, **options: Any) -> None:
        super().__init__(timeout=seconds, headers={"Accept-Encoding": "gzip"}, **options)
        self._seconds = seconds
        self.register_client_auth_method(("client_secret_basic", _basic))

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request and return the whole answer.

        Raises:
            TimeoutError: It took too long.
            ValueError: It is too large, or compressed in another way than was asked for.
        """
        async with asyncio.timeout(self._seconds):
            response: httpx2.Response = await super().send(request, **{**options, "stream": True})
            if response.is_stream_consumed:
                # A transport of one's own may answer with all at once.
                return response
            try:
                raw = bytearray()
                async for chunk in response.aiter_raw():
                    raw += chunk
                    _require_small(raw)
            finally:
                await response.aclose()
        return httpx2.Response(
            response.status_code,
            headers=[pair for pair in response.headers.raw if pair[0].lower() not in _ENCODING],
            content=_decompressed(raw, response.headers.get("content-encoding", "identity")),
            request=request,
        )

    async def get_object(self, url: str, access_token: str | None = None) -> dict[str, Any]:
        """Return the JSON object that is found at an address.

        Raises:
            HTTPError: There is none, or it cannot be reached.
            ValueError: It is something else.
        """
        headers = {"Accept": "application/json"}
        if access_token is not None:
            headers["Authorization"] = f"Bearer {access_token}"
        response = await self.request("GET", url, withhold_token=True, auth=None, headers=headers)
        response.raise_for_status()
        return read_object(response.content)


def _decompressed(raw: bytearray, encoding: str) -> bytes:
    if encoding.lower() == "identity":
        return bytes(raw)
    if encoding.lower() not in ("gzip", "x-gzip", "deflate"):
        raise ValueError(f"the answer is compressed by {encoding}")
    body = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(raw, MOST_BYTES + 1)
    _require_small(body)
    return body


def _require_small(body: bytes | bytearray) -> None:
    if len(body) > MOST_BYTES:
        raise ValueError(f"the answer is larger than {MOST_BYTES} bytes")


def _basic(client: Any, method: str, uri: str, headers: Any, body: Any) -> tuple[str, Any, Any]:
    """Send id and secret in a header.

    Source: RFC 6749, section 2.3.1: both are form-encoded first.
    """
    both = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    headers["Authorization"] = f"Basic {base64.b64encode(both.encode()).decode()}"
    return uri, headers, body
