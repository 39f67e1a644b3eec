"""The example, served on this computer with its provider."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from examples.oauth2_login.app import create_app, settings
from examples.oauth2_login.local_provider import local_provider


@dataclass(frozen=True)
class Shop:
    """A running shop.

    Attributes:
        url: Its address.
        issuer: Its provider's.
        app: The application.
    """

    url: str
    issuer: str
    app: Any


@contextmanager
def running_shop(session: Mapping[str, Any]) -> Iterator[Shop]:
    """Run the example, with further properties below ``pyfly.session``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with local_provider(url) as issuer:
            config = settings(issuer=issuer, shop=url)
            config["pyfly"]["session"].update(session)
            app = create_app(config)
            with serving(app, listener):
                yield Shop(url, issuer, app)


@contextmanager
def serving(app: Any, listener: socket.socket) -> Iterator[None]:
    """Serve an application from a thread, until the end of the block."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
