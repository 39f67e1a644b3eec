"""The application under test, wired as any user wires theirs."""

from typing import Any

from dependency_injector import providers
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pyfly_session.auto_configuration import close_sessions, create_container, enable_sessions
from tests.conftest import Clock
from tests.web.driver import Answer, ask

# Seconds, few enough for a quick suite; nothing is measured against them but "much longer than".
PATIENCE = 0.2


async def idle(request: Request) -> Response:
    return PlainTextResponse("idle")


async def read(request: Request) -> Response:
    session = request.state.session
    return JSONResponse([session.get_attribute("user"), session.transient])


async def write(request: Request) -> Response:
    request.state.session.set_attribute("cart", ["rope"])
    return PlainTextResponse("written")


async def login(request: Request) -> Response:
    request.state.session.set_attribute("user", "bob")
    request.state.session.rotate_id()
    return PlainTextResponse("welcome")


async def logout(request: Request) -> Response:
    request.state.session.invalidate()
    return PlainTextResponse("bye")


HANDLERS: dict[str, Any] = {
    "idle": idle, "read": read, "write": write, "login": login, "logout": logout,
}  # fmt: skip


class Shop:
    """An application with sessions in Redis.

    Args:
        url: Of the server, or of what stands in front of it.
        patience: Seconds that each wait may take: more than any takes on a busy machine, unless
            the fault is a wait itself.
        redis: More properties below ``pyfly.session.redis``.
        session: More properties below ``pyfly.session``.
        handlers: More handlers, each under ``/<name>``.
    """

    def __init__(
        self, url: str, *, patience: float = 10, redis: dict[str, Any] | None = None,
        session: dict[str, Any] | None = None, **handlers: Any,
    ) -> None:  # fmt: skip
        defaults = {
            "connect-timeout": patience, "timeout": patience, "pool-timeout": patience,
            "deadline": 3 * patience, "circuit-failures": 0,
        }  # fmt: skip
        properties = {
            "enabled": True, "store": "redis", "fail-fast": True,
            "redis": {"url": url, **defaults, **(redis or {})}, **(session or {}),
        }  # fmt: skip
        self.clock = Clock()
        self.container = create_container({"pyfly": {"session": properties}})
        self.container.clock.override(providers.Object(self.clock))
        routes = [Route(f"/{name}", each) for name, each in {**HANDLERS, **handlers}.items()]
        self.app = enable_sessions(Starlette(routes=routes), self.container)

    async def get(self, path: str, cookie: str | None = None, **options: Any) -> Answer:
        return await ask(self.app, path, cookie=cookie, **options)

    async def serves(self, cookie: str) -> bool:
        """Tell whether a request with this cookie is served; if not, it got the honest answer."""
        answer = await self.get("/read", cookie)
        if answer.status != 200:
            assert_unavailable(answer)
        return answer.status == 200

    @staticmethod
    def handler(name: str) -> Any:
        """Return the handler behind ``/<name>``."""
        return HANDLERS[name]

    async def drain(self) -> None:
        """Wait for what cancelled requests have left to do."""
        await self.container.session_repository().drain()

    async def close(self) -> None:
        await close_sessions(self.container)


def assert_unavailable(answer: Answer) -> None:
    """Assert the one honest answer to a store that failed."""
    assert answer.status == 503, answer
    assert (answer.get("retry-after"), answer.get("cache-control")) == ("5", "no-store")
    assert answer.cookie() is None
    assert b"store is unavailable" in answer.body
