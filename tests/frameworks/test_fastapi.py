"""The session as a dependency of FastAPI's handlers, wherever they are."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from dependency_injector import providers
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pyfly_session import HttpSession, SecurityContext, enable_sessions
from pyfly_session.fastapi import current_session
from pyfly_session.web import (
    SessionCookie,
    SessionHeader,
    SessionIdResolvers,
    WebFilterChainMiddleware,
)
from pyfly_session.web.openapi import describe_session
from tests.frameworks import shop
from tests.frameworks.browser import browser_of
from tests.support.cases import for_each
from tests.web.conftest import Site
from tests.web.driver import Browser, ask

KNOWN = "a" * 32
PREFIXES = ["", "/inner"]


def app_of(site: Site) -> FastAPI:
    app = shop.create_app()
    app.add_middleware(WebFilterChainMiddleware, filters=[site.filter])
    return app


@for_each("prefix", PREFIXES)
async def test_handlers_of_both_kinds_share_the_session(site: Site, prefix: str) -> None:
    browser = Browser(app_of(site))
    assert (await browser.get(f"{prefix}/shop/visits")).text == "1"
    answer = await browser.get(f"{prefix}/shop/visits-threaded")
    assert json.loads(answer.text) == {"visits": 2, "threaded": True}
    assert (await browser.get("/shop/visits")).text == "3"


@for_each("prefix", PREFIXES)
async def test_who_is_logged_in_is_a_parameter(site: Site, prefix: str) -> None:
    browser = Browser(app_of(site))
    assert (await browser.get(f"{prefix}/who")).text == "null"
    await browser.get(f"{prefix}/login/alice", method="POST")
    assert (await browser.get(f"{prefix}/who")).text == '"alice"'
    await browser.get(f"{prefix}/logout", method="POST")
    assert (await browser.get(f"{prefix}/who")).text == "null"


async def test_an_application_without_sessions_is_told_so() -> None:
    answer = await ask(shop.create_app(), "/shop/visits", swallow=True)
    assert "the request has no session; set pyfly.session.enabled" in str(answer.error)


async def test_a_handler_can_be_tested_with_a_session_of_the_test() -> None:
    app = shop.create_app()
    session = HttpSession(KNOWN, {"visits": 41})
    app.dependency_overrides[current_session] = lambda: session
    assert ((await ask(app, "/shop/visits")).text, session.get_attribute("visits")) == ("42", 42)


async def test_a_requirement_can_be_overridden_in_a_test(site: Site) -> None:
    app = app_of(site)
    app.dependency_overrides[shop.admin_login] = lambda: SecurityContext("root")
    assert (await ask(app, "/admin")).text == '"root"'


async def test_a_session_of_the_test_is_logged_in_for_requirements_too() -> None:
    app = shop.create_app()
    session = HttpSession(KNOWN, {"SECURITY_CONTEXT": SecurityContext("alice")})
    app.dependency_overrides[current_session] = lambda: session
    assert (await ask(app, "/api/me")).text == '"alice"'


def security_of(document: dict[str, Any], path: str) -> Any:
    return document["paths"][path]["get"].get("security")


def document_of(**session: Any) -> dict[str, Any]:
    config = {"pyfly": {"session": {"enabled": True, **session}}}
    app = enable_sessions(shop.create_app(), config=config)
    document: dict[str, Any] = TestClient(app).get("/openapi.json").json()
    return document


def scheme(way: str, name: str) -> dict[str, str]:
    description = "The id of a server-side session."
    return {"type": "apiKey", "in": way, "name": name, "description": description}


def test_the_document_tells_which_operations_need_the_session() -> None:
    document = document_of()
    schemes = document["components"]["securitySchemes"]
    assert schemes == {"Session": scheme("cookie", "PYFLY_SESSION")}
    for path in ("/api/me", "/checkout", "/admin", "/known"):
        assert security_of(document, path) == [{"Session": []}]
    for path in ("/who", "/shop/cart", "/shop/visits"):
        assert security_of(document, path) is None
    names = {each["name"] for each in document["paths"]["/shop/cart/{name}"]["post"]["parameters"]}
    assert names == {"name"}


def test_the_document_tells_the_configured_cookie() -> None:
    document = document_of(**{"cookie-name": "__Host-sid", "cookie": {"secure": True}})
    assert document["components"]["securitySchemes"] == {"Session": scheme("cookie", "__Host-sid")}


def test_the_document_tells_each_way_in_which_the_id_may_travel() -> None:
    document = document_of(resolver=["cookie", "header"])
    assert document["components"]["securitySchemes"] == {
        "Session": scheme("cookie", "PYFLY_SESSION"),
        "SessionHeader": scheme("header", "X-Auth-Token"),
    }
    assert security_of(document, "/api/me") == [{"Session": []}, {"SessionHeader": []}]
    assert document_of(resolver="header")["components"]["securitySchemes"] == {
        "Session": scheme("header", "X-Auth-Token")
    }


def test_the_document_follows_an_override() -> None:
    app = enable_sessions(FastAPI(), config={"pyfly": {"session": {"enabled": True}}})
    app.include_router(shop.accounts)
    container = app.state.session_container
    container.config.pyfly.session.from_dict({"resolver": ["cookie", "header"]})
    assert len(app.openapi()["components"]["securitySchemes"]) == 2
    container.config.pyfly.session.from_dict({"resolver": ["cookie"], "cookie-name": "sid"})
    document = app.openapi()
    assert document["components"]["securitySchemes"] == {"Session": scheme("cookie", "sid")}
    assert security_of(document, "/api/me") == [{"Session": []}]


@for_each(
    ("resolver", "schemes"),
    [
        (SessionHeader("X-Foo"), {"Session": scheme("header", "X-Foo")}),
        (SessionCookie(name="other"), {"Session": scheme("cookie", "other")}),
        (
            SessionIdResolvers(SessionHeader("X-Foo"), SessionHeader("X-Bar")),
            {"Session": scheme("header", "X-Foo"), "SessionHeader": scheme("header", "X-Bar")},
        ),
        (
            SessionIdResolvers(*(SessionHeader(f"X-{each}") for each in "ABC")),
            {
                "Session": scheme("header", "X-A"),
                "SessionHeader": scheme("header", "X-B"),
                "SessionHeader3": scheme("header", "X-C"),
            },
        ),
    ],
)
def test_the_document_follows_an_overridden_resolver(resolver: Any, schemes: Any) -> None:
    app = enable_sessions(shop.create_app(), config={"pyfly": {"session": {"enabled": True}}})
    with app.state.session_container.session_id_resolver.override(providers.Object(resolver)):
        assert app.openapi()["components"]["securitySchemes"] == schemes


def test_a_mounted_application_can_be_described_by_itself() -> None:
    config = {"pyfly": {"session": {"enabled": True, "cookie-name": "sid"}}}
    app, inner = FastAPI(), FastAPI()
    inner.include_router(shop.accounts)
    app.mount("/inner", inner)
    enable_sessions(app, config=config)
    describe_session(inner, app.state.session_container.session_id_resolver)
    schemes = TestClient(app).get("/inner/openapi.json").json()["components"]["securitySchemes"]
    assert schemes["Session"]["name"] == "sid"


async def test_a_cookie_jar_keeps_the_session(site: Site) -> None:
    async with browser_of(app_of(site)) as browser:
        await browser.get("/shop/visits")
        assert (await browser.get("/inner/shop/visits")).json() == 2


def test_the_package_works_where_fastapi_is_not_installed() -> None:
    code = (
        "import sys; sys.modules['fastapi'] = None\n"
        "from starlette.applications import Starlette\n"
        "from pyfly_session.auto_configuration import enable_sessions\n"
        "import pyfly_session.security\n"
        "enable_sessions(Starlette(), config={'pyfly': {'session': {'enabled': True}}})\n"
        "print('works')"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert done.stdout.strip() == "works", done.stderr
