"""A site of one process or two: its pages do to the session what their address says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from dependency_injector import providers
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pyfly_session import HttpSession, SecurityContext, SessionError, SessionStore
from pyfly_session.auto_configuration import close_sessions, create_container, enable_sessions
from pyfly_session.security import context_of, end_other_sessions, login, logout
from tests.conftest import Clock
from tests.identity.watched import WatchedStore
from tests.web.driver import Answer, Connection


class Gate:
    """Where a request waits, inside its page, until the test lets it go on."""

    def __init__(self, *, reads: bool) -> None:
        self.reads = reads
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()


async def wait_at_gate(request: Request) -> None:
    gate: Gate | None = getattr(request.state, "gate", None)
    if gate is None:
        return
    if gate.reads:
        request.state.session.get_attribute("cart")
    gate.reached.set()
    await gate.opened.wait()


def write_query(request: Request) -> None:
    """Set each parameter as an attribute, but those that tell who logs in."""
    for name, value in request.query_params.items():
        if name not in ("user", "alias"):
            request.state.session.set_attribute(name, value)


def picture_of(session: HttpSession) -> dict[str, Any]:
    if session.invalidated:
        return {"user": None, "transient": session.transient, "attributes": {}}
    names = [name for name in session.get_attribute_names() if name != "SECURITY_CONTEXT"]
    return {
        "user": context_of(session).user_id,
        "transient": session.transient,
        "attributes": {name: session.get_attribute(name) for name in names},
    }


def answer_to(request: Request) -> Response:
    return JSONResponse(picture_of(request.state.session))


async def log_in(request: Request) -> None:
    user = request.query_params["user"]
    await login(
        request, SecurityContext(user_id=user), aliases=request.query_params.getlist("alias")
    )


async def news(request: Request) -> Response:
    """Do not look at the session."""
    await wait_at_gate(request)
    return PlainTextResponse("no news")


async def look(request: Request) -> Response:
    await wait_at_gate(request)
    return answer_to(request)


async def write(request: Request) -> Response:
    await wait_at_gate(request)
    write_query(request)
    return answer_to(request)


async def renew(request: Request) -> Response:
    await wait_at_gate(request)
    request.state.session.rotate_id()
    write_query(request)
    return answer_to(request)


async def enter(request: Request) -> Response:
    await wait_at_gate(request)
    await log_in(request)
    write_query(request)
    return answer_to(request)


async def attempt(request: Request) -> Response:
    """Log in; go on all the same if that is refused."""
    await wait_at_gate(request)
    try:
        await log_in(request)
    except SessionError as error:
        return JSONResponse({"error": type(error).__name__, **picture_of(request.state.session)})
    return answer_to(request)


async def leave(request: Request) -> Response:
    await wait_at_gate(request)
    await logout(request)
    return answer_to(request)


async def password(request: Request) -> Response:
    """Change the password: nobody else stays logged in."""
    await wait_at_gate(request)
    await end_other_sessions(request)
    request.state.session.rotate_id()
    return answer_to(request)


async def clear(request: Request) -> Response:
    await wait_at_gate(request)
    request.state.session.clear()
    write_query(request)
    return answer_to(request)


async def hand_over(request: Request) -> Response:
    """Make the session another user's, without a change of its id."""
    await wait_at_gate(request)
    session: HttpSession = request.state.session
    user = request.query_params["user"]
    session.clear()
    session.authenticate(user)
    session.set_attribute("SECURITY_CONTEXT", SecurityContext(user_id=user))
    return answer_to(request)


async def fill(request: Request) -> Response:
    """Put something into the basket, which is changed in place."""
    session: HttpSession = request.state.session
    basket = session.get_attribute("basket")
    if basket is None:
        session.set_attribute("basket", basket := [])
    await wait_at_gate(request)
    basket.append(request.query_params["with"])
    return answer_to(request)


async def enter_and_fill(request: Request) -> Response:
    """Log in, and put something into the basket by a function."""
    await wait_at_gate(request)
    await log_in(request)
    added = request.query_params["with"]
    request.state.session.update_attribute("basket", lambda basket: [*(basket or []), added])
    return answer_to(request)


async def enter_without_login(request: Request) -> Response:
    """Log in as applications do that know nothing of `login`."""
    await wait_at_gate(request)
    session: HttpSession = request.state.session
    session.rotate_id()
    session.set_attribute("SECURITY_CONTEXT", SecurityContext(user_id=request.query_params["user"]))
    return answer_to(request)


async def add_role(request: Request) -> Response:
    """Store the context of who is logged in again, with what they may do now."""
    await wait_at_gate(request)
    context = SecurityContext(user_id=request.query_params["user"], roles=["staff"])
    request.state.session.set_attribute("SECURITY_CONTEXT", context)
    return answer_to(request)


async def renew_and_stream(request: Request) -> Response:
    """Look at the session only when the head has been sent, and the change stored before."""
    await wait_at_gate(request)
    session: HttpSession = request.state.session
    session.rotate_id()
    write_query(request)

    async def body() -> AsyncIterator[str]:
        yield json.dumps({**picture_of(session), "user": session.principal})

    return StreamingResponse(body())


async def note_nobody(request: Request) -> Response:
    """Store that nobody is logged in, as an application may that looks at it each time."""
    await wait_at_gate(request)
    request.state.session.set_attribute("SECURITY_CONTEXT", SecurityContext.anonymous())
    return answer_to(request)


async def put_context(request: Request) -> Response:
    """Put another mapping in the place of the session, with somebody else in it."""
    await wait_at_gate(request)
    user = request.query_params["user"]
    request.scope["session"] = {"SECURITY_CONTEXT": SecurityContext(user_id=user)}
    return PlainTextResponse("put")


