"""Round trips, commands and bytes between a site and its Redis server, counted on the way."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import threading
from dataclasses import dataclass, fields
from itertools import pairwise

from benchmarks.client import Site
from benchmarks.worker import Worker

_CHUNK = 1 << 20
_MALFORMED = "user:alice"


@dataclass(frozen=True)
class Traffic:
    """What one request costs, as a rule.

    Attributes:
        trips: How often the site sent something and had to wait for the answer.
        commands: Commands in it.
        sent: Bytes from the site to the server.
        received: Bytes from the server to the site.
    """

    trips: float = 0
    commands: float = 0
    sent: float = 0
    received: float = 0


class CountingProxy:
    """Relays to a server and counts; runs in a thread of its own.

    Args:
        host: Where the server is.
        port: Its port.
        redis: Whether it speaks as Redis does, so that commands can be told.

    Attributes:
        url: Where sites connect to.
    """

    def __init__(self, host: str, port: int, *, redis: bool = True) -> None:
        self._target = host, port
        self._redis = redis
        self._counts = dict.fromkeys((each.name for each in fields(Traffic)), 0)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> CountingProxy:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def counts(self) -> dict[str, int]:
        """Return what was counted so far."""
        return dict(self._counts)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/0"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, commands = await asyncio.open_connection(*self._target)
        line = _Line(self._counts, redis=self._redis)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(
                _relay(reader, commands, line.sent), _relay(answers, writer, line.received)
            )
        writer.close()
        commands.close()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: object) -> None:
    while chunk := await reader.read(_CHUNK):
        count(chunk)  # type: ignore[operator]
        writer.write(chunk)
        await writer.drain()
    writer.close()


class _Line:
    """One connection: whose turn it is, and how much of a command has come."""

    def __init__(self, counts: dict[str, int], *, redis: bool) -> None:
        self._redis = redis
        self._counts = counts
        self._answered = True
        self._rest = b""
        self._words = 0

    def sent(self, chunk: bytes) -> None:
        """Count what the site sends; a trip begins after an answer."""
        self._counts["sent"] += len(chunk)
        self._counts["trips"] += self._answered
        self._answered = False
        if not self._redis:
            return
        self._rest += chunk
        while self._take_word():
            pass

    def received(self, chunk: bytes) -> None:
        """Count what the server answers."""
        self._counts["received"] += len(chunk)
        self._answered = True

    def _take_word(self) -> bool:
        """Take a command's head or one of its words off, if all of it is there."""
        head, found, rest = self._rest.partition(b"\r\n")
        if not found:
            return False
        if not self._words:
            self._words = int(head[1:])
        else:
            size = int(head[1:])
            if len(rest) < size + 2:
                return False
            rest = rest[size + 2 :]
            self._words -= 1
            self._counts["commands"] += not self._words
        self._rest = rest
        return True


async def prepare(site: Site, size: str, count: int) -> list[str]:
    """Return the cookies of sessions, after each kind of request was seen once."""
    for path in ("/read", "/write", "/logout"):
        cookie = await site.session(size)
        await site.ask(path, cookie)
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
    nobody: list[str | None] = [None] * requests
    steps: dict[str, tuple[str, list[str | None]]] = {
        "R0": ("/untouched", nobody),
        "malformed": ("/untouched", [f"{name}={_MALFORMED}"] * requests),
        "read": ("/read", [*small]),
        "write": ("/write", [*small]),
        "new": ("/new", nobody),
        "read large": ("/read", [*large]),
        "write large": ("/write", [*large]),
        "logout": ("/logout", [*small]),
    }
    return {step: _usual(proxy, worker, *what) for step, what in steps.items()}


def _usual(proxy: CountingProxy, worker: Worker, path: str, cookies: list[str | None]) -> Traffic:
    """Return the median of each: a request that the machine holds up may look once more."""
    counts = [proxy.counts()]
    for each in cookies:
        worker.call(ask_once, path, each)
        counts.append(proxy.counts())
    return Traffic(
        **{
            name: statistics.median(
                after[name] - before[name] for before, after in pairwise(counts)
            )
            for name in counts[0]
        }
    )
