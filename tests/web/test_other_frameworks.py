"""Applications that are not Starlette's, and event loops that are not asyncio's."""

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from pyfly_session import SessionError, SessionFilter, WebFilterChainMiddleware, enable_sessions
from pyfly_session.adapters.memory import InMemorySessionStore
from tests.support.cases import for_each
from tests.web.driver import ask

CONFIG: dict[str, Any] = {"pyfly": {"session": {"enabled": True}}}


class Framework:
    """Has middleware of its own kind, as Falcon and Ravyn have."""

    def __init__(self) -> None:
        self.middleware: list[Any] = []

    def add_middleware(self, middleware: Any) -> None:
        self.middleware.append(middleware)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = scope["state"]["session"]
        visits = session.update_attribute("visits", lambda visits: (visits or 0) + 1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(visits).encode()})


async def test_an_application_of_another_framework_is_wrapped() -> None:
    framework = Framework()
    app: Any = enable_sessions(framework, config=CONFIG)
    assert framework.middleware == []
    first = await ask(app)
    assert (await ask(app, cookie=first.session_id)).text == "2"


@for_each("cookie", [b"", b"PYFLY_SESSION=" + b"a" * 32])
@for_each("made", ["by hand", "by the container"])
def test_another_event_loop_is_told_what_is_needed(cookie: bytes, made: str) -> None:
    if made == "by hand":
        app: Any = WebFilterChainMiddleware(Framework(), [SessionFilter(InMemorySessionStore())])
    else:
        app = enable_sessions(Framework(), config=CONFIG)
    headers = [(b"cookie", cookie)] if cookie else []
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    request = app(scope, None, None)
    with pytest.raises(SessionError, match="sessions need asyncio"):
        # One step outside of any loop: whatever runs it, it is not asyncio.
        request.send(None)
