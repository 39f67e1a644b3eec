"""A line to a server on which a benchmark counts, delays or cuts what passes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

Pass = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
HOST = "127.0.0.1"
_CHUNK = 1 << 20


@contextlib.asynccontextmanager
async def relay(port: int, line: Callable[[], tuple[Pass, Pass]]) -> AsyncIterator[int]:
    """Listen until the end of the block, and give the port.

    Args:
        port: The server's.
        line: Returns for each connection what passes on what is sent, and what is answered. An
            `OSError` of one of them cuts the line.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def carry(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pass_on: Pass
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await pass_on(chunk, writer)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, port)
        sent, answered = line()
        for each in (carry(reader, back, sent), carry(there, writer, answered)):
            task = asyncio.ensure_future(each)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def pass_on(chunk: bytes, writer: asyncio.StreamWriter) -> None:
    """Pass on what came, at once."""
    writer.write(chunk)
    await writer.drain()
