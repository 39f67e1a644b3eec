"""A process for each contestant, so that none pays for what another has imported or stored."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import socket
import time
import warnings
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from benchmarks import cores
from benchmarks.client import Site
from benchmarks.contestants import BY_NAME, Contestant

T = TypeVar("T")

_START_SECONDS = 60
_CALL_SECONDS = 600


class WorkerError(Exception):
    """A process could not do what it was asked; the text tells why."""


class Worker:
    """A process that awaits the functions it is sent, which are of modules, or that serves.

    A contestant's is on the core for servers.

    Args:
        contestant: Whose site each function gets first; None for the load generator, which has
            no site.
        url: The Redis server.
        lifetime: Seconds after which sessions end; None for the contestant's default.
        plain: Run on asyncio's own event loop, even if there is uvloop.
        serves: Serve the site with uvicorn, at ``port``; no function can be sent.
        start: How the process is started.
    """

    def __init__(
        self,
        contestant: Contestant | None = None,
        url: str = "",
        *,
        lifetime: int | None = None,
        plain: bool = False,
        serves: bool = False,
        start: str = "spawn",
    ) -> None:
        context: Any = multiprocessing.get_context(start)
        self._pipe, theirs = context.Pipe()
        self.port = _free_port() if serves else 0
        name = contestant and contestant.name
        args = (theirs, name, url, self.port) if serves else (theirs, name, url, lifetime, plain)
        target: Any = _serve if serves else _run
        self._process = context.Process(target=target, args=args, daemon=True)
        self._process.start()
        self.pid = self._process.pid or 0
        self._pinned = contestant is not None
        if self._pinned:
            cores.loosen(self.pid)
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
            if self.port:
                self._wait_until_served()
            else:
                self._receive(_START_SECONDS)
            if self._pinned:
                cores.pin(self.pid)
            self._ready = True

    def _wait_until_served(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            if self._pipe.poll(0.05):
                self._receive(0)  # why it does not serve
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
        raise WorkerError("uvicorn did not start")

    def leave(self) -> None:
        """Tell the process to end, and do not wait for it; `close` does."""
        if self.port:
            self._process.terminate()
        with contextlib.suppress(OSError):
            self._pipe.send(None)

    def close(self) -> None:
        """End the process."""
        self.leave()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

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
    _be_quiet()
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


def _serve(pipe: Connection, name: str, url: str, port: int) -> None:
    import uvicorn

    _be_quiet()
    try:
        # Its loop is uvloop, and its parser httptools, if they are installed.
        uvicorn.run(BY_NAME[name].build(url), port=port, access_log=False, log_level="error")
    except Exception as error:  # noqa: BLE001 - it becomes the reason in the table
        pipe.send((False, _told(error)))


def _be_quiet() -> None:
    warnings.simplefilter("ignore")  # deprecations in others' packages
    logging.disable()  # they tell of errors that are provoked


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


def _loop_factory() -> Any:
    """Return what makes a uvloop, as uvicorn runs on; None if it is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
