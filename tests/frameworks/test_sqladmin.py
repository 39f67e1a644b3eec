"""SQLAdmin's login over our session, and beside it over its own."""

from __future__ import annotations

import pytest
from sqladmin import Admin, ModelView
from sqladmin.authentication import AuthenticationBackend
from sqladmin.flash import Flash
from sqlalchemy import Engine, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.frameworks.browser import browser_of
from tests.web.conftest import Site


class Base(DeclarativeBase):
    pass


class Lamp(Base):
    __tablename__ = "lamps"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String)


class LampView(ModelView, model=Lamp):
    column_list = ["id", "name"]  # noqa: RUF012


class Login(AuthenticationBackend):
    """As SQLAdmin's documentation writes it."""

    async def login(self, request: Request) -> Response | bool:
        form = await request.form()
        if form.get("password") != "secret":
            return False
        request.session.update({"user_id": form.get("username")})
        Flash.success(request, "Hello.")
        return True

    async def logout(self, request: Request) -> Response | bool:
        request.session.clear()
        return True

    async def authenticate(self, request: Request) -> Response | bool:
        return "user_id" in request.session


class LoginOverOurSession(Login):
    def __init__(self) -> None:
        super().__init__(secret_key="")
        # Its own sessions in a signed cookie would hide ours.
        self.middlewares = []


def app_of(site: Site, database: Engine, login: AuthenticationBackend) -> Starlette:
    async def me(request: Request) -> Response:
        return JSONResponse(request.session.get("user_id"))

    Base.metadata.create_all(database)
    app = site.app(me=me)
    Admin(app, database, authentication_backend=login).add_view(LampView)
    return app


async def test_an_administrator_logs_in_and_out(site: Site, database: Engine) -> None:
    async with browser_of(app_of(site, database, LoginOverOurSession())) as browser:
        page = await browser.get("/admin/lamp/list")
        assert (page.status_code, page.headers["location"]) == (
            302,
            "https://shop.example/admin/login",
        )
        form = {"username": "alice", "password": "wrong"}
        assert (await browser.post("/admin/login", data=form)).status_code == 400
        answer = await browser.post("/admin/login", data={**form, "password": "secret"})
        assert (answer.status_code, list(browser.cookies)) == (302, ["PYFLY_SESSION"])
        page = await browser.get("/admin/lamp/list")
        assert page.status_code == 200
        assert "Hello." in page.text
        assert "Hello." not in (await browser.get("/admin/lamp/list")).text
        # The session of the whole application.
        assert (await browser.get("/me")).json() == "alice"
        await browser.get("/admin/logout")
        assert (await browser.get("/admin/lamp/list")).status_code == 302


async def test_a_lamp_is_made_by_a_form(site: Site, database: Engine) -> None:
    async with browser_of(app_of(site, database, LoginOverOurSession())) as browser:
        await browser.post("/admin/login", data={"username": "alice", "password": "secret"})
        form = {"name": "lantern", "save": "Save"}
        assert (await browser.post("/admin/lamp/create", data=form)).status_code == 302
        assert "lantern" in (await browser.get("/admin/lamp/list")).text


@pytest.mark.parametrize("path", ["/admin/lamp/list"])
async def test_its_own_cookie_does_no_harm(site: Site, database: Engine, path: str) -> None:
    async with browser_of(app_of(site, database, Login("key"))) as browser:
        await browser.post("/admin/login", data={"username": "alice", "password": "secret"})
        assert sorted(browser.cookies) == ["PYFLY_SESSION", "session"]
        assert (await browser.get(path)).status_code == 200
        assert (await browser.get("/me")).json() is None
