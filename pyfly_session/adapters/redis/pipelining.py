"""Commands of one event-loop tick sent together, through the driver's own pipelines.

One by one, a driver spends most of a command's time on itself: a connection taken and given
back, a write, a read, a wake-up. Requests that run at the same time want their sessions in
the same tick of the loop, so their commands can share all of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from redis.asyncio.cluster import RedisCluster
from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException
from redis.exceptions import TimeoutError as RedisTimeoutError

from pyfly_session.adapters.redis.circuit_breaker import Circuit
from pyfly_session.adapters.redis.cluster import ClusterCommands
from pyfly_session.adapters.redis.read_timeout import hold_reads_to

P = ParamSpec("P")
T = TypeVar("T")

UNREACHED = (RedisConnectionError, RedisTimeoutError, RedisClusterException, OSError)
"""What a driver raises if the server was not reached, or did not answer in time."""

# Sessions are bytes, also to a client that decodes what it reads.
_OPTIONS = {NEVER_DECODE: True}
_MAX_BATCH = 128
# A batch is packed in one step of the event loop.
_MAX_BYTES = 512 * 1024
_MAX_PARALLEL = 4


class CommandBatcher:
    """Sends commands to a server, several at once where several are waiting.

    A lone command goes straight to the client. While one is under way, those that come are
    collected until the end of the tick and sent in one pipeline; batches run side by side, so
    a slow one does not hold up the next. A command that fails, fails alone; one whose caller
    is cancelled is still sent with the others. Works in any number of event loops, as far as
    the client does.

    Args:
        client: A ``redis.asyncio`` client, of a server or of a cluster.
        deadline: Seconds from asking until an answer, in all; None for no limit.
        circuit: Refuses commands while the server is not reached; in a cluster, a copy of it
            for each node.
        enabled: False sends every command on its own.
    """

    def __init__(
        self, client: Any, *, deadline: float | None, circuit: Circuit, enabled: bool = True
    ) -> None:
        self._client = client
        self._cluster = ClusterCommands(client) if isinstance(client, RedisCluster) else None
        self._deadline = deadline
        self._circuit = circuit
        self._enabled = enabled
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Queue]] = (
            WeakKeyDictionary()
        )

    def execute(self, operation: str, *command: Any) -> Awaitable[Any]:
        """Send one command; await what is returned for its answer, at once.

        No coroutine: with many requests under way, each object that waits costs as much time of
        the garbage collector as the call itself.

        Raises:
            SessionStoreUnavailableError: The circuit is open.
            RedisError: The server's answer is an error, or it was not reached.
            TimeoutError: It did not answer before the deadline.
        """
        loop = asyncio.get_running_loop()
        queue = self._queue(loop, command)
        queue.circuit.enter(operation)
        if queue.under_way and self._enabled:
            return self._join(loop, queue, command)
        return self._send_alone(loop, queue, command)

    async def _send_alone(
        self, loop: asyncio.AbstractEventLoop, queue: _Queue, command: tuple[Any, ...]
    ) -> Any:
        queue.under_way += 1
        try:
            work = (
                self._client.execute_command(*command, **_OPTIONS)
                if self._cluster is None
                else self._cluster.one(command, **_OPTIONS)
            )
            return await self._guarded(work, loop.time(), queue.circuit)
        finally:
            queue.under_way -= 1
            self._flush_soon(loop, queue)

    async def alone(
        self, operation: str, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await one call of the client, outside of any batch."""
        self._circuit.enter(operation)
        now = asyncio.get_running_loop().time()
        return await self._guarded(call(*args, **kwargs), now, self._circuit)

    async def together(self, operation: str, *commands: tuple[Any, ...]) -> list[Any]:
        """Send some commands about one session, in their order, and return their answers."""
        loop = asyncio.get_running_loop()
        circuit = self._queue(loop, commands[0]).circuit
        circuit.enter(operation)
        answers = await self._guarded(self._pipe(commands), loop.time(), circuit)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    @contextlib.asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Hold several commands that make one operation to one deadline.

        Raises:
            TimeoutError: The deadline is over.
        """
        try:
            async with asyncio.timeout(self._deadline):
                yield
        except TimeoutError:
            self._circuit.failed()
            raise

    def _queue(self, loop: asyncio.AbstractEventLoop, command: tuple[Any, ...]) -> _Queue:
        queues = self._queues.get(loop)
        if queues is None:
            queues = self._queues[loop] = {}
        # One for each node, so that a node that hangs or is gone stops nobody else's commands.
        name = "" if self._cluster is None else self._cluster.node_name(command)
        queue = queues.get(name)
        if queue is None:
            circuit = self._circuit.another() if name else self._circuit
            queue = queues[name] = _Queue(circuit)
        return queue

    def _join(
        self, loop: asyncio.AbstractEventLoop, queue: _Queue, command: tuple[Any, ...]
    ) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = loop.create_future()
        waiting = (command, answer, loop.time())
        queue.waiting.append(waiting)
        self._flush_soon(loop, queue)
        if self._deadline is not None:
            # The batch has this deadline too, but before Python 3.12 wait_for, which the driver
            # uses, can lose the cancellation that ends it.
            queue.watch(loop, waiting, self._deadline)
        return answer

    def _limit(self, since: float) -> float | None:
        return None if self._deadline is None else since + self._deadline

    def _flush_soon(self, loop: asyncio.AbstractEventLoop, queue: _Queue) -> None:
        if queue.waiting and not queue.scheduled and queue.under_way < _MAX_PARALLEL:
            queue.scheduled = True
            loop.call_soon(self._flush, loop, queue)

    def _flush(self, loop: asyncio.AbstractEventLoop, queue: _Queue) -> None:
        queue.scheduled = False
        waiting = queue.waiting
        while waiting and queue.under_way < _MAX_PARALLEL:
            batch: list[_Waiting] = []
            size = 0
            while waiting and len(batch) < _MAX_BATCH and size < _MAX_BYTES:
                batch.append(waiting.popleft())
                size += sum([len(part) for part in batch[-1][0] if type(part) is bytes])
            queue.under_way += 1
            task = loop.create_task(self._send(loop, queue, batch))
            queue.tasks.add(task)
            task.add_done_callback(queue.tasks.discard)

    async def _send(
        self, loop: asyncio.AbstractEventLoop, queue: _Queue, batch: list[_Waiting]
    ) -> None:
        try:
            commands = [command for command, _, _ in batch]
            answers = await self._guarded(
                self._pipe(commands), batch[0][2], queue.circuit, pipeline=True
            )
        except BaseException as error:
            for _, answer, _ in batch:
                if not answer.done():
                    # An error of its own for each: tracebacks grow where they are raised.
                    answer.set_exception(copy.copy(error))
            if not isinstance(error, Exception):
                raise
        else:
            for (_, answer, _), value in zip(batch, answers, strict=True):
                if answer.done():
                    continue
                if isinstance(value, Exception):
                    answer.set_exception(value)
                else:
                    answer.set_result(value)
        finally:
            queue.let_go()
            queue.under_way -= 1
            self._flush_soon(loop, queue)

    def _pipe(self, commands: Iterable[tuple[Any, ...]]) -> Awaitable[list[Any]]:
        """Send commands in one go; an exception takes the place of an answer."""
        if self._cluster is not None:
            return self._cluster.send(commands, **_OPTIONS)
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command, **_OPTIONS)
        answers: Awaitable[list[Any]] = pipeline.execute(raise_on_error=False)
        return answers

    async def _guarded(
        self, work: Awaitable[T], since: float, circuit: Circuit, *, pipeline: bool = False
    ) -> T:
        """Await an answer of the server within the deadline; the circuit learns of it."""
        try:
            async with asyncio.timeout_at(self._limit(since)) as timeout:
                if pipeline:
                    hold_reads_to(timeout)
                answer = await work
        except UNREACHED:
            circuit.failed()
            raise
        except Exception:
            # An answer, if not the hoped-for one: the server is there.
            circuit.succeeded()
            raise
        circuit.succeeded()
        return answer


_Waiting = tuple[tuple[Any, ...], asyncio.Future[Any], float]


class _Queue:
    """The commands of one event loop for one server that wait for the end of its tick."""

    __slots__ = (
        "__weakref__",
        "_watched",
        "_watching",
        "circuit",
        "scheduled",
        "tasks",
        "under_way",
        "waiting",
    )

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self.waiting: deque[_Waiting] = deque()
        self.under_way = 0
        self.scheduled = False
        self.tasks: set[asyncio.Task[None]] = set()
        self._watched: deque[_Waiting] = deque()
        self._watching = False

    def watch(self, loop: asyncio.AbstractEventLoop, waiting: _Waiting, deadline: float) -> None:
        """End the wait for an answer so many seconds after it began, the same for all.

        One timer for all, where a timeout for each would cost as much as the command.
        """
        self._watched.append(waiting)
        if not self._watching:
            # The handle is not kept: it would keep the loop alive, and so itself.
            self._watching = True
            loop.call_at(waiting[2] + deadline, self._end_waiting, loop, deadline)

    def let_go(self) -> None:
        """Forget answers that are there; an error among them holds on to whatever it passed."""
        while self._watched and self._watched[0][1].done():
            self._watched.popleft()

    def _end_waiting(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        watched, now = self._watched, loop.time()
        while watched and (watched[0][1].done() or watched[0][2] + deadline <= now):
            _, answer, _ = watched.popleft()
            if not answer.done():
                answer.set_exception(TimeoutError())
        self._watching = bool(watched)
        if watched:
            loop.call_at(watched[0][2] + deadline, self._end_waiting, loop, deadline)
