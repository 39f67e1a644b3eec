"""Authlib's client for Starlette keeps what it must remember in ``request.session``."""

from __future__ import annotations

import time
from typing import Any, cast

import httpx2
from authlib.integrations.starlette_client import OAuth, OAuthError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.conftest import Clock
from tests.frameworks.browser import browser_of
from tests.security.provider import FakeProvider, Network
from tests.support.cases import for_each
from tests.web.conftest import Site

CALLBACK = "https://shop.example/callback"


class Shop:
    """An application as Authlib's documentation writes it."""

    def __init__(self, site: Site) -> None:
        self.provider = FakeProvider("login.example", cast("Clock", time.time))
        oauth = OAuth()
        oauth.register(
            "login",
            client_id="shop",
            client_secret="s3cret",
            server_metadata_url=f"{self.provider.issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid email",
                "code_challenge_method": "S256",
                "transport": Network(self.provider).transport,
            },
        )
        self.client: Any = oauth.create_client("login")
        self.browser: httpx2.AsyncClient = browser_of(
            site.app(login=self.login, callback=self.callback, me=self.me)
        )

    async def login(self, request: Request) -> Response:
        answer: Response = await self.client.authorize_redirect(request, CALLBACK)
        return answer

    async def callback(self, request: Request) -> Response:
        try:
            token = await self.client.authorize_access_token(request)
        except OAuthError as error:
            return JSONResponse({"error": error.error}, 400)
        request.session["user"] = token["userinfo"]
        return JSONResponse(sorted(request.session))

    async def me(self, request: Request) -> Response:
        user = request.session.get("user")
        return JSONResponse({"email": user["email"] if user else None})


async def test_a_user_logs_in_with_a_provider(site: Site) -> None:
    shop = Shop(site)
    async with shop.browser as browser:
        assert (await browser.get("/me")).json() == {"email": None}
        answer = await browser.get("/login")
        assert answer.status_code == 302
        query = shop.provider.log_in(answer.headers["location"])
        assert (await browser.get(f"/callback?{query}")).json() == ["user"]
        assert (await browser.get("/me")).json() == {"email": "alice@example.org"}


@for_each("where", ["here, once more", "in another browser"])
async def test_the_way_back_counts_once_and_in_no_other_browser(site: Site, where: str) -> None:
    shop = Shop(site)
    async with shop.browser as browser:
        query = shop.provider.log_in((await browser.get("/login")).headers["location"])
        if where == "in another browser":
            browser.cookies.clear()
        else:
            assert (await browser.get(f"/callback?{query}")).status_code == 200
        refused = await browser.get(f"/callback?{query}")
        assert (refused.status_code, refused.json()) == (400, {"error": "mismatching_state"})


@for_each("creation", ["always", "if-required"])
async def test_a_second_attempt_replaces_the_first(site: Site, creation: str) -> None:
    """Authlib looks for its own names among all names of the session."""
    shop = Shop(site.configure(creation=creation))
    async with shop.browser as browser:
        await browser.get("/login")
        query = shop.provider.log_in((await browser.get("/login")).headers["location"])
        stored: dict[str, Any] = await site.probe.inner.get(browser.cookies["PYFLY_SESSION"])
        assert len([name for name in stored if name.startswith("_state_login_")]) == 1
        assert (await browser.get(f"/callback?{query}")).status_code == 200
