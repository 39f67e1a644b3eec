"""Round trips and bytes between a site and its server, counted on the way."""

from __future__ import annotations

import asyncio
import statistics
import threading
from dataclasses import dataclass
from itertools import pairwise

from benchmarks import relay
from benchmarks.client import Site
from benchmarks.worker import Worker


@dataclass(frozen=True)
class Traffic:
    """What one request costs, as a rule.

    Attributes:
        trips: How often the site sent something and had to wait for the answer.
        sent: Bytes from the site to the server.
        received: Bytes from the server to the site.
    """

    trips: float = 0
    sent: float = 0
    received: float = 0


class CountingProxy:
    """Relays to a server and counts; runs in a thread of its own.

    Args:
        target: The server's port.

    Attributes:
        port: Where sites connect to.
        counts: Trips, bytes sent and bytes received so far.
    """

    def __init__(self, target: int) -> None:
        self.counts = [0, 0, 0]
        self._target = target
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> CountingProxy:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with relay.relay(self._target, self._line) as self.port:
            self._ready.set()
            await self._stop.wait()

    def _line(self) -> tuple[relay.Pass, relay.Pass]:
        answered = True

        async def sent(chunk: bytes, writer: asyncio.StreamWriter) -> None:
            nonlocal answered
            # A trip begins after an answer.
            self.counts[0] += answered
            self.counts[1] += len(chunk)
            answered = False
            await relay.pass_on(chunk, writer)

        async def received(chunk: bytes, writer: asyncio.StreamWriter) -> None:
            nonlocal answered
            self.counts[2] += len(chunk)
            answered = True
            await relay.pass_on(chunk, writer)

        return sent, received


async def prepare(site: Site, size: str, count: int) -> list[str]:
    """Return the cookies of sessions, after each kind of request was seen once."""
    for path in ("/read", "/write", "/logout"):
        await site.ask(path, await site.session(size))
    return [await site.session(size) for _ in range(count)]


async def ask_once(site: Site, path: str, cookie: str | None) -> None:
    """Send one request."""
    answer = await site.ask(path, cookie)
    if answer.status != 200:
        raise RuntimeError(f"{path} was answered {answer.status}")


def traffic(proxy: CountingProxy, worker: Worker, requests: int) -> dict[str, Traffic]:
    """Return what each kind of request costs; the worker's site is behind the proxy."""
    small = worker.call(prepare, "small", requests)
    large = worker.call(prepare, "large", requests)
    name = small[0].partition("=")[0]
    nobody = [None] * requests
    steps = {
        "R0": ("/untouched", nobody),
        "malformed": ("/untouched", [f"{name}=user:alice"] * requests),
        "read": ("/read", small),
        "write": ("/write", small),
        "new": ("/new", nobody),
        "read large": ("/read", large),
        "write large": ("/write", large),
        "logout": ("/logout", small),
    }
    found = {}
    for step, (path, cookies) in steps.items():
        counts = [[*proxy.counts]]
        for each in cookies:
            worker.call(ask_once, path, each)
            counts.append([*proxy.counts])
        more = [[b - a for a, b in zip(*pair, strict=True)] for pair in pairwise(counts)]
        # The median: a request that the machine holds up may look once more.
        found[step] = Traffic(*map(statistics.median, zip(*more, strict=True)))
    return found
