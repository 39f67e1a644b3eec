"""A shop with its management endpoint, and people with browsers of their own."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis
from dependency_injector import providers
from httpx2 import Response
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from pyfly_session import SecurityContext
from pyfly_session.auto_configuration import create_container, enable_sessions
from pyfly_session.management import Management
from pyfly_session.management.session_lookup import Lookup
from pyfly_session.security import context_of, login

COOKIE = "PYFLY_SESSION"
OpenShop = Callable[..., "Shop"]


async def log_in(request: Request) -> PlainTextResponse:
    name = request.query_params["name"]
    roles = ["OPERATOR"] if name == "root" else []
    await login(request, SecurityContext(user_id=name, roles=roles))
    return PlainTextResponse("")


async def keep(request: Request) -> PlainTextResponse:
    request.state.session.set_attribute(request.query_params["name"], await request.json())
    return PlainTextResponse("")


async def who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(context_of(request.state.session).user_id or "nobody")


async def turn(request: Request) -> PlainTextResponse:
    request.state.session.rotate_id()
    return PlainTextResponse("")


def is_operator(request: Request) -> bool:
    return context_of(request.state.session).has_role("OPERATOR")


def application(
    properties: dict[str, Any], *, listeners: Sequence[Any] = (), **options: Any
) -> tuple[Any, Any]:
    """Return an application with properties below ``pyfly.session``, and its container."""
    container = create_container({"pyfly": {"session": properties}})
    container.session_listeners.add_args(*map(providers.Object, listeners))
    management = Management(container, **{"guard": is_operator, **options})
    routes = [
        Route("/in", log_in), Route("/keep", keep, methods=["POST"]), Route("/who", who),
        Route("/turn", turn), Mount("/manage", management),
    ]  # fmt: skip
    return enable_sessions(Starlette(routes=routes), container), container


class Person:
    """Somebody with a browser, that is with one cookie."""

    def __init__(self, client: TestClient) -> None:
        self._client = client
        self.session_id: str | None = None

    def ask(self, method: str, path: str, **options: Any) -> Response:
        """Send a request with the cookie, and keep the one that comes back."""
        self._client.cookies.clear()
        if self.session_id is not None:
            self._client.cookies.set(COOKIE, self.session_id, domain="testserver.local", path="/")
        response: Any = self._client.request(method, path, **options)
        self.session_id = self._client.cookies.get(COOKIE)
        return response  # type: ignore[no-any-return]

    def get(self, path: str, **options: Any) -> Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> Response:
        return self.ask("POST", path, **options)

    def delete(self, path: str, **options: Any) -> Response:
        return self.ask("DELETE", path, **options)

    def json(self, path: str) -> Any:
        response = self.get(path)
        assert response.status_code == 200, response.text
        return response.json()

    def who(self) -> str:
        return self.get("/who").text

    def remember(self, name: str, value: Any) -> None:
        assert self.post("/keep", params={"name": name}, json=value).status_code == 200


class Shop:
    """A running shop.

    Attributes:
        client: Sends requests to it.
        container: Its container.
    """

    def __init__(self, client: TestClient, container: Any) -> None:
        self.client = client
        self.container = container

    def visitor(self) -> Person:
        return Person(self.client)

    def person(self, name: str) -> Person:
        """Return somebody who is logged in."""
        person = self.visitor()
        assert person.get("/in", params={"name": name}).status_code == 200
        return person

    def handle(self, person: Person) -> str:
        assert person.session_id is not None
        return Lookup(self.container).handle_of(person.session_id)


@pytest.fixture
def open_shop(request: pytest.FixtureRequest) -> Iterator[OpenShop]:
    """Return a function that opens a shop with properties and options of `Management`."""
    opened: list[TestClient] = []

    def open_shop(kind: str = "memory", *, session: Any = None, **options: Any) -> Shop:
        properties: dict[str, Any] = {"enabled": True, **(session or {})}
        if kind != "memory":
            url = request.getfixturevalue("valkey_url")
            with redis.Redis.from_url(url) as client:
                client.flushdb()
            properties |= {"store": "redis", "redis": {"url": url}, "hash-ids": kind == "hashed"}
        app, container = application(properties, **options)
        opened.append(TestClient(app).__enter__())
        return Shop(opened[-1], container)

    yield open_shop
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture(params=["memory", "valkey", "hashed"])
def shop(request: pytest.FixtureRequest, open_shop: OpenShop) -> Shop:
    """Return a shop over each kind of store."""
    return open_shop(request.param)


@pytest.fixture
def memory_shop(open_shop: OpenShop) -> Shop:
    """Return a shop over the memory store."""
    return open_shop()


@pytest.fixture
def root(shop: Shop) -> Person:
    """Return an operator."""
    return shop.person("root")
