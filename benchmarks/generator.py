"""Sends load over sockets from a process of its own, and keeps cookies.

Our own, because none installs with pip alone that is fast and keeps a cookie for each
connection. It does as little as it can: a protocol on uvloop, requests made before, answers
looked at for their status, their body and a new cookie. The table shows how many requests a
second it sends to a server that answers without any work.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks import work
from benchmarks.cores import cpu_seconds

_HEAD_END = b"\r\n\r\n"
_SET_COOKIE = b"set-cookie: "
_CANNED = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n" + work.USER.encode()


@dataclass(frozen=True)
class Burst:
    """Some seconds of load.

    Attributes:
        rate: Requests a second.
        cpu: Microseconds of the server's CPU for each.
        answer: Bytes of the last answer.
        failed: Answers with another status than 200, or none.
        wrong: Answers of a session that had forgotten, or miscounted.
        cookies: What each connection would send next.
    """

    rate: float
    cpu: float
    answer: int
    failed: int
    wrong: int
    cookies: list[str | None] = field(repr=False)


@dataclass
class _Tally:
    keep: bool
    expected: str
    until: float = 0
    answers = answer = failed = wrong = 0


class _Browser(asyncio.Protocol):
    """One connection, which sends the next request when the answer is there."""

    def __init__(self, path: str, cookie: str | None, tally: _Tally) -> None:
        self._line = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode()
        self.cookie = cookie
        self._tally = tally
        self._rest = b""
        self._last: int | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._prepare()

    def _prepare(self) -> None:
        cookie = f"Cookie: {self.cookie}\r\n".encode() if self.cookie else b""
        self._request = self._line + cookie + b"\r\n"

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self) -> None:
        """Send the request; all others follow by themselves."""
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        end = data.find(_HEAD_END)
        if end < 0 or len(data) < end + 4 + work.WIDTH:
            self._rest = data
            return
        self._rest = b""
        tally = self._tally
        tally.answers += 1
        tally.answer = len(data)
        if not data.startswith(b"HTTP/1.1 200"):
            tally.failed += 1
        elif tally.expected == "count":
            count = int(data[end + 4 :])
            tally.wrong += self._last is not None and count != self._last + 1
            self._last = count
        elif tally.expected == "user" and not data.endswith(work.USER.encode()):
            tally.wrong += 1
        if tally.keep:
            self._take_cookie(data[: end + 2])
        if time.perf_counter() < tally.until:
            self.ask()
        else:
            self.done.set_result(None)

    def _take_cookie(self, head: bytes) -> None:
        at = head.find(_SET_COOKIE)
        if at >= 0:
            line = head[at + len(_SET_COOKIE) : head.index(b"\r\n", at)]
            self.cookie = line.partition(b";")[0].decode()
            self._prepare()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._tally.failed += 1
            self.done.set_result(None)


async def burst(
    port: int,
    server: int,
    path: str,
    cookies: Sequence[str | None],
    seconds: float,
    *,
    keep: bool = False,
    expected: str = "user",
) -> Burst:
    """Send requests on as many connections as there are cookies.

    Args:
        server: The number of its process.
        keep: Send back the cookie that an answer sets.
        expected: The body of the answers: "user", "anything", or a "count" that goes up by one.
    """
    loop = asyncio.get_running_loop()
    tally = _Tally(keep, expected)
    pairs = await asyncio.gather(
        *(
            loop.create_connection(partial(_Browser, path, each, tally), "127.0.0.1", port)
            for each in cookies
        )
    )
    browsers: list[_Browser] = [browser for _, browser in pairs]
    began, cpu = time.perf_counter(), cpu_seconds(server)
    tally.until = began + seconds
    for browser in browsers:
        browser.ask()
    _, late = await asyncio.wait({browser.done for browser in browsers}, timeout=seconds + 20)
    elapsed, cpu = time.perf_counter() - began, cpu_seconds(server) - cpu
    tally.failed += len(late)
    for transport, _ in pairs:
        transport.close()
    await asyncio.sleep(0)
    return Burst(
        tally.answers / elapsed,
        cpu / max(tally.answers, 1) * 1e6,
        tally.answer,
        tally.failed,
        tally.wrong,
        [browser.cookie for browser in browsers],
    )


async def seeded(port: int, server: int, size: str, count: int) -> list[str | None]:
    """Return the cookies of so many new sessions."""
    made = await burst(port, server, f"/seed-{size}", [None] * count, 0, keep=True)
    if made.failed:
        raise RuntimeError(f"/seed-{size} failed {made.failed} times")
    return [each or work.NO_COOKIE for each in made.cookies]


class _Canned(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(_CANNED)


async def capacity(seconds: float) -> float:
    """Return the requests a second that can be sent to a server that does no work.

    Both are in one process here, so it is less than what the generator alone can do.
    """
    server = await asyncio.get_running_loop().create_server(_Canned, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rate = (await burst(port, os.getpid(), "/", [None] * 64, seconds)).rate
    server.close()
    return rate
