"""Properties and container of the login: bound, refused, overridden, mounted by themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import providers
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pyfly_session import ConfigurationError, SecurityContext
from pyfly_session.auto_configuration import SessionContainer, create_container, enable_sessions
from pyfly_session.config import load_config
from pyfly_session.config.oauth2_properties import bind_oauth2_properties
from pyfly_session.security.oauth2 import InMemoryClientRegistrationRepository
from pyfly_session.security.oauth2.login import OAuth2LoginHandler
from tests.conftest import Clock
from tests.security.provider import FakeProvider, Network
from tests.support.cases import for_each
from tests.web.driver import App, Browser, ask

GREEN = {"client-id": "shop", "client-secret": "s3cret", "issuer-uri": "https://green.test"}


def tree(
    *, session: dict[str, Any] | None = None, login: Any = None, **registrations: Any
) -> dict[str, Any]:
    login = {"enabled": True} if login is None else login
    client = {"enabled": True, "registrations": registrations or {"green": GREEN}}
    return {
        "pyfly": {
            "session": {"enabled": True} if session is None else session,
            "security": {"oauth2": {"client": client, "login": login}},
        }
    }


async def who(request: Request) -> PlainTextResponse:
    context: SecurityContext | None = getattr(request.state, "security_context", None)
    return PlainTextResponse(str(context and context.user_id))


def application() -> Starlette:
    return Starlette(routes=[Route("/{path:path}", who, methods=["GET", "POST"])])


async def log_in(app: App, container: Any, user: str = "alice") -> Browser:
    """Log in through the whole application, at a provider that is no real server."""
    provider = FakeProvider("green.test", Clock())
    handler = OAuth2LoginHandler(
        container.client_registration_repository(), to_context=container.security_context_mapper(),
        transport=Network(provider).transport, clock=provider.clock,
    )  # fmt: skip
    browser = Browser(app)
    with container.oauth2_login_handler.override(providers.Object(handler)):
        answer = await browser.get("/oauth2/authorization/green")
        query = provider.log_in(answer.get("location") or "", user)
        assert (await browser.get(f"/login/oauth2/code/green?{query}")).status == 303
    return browser


async def test_enabling_sessions_mounts_filter_and_routes() -> None:
    container = create_container(tree())
    app = enable_sessions(application(), container)
    browser = await log_in(app, container)
    assert (await browser.get("/")).text == "green:alice"
    assert (await browser.get("/logout", method="POST")).status == 303
    assert (await browser.get("/")).text == "None"


async def test_a_plain_asgi_application_gets_the_routes_too() -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(str(scope["state"]["security_context"].user_id))(
            scope, receive, send
        )

    container = create_container(tree())
    app = enable_sessions(plain, container)
    browser = await log_in(app, container)
    assert (await browser.get("/")).text == "green:alice"


@for_each("login", [{}, {"enabled": False}])
async def test_without_the_login_nothing_is_mounted_or_built(login: Any) -> None:
    container = create_container(tree(login=login))
    container.oauth2_login_handler.override(providers.Callable(pytest.fail, "built"))
    app = enable_sessions(application(), container)
    assert (await ask(app, "/oauth2/authorization/green")).text == "None"


async def test_each_bean_can_be_overridden_in_an_enabled_application() -> None:
    container = create_container(tree())
    app = enable_sessions(application(), container)
    assert (await ask(app, "/oauth2/authorization/blue")).status == 400
    with container.oauth2_login_filter.override(providers.Object(None)):
        assert (await ask(app, "/oauth2/authorization/blue")).text == "None"
    empty = InMemoryClientRegistrationRepository()
    with container.client_registration_repository.override(providers.Object(empty)):
        assert (await ask(app, "/oauth2/authorization/green")).status == 400
    container.security_context_mapper.override(
        providers.Object(lambda registration, claims: SecurityContext("mapped"))
    )
    browser = await log_in(app, container)
    assert (await browser.get("/")).text == "mapped"


def test_beans_are_built_once() -> None:
    container = create_container(tree())
    assert container.web_filters() == container.web_filters()
    assert container.oauth2_login_handler() is container.oauth2_login_handler()


@for_each("session", [{}, {"enabled": False}])
def test_a_login_without_sessions_is_refused_at_start(session: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"set pyfly\.session\.enabled to true"):
        enable_sessions(application(), config=tree(session=session))


def test_a_cookie_that_would_not_come_back_is_refused_at_start() -> None:
    session = {"enabled": True, "cookie": {"same-site": "strict"}}
    with pytest.raises(ConfigurationError, match="same-site: lax, got strict"):
        enable_sessions(application(), config=tree(session=session))


def test_a_missing_package_is_named_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyfly_session.security.oauth2.login", None)
    with pytest.raises(ConfigurationError, match=r"pyfly-session\[oauth2\]"):
        enable_sessions(application(), config=tree())


def test_an_empty_container_has_defaults() -> None:
    assert not SessionContainer().oauth2_properties().login.enabled


@for_each(
    ("wrong", "message"),
    [
        ({"green": {**GREEN, "client-ident": 1}}, r"is not a known .*green\.client-id"),
        ({"green": {**GREEN, "issuer-uri": "green.test"}}, "must be a URL that starts with"),
        ({"green": {"issuer-uri": "https://green.test"}}, r"green\.client-id is required"),
        ({"green": {"client-id": "shop"}}, r"authorization-uri is required where"),
        ({"green": {**GREEN, "use-pkce": False}}, "PKCE is always used"),
        ({"green": {**GREEN, "role-mapping": ["ADMIN"]}}, "must be a list of claim value=ROLE"),
        ({"a/b": GREEN}, "the id of a registration is a part of URLs"),
        ({"pyfly": GREEN}, "pyfly is reserved"),
        ({"green": {**GREEN, "redirect-uri": "{baseUri}/x"}}, r"https://, http:// or {baseUrl}"),
        ({"green": {**GREEN, "response-mode": "fragment"}}, "one of"),
        (
            {"green": {"client-id": "shop", "require-iss": True}},
            r"require-iss true needs an issuer-uri",
        ),
        ({"green": {**GREEN, "client-secret": ["s3cret"]}}, "client-secret must be"),
        ({"green": "s3cret"}, "must be a section"),
        (
            {
                "green": {
                    "client-id": "shop",
                    "scopes": "openid",
                    **{
                        f"{n}-uri": "https://a.test"
                        for n in ("authorization", "token", "user-info")
                    },
                }
            },
            "with openid need an issuer-uri",
        ),
    ],
)
def test_a_wrong_registration_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        bind_oauth2_properties(tree(**wrong))
    assert "s3cret" not in f"{caught.value} {caught.value.value}"


@for_each("target", ["//evil.test", "/\\evil.test", "https://evil.test", ""])
def test_a_default_target_is_a_page_of_this_application(target: str) -> None:
    with pytest.raises(ConfigurationError, match="must be a path of this application"):
        bind_oauth2_properties(tree(login={"default-target": target}))


def test_a_misspelt_section_is_refused_and_those_of_the_original_are_not() -> None:
    for name in ("resource-server", "authorization-server", "token-store"):
        bind_oauth2_properties({"pyfly": {"security": {"oauth2": {name: {"x": 1}}}}})
    with pytest.raises(ConfigurationError, match=r"did you mean pyfly\.security\.oauth2\.login"):
        bind_oauth2_properties({"pyfly": {"security": {"oauth2": {"logn": {}}}}})
    with pytest.raises(ConfigurationError, match=r"pyfly\.security must be a section"):
        bind_oauth2_properties({"pyfly": {"security": "x"}})


class TestNamesOfUsers:
    PLAIN = {"enabled": True, "qualified-user-ids": False}  # noqa: RUF012 - not changed
    TWO = {"green": GREEN, "blue": GREEN}  # noqa: RUF012 - not changed

    async def test_they_carry_the_registration_unless_that_is_switched_off(self) -> None:
        for given, expected in ((None, "green:alice"), (self.PLAIN, "alice")):
            container = create_container(tree(login=given))
            app = enable_sessions(application(), container)
            assert (await (await log_in(app, container)).get("/")).text == expected

    def test_with_two_registrations_it_cannot_be_switched_off(self) -> None:
        with pytest.raises(ConfigurationError, match="a name is unique at its own provider only"):
            enable_sessions(application(), config=tree(login=self.PLAIN, **self.TWO))
        enable_sessions(application(), config=tree(**self.TWO))

    def test_a_mapper_of_ones_own_may_do_what_it_likes(self) -> None:
        container = create_container(tree(login=self.PLAIN, **self.TWO))
        mapper = providers.Object(lambda registration, claims: SecurityContext(claims["sub"]))
        container.security_context_mapper.override(mapper)
        enable_sessions(application(), container)


def test_the_handler_gets_what_is_configured() -> None:
    login = {"enabled": True, "attempt-lifetime": 60, "secret": "s" * 32}
    container = create_container(tree(login=login, green={**GREEN, "response-mode": "form_post"}))
    handler = container.oauth2_login_handler()
    assert (handler._attempt_lifetime, handler._secret) == (60, "s" * 32)
    found = container.client_registration_repository().find_by_registration_id("green")
    assert found is not None
    assert found.response_mode == "form_post"


@for_each("login", [{"secret": "short"}, {"attempt-lifetime": 0}])
def test_a_wrong_property_of_the_login_is_refused(login: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="must ") as caught:
        bind_oauth2_properties(tree(login=login))
    assert "short" not in str(caught.value)


def test_a_login_needs_its_registrations_switched_on() -> None:
    given = tree()
    given["pyfly"]["security"]["oauth2"]["client"]["enabled"] = False
    with pytest.raises(ConfigurationError, match=r"needs pyfly\.security\.oauth2\.client\.enabled"):
        bind_oauth2_properties(given)


def test_secrets_are_masked() -> None:
    assert "s3cret" not in repr(bind_oauth2_properties(tree()))


def test_files_are_checked_and_an_error_says_where(tmp_path: Path) -> None:
    (tmp_path / "pyfly.yaml").write_text(
        "pyfly:\n  security:\n    oauth2:\n      login:\n        enabled: perhaps\n", "utf-8"
    )
    with pytest.raises(ConfigurationError, match=r"must be true or false.*pyfly.yaml"):
        load_config(tmp_path, environ={})
