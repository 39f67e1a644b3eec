"""Logout at the provider in an enabled application: one property switches it on."""

from __future__ import annotations

from typing import Any

import pytest
from dependency_injector import providers
from starlette.applications import Starlette

from pyfly_session import ConfigurationError
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration import create_container, enable_sessions
from pyfly_session.auto_configuration.conditions import conditions
from pyfly_session.security.oauth2.login import OAuth2LoginHandler
from pyfly_session.web import OncePerRequestFilter
from tests.conftest import Clock
from tests.security.provider import FakeProvider, Network
from tests.security.test_backchannel import PATH, post_form
from tests.security.test_wiring import application, tree
from tests.support.cases import for_each
from tests.web.driver import Browser, ask

ON = {"enabled": True, "back-channel-logout": True}


async def test_one_property_switches_it_on() -> None:
    container = create_container(tree(login=ON))
    app = enable_sessions(application(), container)
    provider = FakeProvider("green.test", Clock())
    handler = OAuth2LoginHandler(
        container.client_registration_repository(), back_channel_logout=True,
        transport=Network(provider).transport, clock=provider.clock,
    )  # fmt: skip
    container.oauth2_login_handler.override(providers.Object(handler))
    browser = Browser(app)
    answer = await browser.get("/oauth2/authorization/green")
    query = provider.log_in(answer.get("location") or "", "alice")
    await browser.get(f"/login/oauth2/code/green?{query}")
    assert (await browser.get("/")).text == "alice"
    answer = await post_form(app, {"logout_token": provider.logout_token(sub="alice")})
    assert (answer.status, answer.get("set-cookie")) == (200, None)
    assert (await browser.get("/")).text == "None"


def test_the_handler_of_the_container_knows_of_it() -> None:
    handlers = [
        create_container(tree(login=login)).oauth2_login_handler()
        for login in (ON, {"enabled": True})
    ]
    assert [each._back_channel_logout for each in handlers] == [True, False]


@for_each("login", [{}, {"enabled": True}, {**ON, "enabled": False}])
async def test_without_it_the_path_is_the_applications(login: dict[str, Any]) -> None:
    app = enable_sessions(application(), create_container(tree(login=login)))
    answer = await ask(app, f"{PATH}green", method="POST")
    assert (answer.status, answer.text) == (200, "None")


async def test_it_answers_below_the_path_of_a_proxy() -> None:
    app = Starlette()
    app.mount("/shop", enable_sessions(application(), create_container(tree(login=ON))))
    answer = await ask(app, f"/shop{PATH}blue", method="POST")
    assert answer.status == 404
    assert "unknown_registration" in answer.text


def test_the_filter_is_built_once_and_anew_for_another_store() -> None:
    container = create_container(tree(login=ON))
    made = container.oauth2_back_channel_logout_filter
    first = made()
    assert first is made()
    with container.session_store.override(providers.Object(InMemorySessionStore())):
        assert made() is not first
    assert made() is first


def test_sessions_that_cannot_be_found_so_are_refused_at_start() -> None:
    container = create_container(tree(login=ON))
    container.session_filter.override(providers.Object(OncePerRequestFilter()))
    with pytest.raises(ConfigurationError, match=r"login\.back-channel-logout needs the Sess"):
        enable_sessions(application(), container)


def test_the_report_explains_it() -> None:
    bean = "oauth2_back_channel_logout_filter"

    def row(login: dict[str, Any]) -> tuple[str, str]:
        rows = {each.bean: each for each in conditions(create_container(tree(login=login)))}
        return rows[bean].choice, rows[bean].reason

    prefix = "pyfly.security.oauth2.login"
    assert row(ON) == ("OAuth2BackChannelLogoutFilter", f"{prefix}.back-channel-logout is true")
    assert row({"enabled": True}) == ("none", f"{prefix}.back-channel-logout is false (default)")
    assert row({**ON, "enabled": False}) == ("none", f"{prefix}.enabled is false (default)")
