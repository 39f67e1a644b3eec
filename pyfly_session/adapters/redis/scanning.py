"""All sessions of a server, or of the nodes of a cluster one after the other, in short steps."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from pyfly_session import ids
from pyfly_session.adapters.redis.batching import CommandBatcher
from pyfly_session.adapters.redis.errors import lacks_scripting
from pyfly_session.adapters.redis.scripts import SCAN
from pyfly_session.ports import SCAN_HEAD, SCAN_STEP, Scanned

Send = Callable[..., Awaitable[Any]]
# A server does nothing else within a step.
_KEYS_AT_ONCE = 250


async def scan(commands: CommandBatcher, prefix: str) -> AsyncIterator[Sequence[Scanned]]:
    """Yield the sessions below a prefix, by SCAN; it looks at every key of the database.

    Raises:
        RedisError: A server refused, or was not reached.
        TimeoutError: It did not answer in time.
    """
    cluster = commands.cluster
    if cluster is None:
        async for found in _scan_server(partial(commands.ask, "scan", prefix, None), prefix):
            yield found
        return
    # As the cluster is when it is a node's turn: one that takes over meanwhile comes in its place.
    seen: set[str] = set()
    while (node := await cluster.next_primary(seen)) is not None:
        seen.add(node.name)
        async for found in _scan_server(partial(_to_node, commands, node), prefix):
            yield found


async def _to_node(commands: CommandBatcher, node: Any, *sent: tuple[Any, ...]) -> Any:
    assert commands.cluster is not None  # noqa: S101 - for mypy
    async with commands.alone("scan"):
        return await commands.cluster.send_to(node, *sent)


async def _scan_server(send: Send, prefix: str) -> AsyncIterator[Sequence[Scanned]]:
    pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
    scripted, cursor = True, b"0"
    while True:
        found: list[Any] = []
        if scripted:
            front = len(prefix.encode())
            command = ("EVAL", SCAN, 0, cursor, pattern, _KEYS_AT_ONCE, front, SCAN_HEAD)
            try:
                cursor, *found = await send(command)
            except ResponseError as error:
                if not lacks_scripting(error):
                    raise
                scripted = False
        if not scripted:
            cursor, keys = await send(("SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS_AT_ONCE))
            found = await _look_plainly(send, keys, prefix)
        rows = zip(*(iter(found),) * 4, strict=True)
        told = [
            Scanned(_text(key)[len(prefix) :], _bytes(head), size, left / 1000)
            for key, head, size, left in rows
            if left > 0
        ]
        # SCAN may give more than it was asked for.
        for start in range(0, len(told), SCAN_STEP):
            yield told[start : start + SCAN_STEP]
        if int(cursor) == 0:
            return


async def _look_plainly(send: Send, keys: list[Any], prefix: str) -> list[Any]:
    """Ask what the script finds out, on a server that runs none for us."""
    keys = [key for key in keys if not ids.is_record(_text(key)[len(prefix) :])]
    asked = [
        command
        for key in keys
        for command in (("GETRANGE", key, 0, SCAN_HEAD - 1), ("STRLEN", key), ("PTTL", key))
    ]
    answers = await send(*asked) if asked else []
    return [each for n, key in enumerate(keys) for each in (key, *answers[3 * n : 3 * n + 3])]


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value
