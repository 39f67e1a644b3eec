"""A TCP proxy between the application and the server, which delays, cuts and lies on demand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pyfly_session.adapters.redis.scripts import TEXTS

Where = Literal["before", "after"]
# What scripts are called here, by their digests and by their texts.
_NAMES = ("LOAD", "LOAD", "CREATE", "SWAP", "LEAVE")
_SCRIPTS = {
    each.encode(): name
    for name, script in zip(_NAMES, TEXTS.items(), strict=True)
    for each in script
}
_CHUNK = 1 << 20


@dataclass
class Fault:
    """What happens to the next commands of a name.

    Attributes:
        command: For example ``SET``, or ``LOAD`` or ``SWAP`` for one of the store's scripts, or
            the empty text for any.
        times: How many more of them it happens to.
        where: ``before`` the server sees the command, or ``after`` it has answered.
        reply: What to answer instead, nothing if it is empty; None closes the connection.
        notice: Called when it happens.
    """

    command: str
    times: int
    where: Where
    reply: bytes | None
    notice: Callable[[], object] | None


class Proxy:
    """Relays to a server.

    Attributes:
        url: Where the application connects to.
        target: The server's port; changed, it holds for connections made from then on.
        delay: Seconds before each answer is passed on.
        silent: Accept, and never answer.
        accepted: How many connections were made.
        commands: The name of every command that passed.
    """

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self.delay = 0.0
        self.silent = False
        self.accepted = 0
        self.commands: list[str] = []
        self._faults: list[Fault] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        return self

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def fault(
        self, command: str = "", *, times: int = 1, where: Where = "before",
        reply: bytes | None = None, notice: Callable[[], object] | None = None,
    ) -> None:  # fmt: skip
        """Have something happen to the next commands of this name."""
        self._faults.append(Fault(command, times, where, reply, notice))

    def heal(self) -> None:
        """Relay faithfully and at once from now on."""
        self._faults.clear()
        self.delay, self.silent = 0.0, False

    def passed(self, command: str) -> int:
        """Count the commands of this name so far."""
        return self.commands.count(command)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError):
                await self._relay(reader, writer)
        except asyncio.CancelledError:
            pass  # The test is over.
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.silent:
            if not await reader.read(_CHUNK):
                return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        line = _Line(self, writer, server_writer)
        answers = asyncio.ensure_future(line.carry_answers(server_reader))
        try:
            await line.carry_commands(reader)
        finally:
            server_writer.close()
            writer.close()
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)

    def fault_for(self, commands: list[str]) -> Fault | None:
        """Return what happens to commands that came together, and count it."""
        # The handshake of a new connection is not what tests mean.
        meant = [each for each in commands if each not in ("HELLO", "CLIENT", "PING")]
        for fault in self._faults:
            if fault.times > 0 and meant and (fault.command in meant or not fault.command):
                fault.times -= 1
                return fault
        return None


class _Line:
    """One connection through the proxy; the driver waits for each answer before it goes on."""

    def __init__(
        self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._after: Fault | None = None

    async def carry_commands(self, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(_CHUNK):
            names = _names_of(chunk)
            self._proxy.commands += names
            fault = self._proxy.fault_for(names)
            if self._proxy.silent:
                continue
            if fault is not None and fault.where == "before":
                self._apply(fault)
                if fault.reply is None:
                    return
                continue
            self._after = fault
            self._server.write(chunk)
            await self._server.drain()

    async def carry_answers(self, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(_CHUNK):
            if self._proxy.delay:
                await asyncio.sleep(self._proxy.delay)
            fault, self._after = self._after, None
            if self._proxy.silent:
                continue
            if fault is None:
                self._client.write(chunk)
            else:
                self._apply(fault)
        self._client.close()

    def _apply(self, fault: Fault) -> None:
        if fault.notice is not None:
            fault.notice()
        if fault.reply is None:
            self._client.close()
        else:
            self._client.write(fault.reply)


def _names_of(chunk: bytes) -> list[str]:
    """Return the names of the commands in a chunk of the Redis protocol."""
    names, rest = [], chunk
    while rest.startswith(b"*"):
        count, _, rest = rest[1:].partition(b"\r\n")
        for index in range(int(count)):
            size, _, rest = rest[1:].partition(b"\r\n")
            part = rest[: int(size)]
            if index == 0:
                names.append(part.decode().upper())
            elif index == 1 and names[-1] in ("EVALSHA", "EVAL"):
                names[-1] = _SCRIPTS[part]
            rest = rest[int(size) + 2 :]
    return names
