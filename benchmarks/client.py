"""Asks a site's application in this process as a browser that keeps its cookie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks import work
from benchmarks.contestants import Contestant

_HOST = (b"host", b"localhost")
_DEAD_VALUES = {"", "null", '""', "''"}


@dataclass(frozen=True)
class Answer:
    """What a request got.

    Attributes:
        cookie: ``name=value`` to send from now on, or None if none is set.
    """

    status: int
    body: str
    cookie: str | None


class Site:
    """One contestant's application; its lifespan is left out, which none needs."""

    def __init__(self, contestant: Contestant, app: Any) -> None:
        self.contestant = contestant
        self.app = app
        self.keeps_data_in_cookie = contestant.store == "cookie"

    def scope(self, path: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
        """Return what a server gives an application with a request."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 50_000),
            "scheme": "http",
            "method": "GET",
            "root_path": "",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
            "state": {},
        }

    async def ask(self, path: str, cookie: str | None = None) -> Answer:
        """Send a request and return the answer; the application's errors are raised."""
        messages: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        await self.app(self.scope(path, headers_of(cookie)), receive, send)
        body = b"".join(each.get("body", b"") for each in messages)
        set_cookies = [
            value.decode()
            for name, value in messages[0]["headers"]
            if name.lower() == b"set-cookie"
        ]
        return _answer(messages[0]["status"], body, set_cookies)

    async def session(self, size: str = "small") -> str:
        """Return the cookie of a new session with data of a size."""
        answer = await self.ask(f"/seed-{size}")
        if answer.status != 200:
            raise RuntimeError(f"/seed-{size} was answered {answer.status}: {answer.body[:200]}")
        return answer.cookie or work.NO_COOKIE


async def receive() -> dict[str, Any]:
    """Return the empty body of a request."""
    return {"type": "http.request", "body": b"", "more_body": False}


def headers_of(cookie: str | None) -> list[tuple[bytes, bytes]]:
    """Return a request's headers."""
    return [_HOST] if cookie is None else [_HOST, (b"cookie", cookie.encode())]


def _answer(status: int, body: bytes, set_cookies: list[str]) -> Answer:
    cookie = None
    for each in set_cookies:
        pair, _, attributes = each.partition(";")
        attributes = attributes.lower()
        ended = (
            pair.partition("=")[2] in _DEAD_VALUES
            or "max-age=0" in attributes
            or "01 jan 1970" in attributes
        )
        cookie = None if ended else pair
    return Answer(status, body.decode(errors="replace"), cookie)