async def put_nothing(request: Request) -> Response:
    await wait_at_gate(request)
    request.scope["session"] = {}
    return PlainTextResponse("put")


async def write_and_go_on(request: Request) -> Response:
    """Write before the head has been sent, and do something else to the session after it."""
    await wait_at_gate(request)
    session: HttpSession = request.state.session
    then = request.query_params["then"]
    session.set_attribute("bait", then)

    async def body() -> AsyncIterator[str]:
        yield ""
        match then:
            case "clear":
                session.clear()
            case "remember":
                session.set_max_inactive_interval(86_400)
            case "login":
                session.set_attribute("SECURITY_CONTEXT", SecurityContext(user_id="mallory"))
            case "authenticate":
                session.authenticate("mallory")
        yield json.dumps(picture_of(session))

    return StreamingResponse(body())


async def update_and_show(request: Request) -> Response:
    """Change the cart by a function, and show what is in it when that has been stored."""
    await wait_at_gate(request)
    session: HttpSession = request.state.session
    session.update_attribute("cart", lambda cart: f"{cart}+bait")

    async def body() -> AsyncIterator[str]:
        yield ""
        yield str(session.get_attribute("cart"))
        yield str(session.update_attribute("cart", lambda cart: f"{cart}+more"))

    return StreamingResponse(body())


async def remove(request: Request) -> Response:
    await wait_at_gate(request)
    for name in request.query_params:
        request.state.session.remove_attribute(name)
    return answer_to(request)


async def remember(request: Request) -> Response:
    """Give the session an idle time of its own."""
    await wait_at_gate(request)
    request.state.session.set_max_inactive_interval(86_400)
    return answer_to(request)


PAGES: list[Any] = [
    news, look, write, renew, enter, attempt, leave, password, clear, hand_over, fill, remove,
    remember, enter_and_fill, enter_without_login, renew_and_stream, add_role, write_and_go_on,
    update_and_show, note_nobody, put_context, put_nothing,
]  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """What a page shows of its session.

    Attributes:
        user: Who is logged in.
        transient: Nothing of the session is going to be saved.
        attributes: The rest.
    """

    user: str | None
    transient: bool
    attributes: dict[str, Any]

    @classmethod
    def of(cls, answer: Answer) -> Picture:
        assert answer.status == 200, answer.text
        return cls(**json.loads(answer.text))


class Held:
    """A request that has loaded its session and waits inside its page."""

    def __init__(self, connection: Connection, gate: Gate) -> None:
        self.connection = connection
        self._gate = gate

    async def reach(self) -> Held:
        """Wait until the page runs."""
        task, reached = self.connection.task, asyncio.ensure_future(self._gate.reached.wait())
        assert task is not None
        await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        assert self._gate.reached.is_set(), f"the page was not reached: {task}"
        return self

    def let_go(self) -> None:
        self._gate.opened.set()

    async def finish(self) -> Answer:
        """Let the page go on and return the whole answer."""
        self.let_go()
        return await self.connection.end()


class Process:
    """One process of the site.

    Attributes:
        app: The application.
        watch: What is between the process and its store.
        container: The process's beans.
    """

    def __init__(
        self, store: SessionStore, clock: Clock, settings: dict[str, Any], *, watched: bool
    ) -> None:
        self.watch = WatchedStore(store)
        self.container = create_container({"pyfly": {"session": {"enabled": True, **settings}}})
        used = self.watch.store if watched else store
        self.container.session_store.override(providers.Object(used))
        self.container.clock.override(providers.Object(clock))
        routes = [Route(f"/{page.__name__}", page, methods=["GET", "POST"]) for page in PAGES]
        self.app = enable_sessions(Starlette(routes=routes), self.container)

    async def ask(self, path: str, cookie: str | None = None, **options: Any) -> Answer:
        """Send one request and return the whole answer."""
        return await Connection(self.app, path, cookie=cookie, **options).run()

    async def begin(self, path: str, cookie: str | None = None, *, reads: bool = True) -> Held:
        """Send a request that waits inside its page.

        Args:
            path: Which page.
            cookie: The id that is presented.
            reads: It looks at its session before it waits.
        """
        connection, gate = Connection(self.app, path, cookie=cookie), Gate(reads=reads)
        connection.scope["state"]["gate"] = gate
        return await Held(connection.start(), gate).reach()

    async def visit(self, path: str = "/write?cart=tea") -> str:
        """Return the id of a new visitor, by default one with a cart."""
        return (await self.ask(path)).session_id

    async def opens(self, cookie: str) -> Picture:
        """Return what a request sees that presents this id."""
        return Picture.of(await self.ask("/look", cookie))

    async def count(self, user: str) -> int:
        """Return how many sessions the user has."""
        count: int = await self.container.principal_sessions().count(user)
        return count

    async def close(self) -> None:
        self.watch.recover()
        await close_sessions(self.container)


class Site:
    """Processes over one store.

    Attributes:
        here: One process.
        there: The other process, or the same if there is only one.
    """

    def __init__(
        self, connect: Callable[[], SessionStore], clock: Clock, settings: dict[str, Any], *,
        two: bool, watched: bool,
    ) -> None:  # fmt: skip
        self._connect = connect
        self.clock = clock
        self._settings = settings
        self._watched = watched
        self.processes: list[Process] = []
        self.here = self.another()
        self.there = self.another() if two else self.here

    def another(self) -> Process:
        """Start one more process."""
        process = Process(self._connect(), self.clock, self._settings, watched=self._watched)
        self.processes.append(process)
        return process
