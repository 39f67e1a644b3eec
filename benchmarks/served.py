"""Requests a second through uvicorn, one worker, from a load generator in another process."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import cores, generator
from benchmarks.contestants import BY_NAME, Contestant, version_of
from benchmarks.worker import Worker, WorkerError

_CONTESTANT, _URL = "BENCHMARK_CONTESTANT", "BENCHMARK_REDIS_URL"


def app() -> Any:
    """Return the application of the contestant that the environment names, for uvicorn."""
    return BY_NAME[os.environ[_CONTESTANT]].build(os.environ[_URL])


class Server:
    """A uvicorn process with one contestant's site."""

    def __init__(self, contestant: Contestant, url: str) -> None:
        self.contestant = contestant
        self.port = _free_port()
        self._cookies: dict[tuple[str, int], list[str | None]] = {}
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by close
        options = {
            "port": str(self.port),
            "loop": "uvloop" if version_of("uvloop") else "asyncio",
            "http": "httptools" if version_of("httptools") else "h11",
            "log-level": "error",
        }
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", "-m", "uvicorn", "benchmarks.served:app"),
                *("--factory", "--no-access-log"),
                *(word for name, value in options.items() for word in (f"--{name}", value)),
            ],
            env={**os.environ, _CONTESTANT: contestant.name, _URL: url},
            stdout=self._log,
            stderr=self._log,
        )
        cores.loosen(self._process.pid)

    def wait_until_ready(self, seconds: float = 60) -> None:
        """Wait until it takes connections.

        Raises:
            WorkerError: It does not.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                cores.pin(self._process.pid)
                return
            time.sleep(0.05)
        self._log.seek(0)
        lines = self._log.read().strip().splitlines() or ["nothing said"]
        raise WorkerError(f"uvicorn did not start: {lines[-1][:200]}")

    def burst(
        self, load: Worker, path: str, size: str | None, connections: int, seconds: float
    ) -> generator.Burst:
        """Have the generator send load to it, with a session of its own on each connection."""
        cookies: list[str | None] = [None] * connections
        if size is not None:
            key = (size, connections)
            if key not in self._cookies:
                self._cookies[key] = load.call(
                    generator.seeded, self.port, self._process.pid, size, connections
                )
            cookies = self._cookies[key]
        expected: generator.Expected = "user"
        if path == "/write":
            # Without sessions there is one counter, for everybody.
            expected = "anything" if self.contestant.store == "none" else "count"
        return load.call(
            generator.burst,
            self.port,
            self._process.pid,
            path,
            cookies,
            seconds,
            keep=self.contestant.store == "cookie",
            expected=expected,
        )

    def leave(self) -> None:
        """Tell the process to end, and do not wait for it; `close` does."""
        self._process.terminate()

    def close(self) -> None:
        """End the process."""
        self.leave()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


async def capacity(seconds: float) -> float:
    """Return the requests a second that the generator sends to a server without work.

    Both are in one process here, so it is less than what the generator alone can do.
    """
    server = await generator.serve_canned()
    port = server.sockets[0].getsockname()[1]
    rate = (await generator.burst(port, os.getpid(), "/", [None] * 64, seconds)).rate
    server.close()
    return rate


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
