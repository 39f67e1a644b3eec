"""Run the quick start against the installed wheel, with nothing else installed.

A program rather than a test: it runs where there is no pytest.
"""

import asyncio
import importlib.metadata
import importlib.util
import pathlib
import sys
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import pyfly_session
from pyfly_session.auto_configuration import enable_sessions


async def visits(request: Request) -> PlainTextResponse:
    session = request.state.session
    session.set_attribute("visits", (session.get_attribute("visits") or 0) + 1)
    return PlainTextResponse(f"visit {session.get_attribute('visits')}")


async def get(app: Any, cookie: bytes) -> tuple[bytes, bytes]:
    """Request ``/`` and return the session cookie and the body."""
    scope = {
        "type": "http", "method": "GET", "path": "/", "query_string": b"",
        "headers": [(b"cookie", cookie)] if cookie else [],
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return dict(sent[0]["headers"])[b"set-cookie"].partition(b";")[0], sent[1]["body"]


async def main() -> None:
    app = Starlette(routes=[Route("/", visits)])
    enable_sessions(app, config={"pyfly": {"session": {"enabled": True}}})
    cookie, first = await get(app, b"")
    _, second = await get(app, cookie)
    expect(first == b"visit 1", first)
    expect(second == b"visit 2", second)


def expect(fact: object, evidence: object) -> None:
    if not fact:
        sys.exit(f"the quick start failed: {evidence!r}")


if __name__ == "__main__":
    package = pathlib.Path(pyfly_session.__file__).parent
    expect("site-packages" in package.parts, f"not the installed package: {package}")
    expect(importlib.metadata.version("pyfly-session") == pyfly_session.__version__, "version")
    expect((package / "py.typed").exists(), "py.typed is missing")
    expect((package / "default_config" / "pyfly.yaml").exists(), "the configuration is missing")
    expect(importlib.util.find_spec("redis") is None, "redis is installed; this proves nothing")
    asyncio.run(main())
    sys.stdout.write(f"pyfly-session {pyfly_session.__version__}: the quick start works alone\n")
