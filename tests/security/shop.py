"""An application with two providers, and a browser in front of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from pyfly_session import HttpSession, SecurityContext, WebFilterChainMiddleware
from pyfly_session.security import SecurityContextFilter, why_ended
from pyfly_session.security.oauth2 import InMemoryClientRegistrationRepository, claims_to_context
from pyfly_session.security.oauth2.back_channel_logout import OAuth2BackChannelLogoutFilter
from pyfly_session.security.oauth2.login import OAuth2LoginFilter, OAuth2LoginHandler
from tests.security.provider import FakeProvider, Network
from tests.web.conftest import Site
from tests.web.driver import Answer, Browser
from tests.web.pages import Page, rotate


async def who(request: Request) -> PlainTextResponse:
    context: SecurityContext = request.state.security_context
    session: HttpSession = request.state.session
    return PlainTextResponse(f"{context.user_id} {session.get_attribute('cart')}")


async def put(request: Request) -> None:
    session: HttpSession = request.state.session
    session.set_attribute("cart", request.query_params["cart"])


async def why(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(await why_ended(request)))


class Shop:
    """The application, registered as ``green`` and ``harsh`` at two providers."""

    def __init__(self, site: Site, **options: Any) -> None:
        self.site = site
        self.green = FakeProvider("green.test", site.clock)
        self.harsh = FakeProvider("harsh.test", site.clock)
        network = Network(self.green, self.harsh)
        self.registrations = InMemoryClientRegistrationRepository(
            self.green.registration("green"), self.harsh.registration("harsh")
        )
        # Short names in what the tests expect; a test of its own has those of the default.
        options.setdefault("to_context", claims_to_context)
        self.handler = OAuth2LoginHandler(
            self.registrations, transport=network.transport, clock=site.clock, **options
        )
        filters = [
            OAuth2LoginFilter(self.handler), SecurityContextFilter(),
            OAuth2BackChannelLogoutFilter(self.handler, site.filter), site.filter,
        ]  # fmt: skip
        self.app = Starlette(
            routes=[Page("/", who), Page("/put", put), Page("/rotate", rotate), Page("/why", why)],
            middleware=[Middleware(WebFilterChainMiddleware, filters=filters)],
        )
        self.browser = Browser(self.app)

    async def start(self, registration: str = "green", query: str = "") -> str:
        """Begin a login and return where the browser is sent."""
        answer = await self.browser.get(f"/oauth2/authorization/{registration}{query}")
        assert answer.status == 302, answer.text
        location = answer.get("location")
        assert location is not None
        return location

    async def come_back(self, query: str, registration: str = "green", **options: Any) -> Answer:
        """Come back from the provider."""
        return await self.browser.get(f"/login/oauth2/code/{registration}?{query}", **options)

    async def log_in(self, user: str = "alice", query: str = "") -> Answer:
        """Log in at the provider ``green``, the whole way."""
        return await self.come_back(self.green.log_in(await self.start(query=query), user))

    async def who(self) -> str:
        """Return who the browser is, and what is in the cart."""
        return (await self.browser.get("/")).text

    async def require_failure(self, answer: Answer, code: str, status: int = 400) -> None:
        """Require that a login failed, and that nothing of it is left."""
        assert (answer.status, answer.text) == (status, answer.text)
        assert f'"error":"{code}"' in answer.text
        assert answer.get("location") is None
        assert (await self.who()).startswith("None ")
        stored = await self.site.probe.inner.get(self.browser.cookie)
        assert "SECURITY_CONTEXT" not in stored
        assert "_principal" not in stored
        assert not [name for name in stored if name.startswith("_oauth2_logged_in")]


def path_of(url: str | None) -> str:
    assert url is not None
    return urlsplit(url).path
