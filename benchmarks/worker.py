"""A process for each contestant, so that none pays for what another has imported or stored."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import warnings
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from benchmarks import cores
from benchmarks.client import Site
from benchmarks.contestants import BY_NAME, Contestant

T = TypeVar("T")

_SPAWN = multiprocessing.get_context("spawn")
_START_SECONDS = 60
_CALL_SECONDS = 600


class WorkerError(Exception):
    """A process could not do what it was asked; the text tells why."""


class Worker:
    """A process that awaits the functions it is sent, which are of modules.

    A contestant's is on the core for servers.

    Args:
        contestant: Whose site each function gets first; None for the load generator, which has
            no site.
        url: The Redis server.
        lifetime: Seconds after which sessions end; None for the contestant's default.
        plain: Run on asyncio's own event loop, even if there is uvloop.
    """

    def __init__(
        self,
        contestant: Contestant | None = None,
        url: str = "",
        *,
        lifetime: int | None = None,
        plain: bool = False,
    ) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        name = contestant and contestant.name
        self._process = _SPAWN.Process(
            target=_run, args=(theirs, name, url, lifetime, plain), daemon=True
        )
        self._process.start()
        self._pid = self._process.pid or 0
        self._pinned = contestant is not None
        if self._pinned:
            cores.loosen(self._pid)
        theirs.close()
        self._ready = False

    def call(self, function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        """Have the process await a function.

        Raises:
            WorkerError: It failed, or took far too long.
        """
        return self.begin(function, *args, **kwargs)()

    def begin(
        self, function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any
    ) -> Callable[[], T]:
        """Do the same, but return at once what waits for the answer."""
        self.wait_until_ready()
        self._pipe.send((function, args, kwargs))
        return lambda: self._receive(_CALL_SECONDS)

    def wait_until_ready(self) -> None:
        """Wait until the site has started.

        Raises:
            WorkerError: It has not.
        """
        if not self._ready:
            self._receive(_START_SECONDS)
            if self._pinned:
                cores.pin(self._pid)
            self._ready = True

    def close(self) -> None:
        """End the process."""
        self.leave()
        self._process.join(3)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def leave(self) -> None:
        """Tell the process to end, and do not wait for it; `close` does."""
        with contextlib.suppress(OSError):
            self._pipe.send(None)

    def _receive(self, seconds: float) -> Any:
        if not self._pipe.poll(seconds):
            self._process.kill()
            raise WorkerError(f"no answer within {seconds:.0f} s")
        try:
            fine, answer = self._pipe.recv()
        except EOFError:
            raise WorkerError("its process died") from None
        if not fine:
            raise WorkerError(answer)
        return answer


def _run(pipe: Connection, name: str | None, url: str, lifetime: int | None, plain: bool) -> None:
    warnings.simplefilter("ignore")  # deprecations in others' packages
    logging.disable()  # they tell of errors that are provoked
    with asyncio.Runner(loop_factory=None if plain else _loop_factory()) as runner:
        try:
            sites = [] if name is None else [runner.run(_started(BY_NAME[name], url, lifetime))]
        except BaseException as error:  # noqa: BLE001 - it becomes the reason in the table
            pipe.send((False, _told(error)))
            return
        pipe.send((True, None))
        while (order := _next(pipe)) is not None:
            function, args, kwargs = order
            try:
                pipe.send((True, runner.run(function(*sites, *args, **kwargs))))
            except Exception as error:  # noqa: BLE001 - it becomes the reason in the table
                pipe.send((False, _told(error)))
        for site in sites:
            runner.run(site.close())


def _next(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except (EOFError, KeyboardInterrupt):
        return None


async def _started(contestant: Contestant, url: str, lifetime: int | None) -> Site:
    """Return the site, once it has shown that it keeps what it is given.

    A fast wrong one is no contestant.
    """
    site = Site(contestant, contestant.build(url, lifetime))
    await site.start()
    cookie = await site.session()
    for expected in ("1", "2"):
        answer = await site.ask("/write", cookie)
        cookie = answer.cookie or cookie
        if contestant.store != "none" and answer.body.strip() != expected:
            raise RuntimeError(f"the counter should be {expected}, got {answer}")
    answer = await site.ask("/read", cookie)
    if answer.body != "user-00001":
        raise RuntimeError(f"the user should be in the session, got {answer}")
    return site


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes a uvloop, as uvicorn runs on; None if it is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _told(error: BaseException) -> str:
    lines = f"{type(error).__name__}: {error}".splitlines()
    return lines[0][:300]
