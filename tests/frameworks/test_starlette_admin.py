"""starlette-admin's login over our session, beside the database session that it puts in its way."""

from __future__ import annotations

from sqlalchemy import Engine, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette_admin.auth import AdminUser, AuthProvider
from starlette_admin.contrib.sqla import Admin, ModelView
from starlette_admin.exceptions import LoginFailed

from pyfly_session import SecurityContext
from pyfly_session.security import context_of, login, logout
from pyfly_session.security.login import session_of
from tests.frameworks.browser import browser_of, field_of
from tests.web.conftest import Site


class Base(DeclarativeBase):
    pass


class Lamp(Base):
    __tablename__ = "lamps"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String)


class PlainLogin(AuthProvider):
    """As starlette-admin's documentation writes it."""

    async def login(
        self, username: str, password: str, remember_me: bool, request: Request
    ) -> Response | None:
        if password != "secret":
            raise LoginFailed("Invalid username or password")
        request.session["user_id"] = username
        return None

    async def logout(self, request: Request) -> Response | None:
        request.session.clear()
        return None

    async def authenticate(self, request: Request) -> AdminUser | None:
        user = request.session.get("user_id")
        return AdminUser(username=user) if user else None


class OurLogin(PlainLogin):
    """The same, with the library's login."""

    async def login(
        self, username: str, password: str, remember_me: bool, request: Request
    ) -> Response | None:
        if password != "secret":
            raise LoginFailed("Invalid username or password")
        await login(request, SecurityContext(user_id=username, roles=["ADMIN"]))
        return None

    async def logout(self, request: Request) -> Response | None:
        await logout(request)
        return None

    async def authenticate(self, request: Request) -> AdminUser | None:
        context = context_of(session_of(request))
        return AdminUser(username=context.user_id or "") if context.has_role("ADMIN") else None


def app_of(site: Site, database: Engine, provider: AuthProvider) -> Starlette:
    async def me(request: Request) -> Response:
        session = request.state.session
        return JSONResponse(session.get_attribute("user_id") or context_of(session).user_id)

    Base.metadata.create_all(database)
    app = site.app(me=me)
    admin = Admin(database, auth_provider=provider, secret_key="s3cret")
    admin.add_view(ModelView(Lamp))
    admin.mount_to(app)
    return app


async def log_in_and_out(app: Starlette) -> None:
    async with browser_of(app) as browser:
        assert (await browser.get("/admin/lamp/list")).status_code == 303
        page = await browser.get("/admin/login")
        token = field_of(page.text, "csrftoken")
        form = {"username": "alice", "password": "wrong", "csrftoken": token}
        assert (await browser.post("/admin/login", data=form)).status_code == 400
        answer = await browser.post("/admin/login", data={**form, "password": "secret"})
        assert answer.status_code == 303
        page = await browser.get("/admin/lamp/list")
        assert page.status_code == 200
        assert "alice" in page.text
        assert (await browser.get("/me")).json() == "alice"
        await browser.post("/admin/logout", data=form)
        assert (await browser.get("/admin/lamp/list")).status_code == 303
        assert (await browser.get("/me")).json() is None


async def test_an_administrator_logs_in_and_out(site: Site, database: Engine) -> None:
    await log_in_and_out(app_of(site, database, PlainLogin()))


async def test_library_s_login_finds_session_behind_databases(site: Site, database: Engine) -> None:
    """The database session takes the name ``request.state.session`` below ``/admin``."""
    await log_in_and_out(app_of(site, database, OurLogin()))
