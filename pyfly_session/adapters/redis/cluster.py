"""Commands of one key each, sent to the nodes of a cluster; those for one node together.

The driver's own pipeline for clusters lets one dead node fail the commands for all others, and
what it sends after an ASK goes over another connection than the ASKING before it. So commands
are given to its nodes directly here, and only the topology is left to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable
from typing import Any

from redis.asyncio.cluster import ClusterNode, PipelineCommand, RedisCluster
from redis.client import NEVER_DECODE
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MaxConnectionsError,
    MovedError,
    RedisClusterException,
    RedisError,
    SlotNotCoveredError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_LOST = (RedisConnectionError, RedisTimeoutError, OSError, ClusterDownError, SlotNotCoveredError)
# A slot that moves answers TRYAGAIN for a while; so long we wait, about two seconds in all.
_MAX_ROUNDS = 40
_MAX_REDIRECTIONS = 8
_PAUSE_SECONDS = 0.05
_REFRESH_SECONDS = 0.1


class ClusterCommands:
    """Sends commands to whichever nodes have their keys now, wherever these move.

    Repeats what met a node that was lost or a slot on its way, as often as the client's own
    ``retry`` says; so every command has to be one that may be repeated. Belongs to one event
    loop, as the client does.
    """

    def __init__(self, client: RedisCluster) -> None:
        self._client: Any = client
        self._refreshed = float("-inf")
        self._turns: dict[str, asyncio.Semaphore] = {}

    def node_name(self, key: str) -> str:
        """Return which node has a key now; empty if that is not known yet."""
        try:
            return str(self._client.get_node_from_key(key).name)
        except RedisClusterException:
            return ""

    async def send(self, commands: Iterable[tuple[Any, ...]], **options: Any) -> list[Any]:
        """Return the answers, an exception in place of an answer where there was none.

        Commands for one key are done in their order.

        Raises:
            RedisError: No command reached its node.
            RedisClusterException: No node of the cluster was reached.
        """
        await self._client.initialize()
        sent = [PipelineCommand(n, *each, **options) for n, each in enumerate(commands)]
        waiting, losses, redirections = sent, 0, 0
        for _ in range(_MAX_ROUNDS):
            await self._send_once(waiting)
            lost = [each for each in waiting if _is_lost(each.result)]
            moved = [each for each in waiting if isinstance(each.result, MovedError | AskError)]
            patient = [each for each in waiting if isinstance(each.result, TryAgainError)]
            losses += bool(lost)
            redirections += bool(moved)
            if lost or any(isinstance(each.result, MovedError) for each in moved):
                # Without a repetition, too: the next command shall find its way.
                await self._refresh()
            if losses > self._client.retry.get_retries():
                lost = []
            if redirections > _MAX_REDIRECTIONS:
                moved = []
            again = {each.position for each in (*lost, *moved, *patient)}
            waiting = [each for each in waiting if each.position in again]
            if not waiting:
                break
            if lost or patient:
                await asyncio.sleep(_PAUSE_SECONDS)
        answers = [each.result for each in sent]
        if all(_is_lost(each) for each in answers):
            raise answers[0]
        return answers

    async def next_primary(self, seen: Collection[str]) -> ClusterNode | None:
        """Return a node that has slots and is not among those seen, or None."""
        await self._client.initialize()
        slots = self._client.nodes_manager.slots_cache
        return next((nodes[0] for nodes in slots.values() if nodes[0].name not in seen), None)

    async def send_to(self, node: ClusterNode, *commands: tuple[Any, ...]) -> Any:
        """Return the answer of one node to a command, or a list of them.

        Raises:
            RedisError: An answer is an error, or the node was not reached.
        """
        sent = [
            PipelineCommand(n, *each, **{NEVER_DECODE: True}) for n, each in enumerate(commands)
        ]
        await self._send_to(node, sent)
        answers = [each.result for each in sent]
        for each in answers:
            if isinstance(each, Exception):
                if _is_lost(each):
                    await self._refresh()
                raise each
        return answers if len(answers) > 1 else answers[0]

    async def _send_once(self, commands: list[PipelineCommand]) -> None:
        """Send each command to its node, and keep each answer in its ``result``."""
        parts: dict[ClusterNode, list[PipelineCommand]] = {}
        for each in commands:
            try:
                node, asking = self._way(each)
            except RedisClusterException as error:
                each.result = error
                continue
            part = parts.setdefault(node, [])
            if asking:
                # In the same write as the command that it is for.
                part.append(PipelineCommand(-1, "ASKING"))
            part.append(each)
        await asyncio.gather(*(self._send_to(node, part) for node, part in parts.items()))

    def _way(self, command: PipelineCommand) -> tuple[ClusterNode, bool]:
        """Return the node for a command, and whether ASKING has to come before it."""
        error = command.result
        if isinstance(error, AskError):
            node = self._client.get_node(host=error.host, port=error.port)
            if node is not None:
                return node, True
        return self._client.get_node_from_key(_key_of(command.args)), False

    async def _send_to(self, node: ClusterNode, commands: list[PipelineCommand]) -> None:
        for each in commands:
            each.result = None
        turns = self._turns.get(node.name)
        if turns is None:
            turns = self._turns[node.name] = asyncio.Semaphore(node.max_connections)
        # The driver does not wait for a free connection, it fails.
        async with turns:
            try:
                await node.execute_pipeline(commands)
            except (RedisError, OSError) as error:
                for each in commands:
                    each.result = error

    async def _refresh(self) -> None:
        """Ask the cluster who has which slots; not more often than it can have changed."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._refreshed < _REFRESH_SECONDS:
            return
        self._refreshed = loop.time()
        with contextlib.suppress(RedisClusterException):
            await self._client.nodes_manager.initialize()


def _key_of(command: tuple[Any, ...]) -> Any:
    return command[3] if command[0] in ("EVALSHA", "EVAL") else command[1]


def _is_lost(answer: object) -> bool:
    return isinstance(answer, _LOST) and not isinstance(answer, MaxConnectionsError)
