"""A client that speaks ASGI itself: it sees raw headers, every message and every moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]
App = Callable[..., Awaitable[None]]
COOKIE = "PYFLY_SESSION"


@dataclass
class Answer:
    """What left the application, and the error that it raised besides.

    Attributes:
        messages: The ASGI messages in their order; grows while the application runs.
        error: What the application raised, or None.
    """

    messages: list[Message] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def head(self) -> Message:
        kinds = ("http.response.start", "websocket.accept", "websocket.http.response.start")
        heads = [each for each in self.messages if each["type"] in kinds]
        assert len(heads) == 1, f"expected one head, got {self.messages} and {self.error!r}"
        return heads[0]

    @property
    def status(self) -> int:
        status: int = self.head["status"]
        return status

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.messages)

    @property
    def text(self) -> str:
        return self.body.decode()

    def all(self, name: str) -> list[str]:
        wanted = name.lower().encode()
        return [value.decode() for key, value in self.head["headers"] if key.lower() == wanted]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} is there more than once: {values}"
        return values[0] if values else None

    def cookie(self, name: str = COOKIE) -> SetCookie | None:
        """Return the one ``Set-Cookie`` of this name, or None."""
        found = [SetCookie.parse(each) for each in self.all("set-cookie")]
        found = [each for each in found if each.name == name]
        assert len(found) < 2, f"the cookie is set more than once: {found}"
        return found[0] if found else None

    @property
    def own_cookie(self) -> SetCookie:
        """Return the session's cookie, which must be there."""
        cookie = self.cookie()
        assert cookie is not None, f"no session cookie in {self.head}"
        return cookie

    @property
    def session_id(self) -> str:
        cookie = self.own_cookie
        assert not cookie.is_deletion, f"the cookie is removed: {cookie}"
        return cookie.value


@dataclass(frozen=True)
class SetCookie:
    """One parsed ``Set-Cookie`` header."""

    name: str
    value: str
    attributes: Mapping[str, str]

    @classmethod
    def parse(cls, header: str) -> SetCookie:
        pair, *rest = header.split(";")
        name, _, value = pair.partition("=")
        attributes = {}
        for each in rest:
            key, _, content = each.strip().partition("=")
            assert key.lower() not in attributes, f"{key} twice in {header}"
            attributes[key.lower()] = content
        return cls(name.strip(), value.strip().strip('"'), attributes)

    @property
    def is_deletion(self) -> bool:
        return self.attributes.get("max-age") == "0"

    @property
    def max_age(self) -> int:
        return int(self.attributes["max-age"])


