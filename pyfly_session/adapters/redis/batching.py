"""What waits at the end of an event-loop tick, sent together.

One by one, a driver spends most of a command's time on itself: a connection taken and given
back, a write, a read, a wake-up. Requests that run at the same time want their sessions in
the same tick of the loop, so they can share all of that: one script call loads all of them, and
one stores all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
from collections import deque
from collections.abc import AsyncGenerator
from itertools import chain
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from redis.asyncio.cluster import RedisCluster
from redis.client import NEVER_DECODE
from redis.exceptions import NoScriptError, ResponseError

from pyfly_session.adapters.redis.circuit_breaker import Circuit
from pyfly_session.adapters.redis.cluster import ClusterCommands
from pyfly_session.adapters.redis.errors import NoScriptingError, explained, lacks_scripting, told
from pyfly_session.adapters.redis.patience import Patience, some_turns_later
from pyfly_session.adapters.redis.scripts import (
    ANOTHER_TIME,
    CREATE,
    LOAD,
    MAX_ANSWER,
    SLIDE,
    TEXTS,
)

Command = tuple[Any, ...]

_logger = logging.getLogger(__name__)
# Sessions are bytes, also to a client that decodes what it reads.
BYTES = {NEVER_DECODE: True}
_MAX_BATCH = 128
# A batch is packed in one step of the event loop. An answer arrives in pieces, so it may be larger;
# with fewer batches, sessions of 60 KB cost the server a third less, and us a seventh.
_MAX_BYTES = 512 * 1024
_MAX_PARALLEL = 4
_MAX_PARALLEL_ALONE = 50
# So many answers may be held on to for the sake of one that is not there yet.
_FEW = 32
# A script copies every value on the server, which all processes share.
_LARGE = 8192


class Waiting(NamedTuple):
    """What was asked for: a script for a key, or without a script some commands in their order."""

    key: str
    script: str | None
    arguments: tuple[Any, ...]
    answer: asyncio.Future[Any]
    since: float

    def settle(self, answer: Any) -> None:
        """Hand over an answer or an error, unless nobody waits for it any more."""
        if self.answer.done():
            return
        if isinstance(answer, asyncio.CancelledError):
            self.answer.cancel()
        elif isinstance(answer, BaseException):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class CommandBatcher:
    """Sends to a server what requests ask of it, all of a tick together.

    Batches run side by side, so a slow one does not hold up the next. What fails for one key,
    fails for its request alone. Where more waits than can be sent, the youngest go first, and who
    has gone is not served. Works in any number of event loops, as far as the client does.

    Args:
        client: A ``redis.asyncio`` client, of a server or of a cluster.
        deadline: Seconds from asking until an answer, in all; None for no limit.
        circuit: Refuses commands while the server is not reached; in a cluster, a copy of it
            for each node.
        enabled: False sends everything on its own.
    """

    def __init__(
        self, client: Any, *, deadline: float | None, circuit: Circuit, enabled: bool = True
    ) -> None:
        self.client = client
        self.cluster = ClusterCommands(client) if isinstance(client, RedisCluster) else None
        self.deadline = deadline
        self.max_batch = _MAX_BATCH if enabled else 1
        self.max_parallel = _MAX_PARALLEL if enabled else _MAX_PARALLEL_ALONE
        self.without_scripts: set[str] = set()
        self._circuit = circuit
        self._lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Lane]] = (
            WeakKeyDictionary()
        )

    def ask(
        self, operation: str, key: str, script: str | None, *arguments: Any
    ) -> asyncio.Future[Any]:
        """Have a script run for a key, or commands sent that have its slot; await it at once.

        No coroutine: with many requests under way, each object that waits costs as much time of
        the garbage collector as the call itself.

        Returns:
            What the script answers for this key; that of a single command, or a list.

        Raises:
            SessionStoreUnavailableError: The circuit is open.
            NoScriptingError: The server runs no scripts for us.
            RedisError: The server's answer is an error, or it was not reached.
            TimeoutError: It did not answer before the deadline.
        """
        lane = self._lane(key)
        if script and lane.node in self.without_scripts:
            raise NoScriptingError
        lane.circuit.enter(operation)
        loop = asyncio.get_running_loop()
        waiting = Waiting(key, script, arguments, loop.create_future(), loop.time())
        lane.join(waiting)
        return waiting.answer

    @contextlib.asynccontextmanager
    async def alone(self, operation: str) -> AsyncGenerator[None]:
        """Let something be done outside of any batch; errors as for `ask`."""
        self._circuit.enter(operation)
        with self._circuit.watching():
            async with Patience(self.deadline):
                yield

    def _lane(self, key: str) -> _Lane:
        loop = asyncio.get_running_loop()
        lanes = self._lanes.get(loop)
        if lanes is None:
            lanes = self._lanes[loop] = {}
        # One for each node, so that a node that hangs or is gone stops nobody else's commands.
        node = "" if self.cluster is None else self.cluster.node_name(key)
        lane = lanes.get(node)
        if lane is None:
            circuit = self._circuit.another() if node else self._circuit
            lane = lanes[node] = _Lane(self, node, circuit)
        return lane


class _Lane:
    """What waits in one event loop for one server.

    Does not refer to the loop, which would never be forgotten then.
    """

    def __init__(self, batcher: CommandBatcher, node: str, circuit: Circuit) -> None:
        self.node = node
        self.circuit = circuit
        self._batcher = batcher
        self._waiting: deque[Waiting] = deque()
        self._under_way = 0
        self._scheduled = self._timed = False
        # What is under way, and how many answers there were before.
        self._tasks: dict[asyncio.Task[None], tuple[list[Waiting], int]] = {}
        self._watched: deque[Waiting] = deque()
        self._most_watched = _FEW
        # How many bytes the sessions have that were loaded lately.
        self._size = 0.0

    def join(self, waiting: Waiting) -> None:
        """Let it go out at the end of the tick, or when there is room."""
        self._waiting.append(waiting)
        self._flush_soon()
        if self._batcher.deadline is not None:
            # One timer for all, where a timeout for each would cost as much as the command.
            self._watched.append(waiting)
            if not self._timed:
                self._time(self._batcher.deadline)

    def _flush_soon(self) -> None:
        if self._waiting and not self._scheduled and self._under_way < self._batcher.max_parallel:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        while self._under_way < self._batcher.max_parallel and (batch := self._youngest()):
            self._under_way += 1
            task = asyncio.get_running_loop().create_task(self._send(batch))
            self._tasks[task] = batch, self.circuit.answers
            task.add_done_callback(self._tasks.pop)

    def _youngest(self) -> list[Waiting]:
        """Take the youngest of those that still wait, in the order in which they came."""
        batch: list[Waiting] = []
        size = 0.0
        while self._waiting and len(batch) < self._batcher.max_batch and size < _MAX_BYTES:
            each = self._waiting.pop()
            if not each.answer.done():
                batch.append(each)
                parts = each.arguments if each.script else chain.from_iterable(each.arguments)
                size += sum([len(part) for part in parts if type(part) is bytes])
                if each.script == LOAD:
                    size += self._size * _MAX_BYTES / MAX_ANSWER
        batch.reverse()
        return batch

    async def _send(self, batch: list[Waiting]) -> None:
        try:
            with self.circuit.watching():
                await self._exchange(batch)
        except BaseException as error:
            # Perhaps they are larger than any that was loaded lately, and half of them are enough.
            self._size = max(self._size, 2 * MAX_ANSWER / len(batch))
            _fail(batch, explained(error))
            if not isinstance(error, Exception):
                raise
        finally:
            self._under_way -= 1
            self._let_go()
            self._flush_soon()

    async def _exchange(self, batch: list[Waiting]) -> None:
        """Send a batch, and hand over the answers."""
        groups: dict[object, list[Waiting]] = {}
        for each in batch:
            # In a cluster keys may be anywhere, and a script takes one.
            together = each.script if self._batcher.cluster is None else None
            groups.setdefault(together or each.answer, []).append(each)
        parts = [(group, self._commands(group)) for group in groups.values()]
        answers = iter(await self._answers([each for _, some in parts for each in some]))
        for group, commands in parts:
            own = [next(answers) for _ in commands]
            if group[0].script and commands[-1][0] == "EVALSHA":
                self._hand_over(group, own[:-1], own[-1])
            else:
                error = next((each for each in own if isinstance(each, Exception)), None)
                group[0].settle(error or (own if len(own) > 1 else own[0]))

    def _commands(self, group: list[Waiting]) -> list[Command]:
        """Return what to send for all that want the same script, or for one that wants none."""
        script, keys = group[0].script, [each.key for each in group]
        if script is None:
            return [*group[0].arguments]
        arguments = chain.from_iterable([each.arguments for each in group])
        if script == CREATE and len(keys) == 1:
            # A script would cost the server twice as much.
            value, ttl = arguments
            return [("SET", *keys, value, "EX", ttl, "NX")]
        gets: list[Command] = []
        if script == LOAD and self._size > _LARGE:
            script, gets = SLIDE, [("GET", key) for key in keys]
        return [*gets, ("EVALSHA", script, len(keys), *keys, *arguments)]

    def _hand_over(self, group: list[Waiting], values: list[Any], found: Any) -> None:
        """Hand over what a script has answered, or was answered before it ran."""
        if not isinstance(found, list) or len(found) != len(group):
            # Whatever it was, no session was seen to be loaded or stored.
            strange = ResponseError(f"a script was answered by a {type(found).__name__}")
            return _fail(group, found if isinstance(found, Exception) else strange)
        if values:
            # What was there when it was read is that value, and what was not is only noted.
            found = [
                own if isinstance(own, Exception) or (value is None and own != 1) else value
                for value, own in zip(values, found, strict=True)
            ]
        for each, own in zip(group, found, strict=True):
            if own == ANOTHER_TIME:
                self._waiting.append(each)
            else:
                each.settle(own)
        if group[0].script == LOAD:
            sizes = [len(each) for each in found if isinstance(each, bytes)]
            mean = sum(sizes) / len(sizes) if sizes else self._size
            self._size += (mean - self._size) / (1 if ANOTHER_TIME in found else 4)
        return None

    async def _answers(self, commands: list[Command]) -> list[Any]:
        """Return the answers to commands, an exception in place of an answer that is an error."""
        answers = await self._pipe(commands)
        unknown = [n for n, each in enumerate(answers) if isinstance(each, NoScriptError)]
        if unknown:
            texts = [("EVAL", TEXTS[commands[n][1]], *commands[n][2:]) for n in unknown]
            for n, each in zip(unknown, await self._pipe(texts), strict=True):
                answers[n] = each
        for n, each in enumerate(answers):
            if isinstance(each, ResponseError) and commands[n][0] == "EVALSHA":
                answers[n] = self._without_scripts(each) if lacks_scripting(each) else each
        return answers

    def _without_scripts(self, error: Exception) -> NoScriptingError:
        if self.node not in self._batcher.without_scripts:
            self._batcher.without_scripts.add(self.node)
            where = f"the session store{self.node and ' at '}{self.node}"
            _logger.warning("%s runs no scripts, so it takes more commands: %s", where, told(error))
        return NoScriptingError(str(error))

    async def _pipe(self, commands: list[Command]) -> list[Any]:
        client: Any = self._batcher.client
        if self._batcher.cluster is not None:
            return await self._batcher.cluster.send(commands, **BYTES)
        answers: list[Any] = []
        if len(commands) > 1 and hasattr(client, "pipeline"):
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command, **BYTES)
            answers += await pipeline.execute(raise_on_error=False)
            return answers
        for command in commands:
            try:
                answers.append(await client.execute_command(*command, **BYTES))
            except ResponseError as error:
                answers.append(error)
        return answers

    def _let_go(self) -> None:
        """Forget answers that are there: sessions, or errors, which hold on to what they passed."""
        for some in (self._watched, self._waiting):
            while some and some[0].answer.done():
                some.popleft()
        if len(self._watched) > self._most_watched:
            # One that takes long is in front.
            self._watched = deque(each for each in self._watched if not each.answer.done())
            self._most_watched = 2 * len(self._watched) + _FEW

    def _time(self, deadline: float) -> None:
        """Have waits ended when the first of them has lasted for so long."""
        self._timed = bool(self._watched)
        if self._timed:
            # The handle is not kept: it would keep the loop alive, and so itself.
            end = self._watched[0].since + deadline
            asyncio.get_running_loop().call_at(end, some_turns_later, self._end, deadline)

    def _end(self, deadline: float) -> None:
        over = asyncio.get_running_loop().time() - deadline
        while self._watched and (self._watched[0].answer.done() or self._watched[0].since <= over):
            self._watched.popleft().settle(TimeoutError())
        for task, (batch, answers) in self._tasks.items():
            if all(each.answer.done() for each in batch):
                # Nobody waits for it any more.
                self.circuit.failed(answers)
                task.cancel()
        self._let_go()
        self._time(deadline)


def _fail(group: list[Waiting], error: BaseException) -> None:
    """Hand over an error; one for each, for tracebacks grow where they are raised."""
    for each in group:
        each.settle(error if each is group[-1] else copy.copy(error))
