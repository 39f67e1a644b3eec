"""An application whose listener writes down what it is told of sessions."""

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from pyfly_session import SecurityContext, SessionFilter, SessionRepository, ids
from pyfly_session.concurrency import ConcurrencyControlPolicy, SessionConcurrencyController
from pyfly_session.events import SessionDestroyed, SessionEvent
from pyfly_session.security import login
from tests.web.conftest import Site
from tests.web.driver import Answer, ask
from tests.web.pages import leave, others, rotate


async def enter(request: Request) -> None:
    await login(request, SecurityContext(user_id="ada"))


async def look(session: Any) -> PlainTextResponse:
    return PlainTextResponse(str(session.get_attribute("seen")))


async def write(request: Request) -> None:
    request.state.session.set_attribute("seen", request.query_params.get("seen", "yes"))


class Shop:
    """An application whose listener writes down what it is told."""

    def __init__(self, site: Site, *more: Any, limit: int = -1, **options: Any) -> None:
        self.site = site
        self.told: list[SessionEvent] = []
        self.repository = SessionRepository(
            site.probe.store, clock=site.clock, listeners=[*more, self.listen], **options
        )
        controller = SessionConcurrencyController(
            self.repository.principals, ConcurrencyControlPolicy(max_sessions=limit)
        )
        site.filter = SessionFilter(
            site.probe.store, repository=self.repository, concurrency=controller
        )
        self.app = site.app(
            enter=enter, leave=leave, look=look, write=write, rotate=rotate, others=others
        )

    async def listen(self, event: SessionEvent) -> None:
        self.told.append(event)

    async def ask(self, path: str, cookie: str | None = None) -> Answer:
        return await ask(self.app, path, cookie=cookie)

    async def news(self) -> list[SessionEvent]:
        """Return what was told since the last call, when every listener is done."""
        await self.repository.drain()
        told, self.told[:] = list(self.told), []
        return told


def handle(shop: Shop, session_id: str) -> str:
    return ids.mask(shop.repository.capable_store.key_of(session_id)).removeprefix("#")


def destroyed(shop: Shop, session_id: str, reason: str, who: str | None = None) -> SessionEvent:
    at = shop.site.clock()
    return SessionDestroyed(handle=handle(shop, session_id), principal=who, at=at, reason=reason)