class Connection:
    """One request on its way; the answer may be looked at while the application runs.

    Args:
        app: The ASGI application.
        path: Path and query.
        cookie: Value of the session cookie, or None for no cookie.
        headers: More raw request headers.
        incoming: The messages that the application receives; then it waits for more.
        swallow: Keep the application's error in the answer instead of raising it.
    """

    def __init__(
        self, app: App, path: str = "/", *, method: str = "GET", cookie: str | None = None,
        headers: Iterable[tuple[str | bytes, str | bytes]] = (), kind: str = "http",
        body: bytes = b"", incoming: Iterable[Message] | None = None, swallow: bool = False,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        raw = [(_bytes(name).lower(), _bytes(value)) for name, value in headers]
        if cookie is not None:
            raw.append((b"cookie", f"{COOKIE}={cookie}".encode()))
        route, _, query = path.partition("?")
        self.scope: dict[str, Any] = {
            "type": kind, "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "scheme": "http" if kind == "http" else "ws", "path": route, "raw_path": route.encode(),
            "query_string": query.encode(), "root_path": "",
            "headers": [(b"host", b"example.test"), *raw], "server": ("example.test", 80),
            "client": ("192.0.2.1", 1234), "state": {},
        }  # fmt: skip
        if kind == "http":
            self.scope["method"] = method
        else:
            self.scope["subprotocols"] = []
        if extensions is not None:
            self.scope["extensions"] = dict(extensions)
        self.answer = Answer()
        self._swallow = swallow
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._arrival = asyncio.Event()
        if incoming is None:
            incoming = (
                [{"type": "http.request", "body": body, "more_body": False}]
                if kind == "http"
                else [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]
            )
        for message in incoming:
            self._inbox.put_nowait(message)
        self._app = app
        self.task: asyncio.Task[Answer] | None = None

    def start(self) -> Connection:
        """Let the application begin, in a task of its own."""
        self.task = asyncio.ensure_future(self.run())
        return self

    async def run(self) -> Answer:
        """Run the application to its end."""
        try:
            await self._app(self.scope, self._inbox.get, self._send)
        except Exception as error:
            if not self._swallow:
                raise
            self.answer.error = error
        return self.answer

    def receive(self, message: Message) -> None:
        """Give the application one more message."""
        self._inbox.put_nowait(message)

    async def messages(self, count: int) -> Answer:
        """Wait until so many messages have left the application."""
        assert self.task is not None
        while len(self.answer.messages) < count:
            assert not self.task.done(), f"the application ended early: {self.task}"
            self._arrival.clear()
            arrival = asyncio.ensure_future(self._arrival.wait())
            await asyncio.wait({arrival, self.task}, return_when=asyncio.FIRST_COMPLETED)
            arrival.cancel()
        return self.answer

    async def started(self) -> Answer:
        """Wait for the head."""
        return await self.messages(1)

    async def end(self) -> Answer:
        """Wait until the application has returned."""
        assert self.task is not None
        return await self.task

    async def cancel(self) -> Answer:
        """Cancel the application, as a server does on shutdown, and wait until it is gone."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task})
        assert self.task.cancelled(), self.task
        return self.answer

    async def _send(self, message: Message) -> None:
        self._require_order(message["type"])
        self.answer.messages.append(message)
        self._arrival.set()
        # A real server may switch to another task here.
        await asyncio.sleep(0)

    def _require_order(self, kind: str) -> None:
        """Complain as a server does about a message that cannot follow the others."""
        sent = [each["type"] for each in self.answer.messages]
        closed = "websocket.close" in sent or (
            sent[-1:] == ["http.response.body"]
            and not self.answer.messages[-1].get("more_body", False)
        )
        head = kind in ("http.response.start", "websocket.accept", "websocket.http.response.start")
        if closed or (head and sent) or (kind == "http.response.body" and not sent):
            raise RuntimeError(f"Unexpected ASGI message {kind!r} after {sent}")


async def ask(app: App, path: str = "/", **options: Any) -> Answer:
    """Send one request and return the whole answer."""
    return await Connection(app, path, **options).run()


class Browser:
    """Keeps cookies between requests, in the order in which answers arrive.

    Attributes:
        cookie: The session's.
        others: All others by their names, each for the path that it was set for.
    """

    def __init__(self, app: App, cookie: str | None = None) -> None:
        self.app = app
        self.cookie = cookie
        self.others: dict[str, SetCookie] = {}

    async def get(self, path: str = "/", **options: Any) -> Answer:
        answer = await ask(self.app, path, **self._with_cookies(path, options))
        self.take(answer)
        return answer

    def open(self, path: str, **options: Any) -> Connection:
        """Start a request; `take` its answer when it has arrived."""
        return Connection(self.app, path, **self._with_cookies(path, options)).start()

    def take(self, answer: Answer) -> None:
        cookie = answer.cookie()
        if cookie is not None:
            self.cookie = None if cookie.is_deletion else cookie.value
        for header in answer.all("set-cookie"):
            other = SetCookie.parse(header)
            if other.name != COOKIE and other.is_deletion:
                self.others.pop(other.name, None)
            elif other.name != COOKIE:
                self.others[other.name] = other

    def _with_cookies(self, path: str, options: dict[str, Any]) -> dict[str, Any]:
        sent = [
            f"{each.name}={each.value}"
            for each in self.others.values()
            if path.startswith(each.attributes.get("path", "/"))
        ]
        if not sent:
            return {"cookie": self.cookie, **options}
        if self.cookie is not None:
            sent.insert(0, f"{COOKIE}={self.cookie}")
        headers = [*options.get("headers", ()), ("cookie", "; ".join(sent))]
        return {**options, "headers": headers}


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
