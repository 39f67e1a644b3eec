"""The container: conditional beans, overrides of every kind, and what an application sees."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, inject
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pyfly_session import (
    ConfigurationError,
    HttpSession,
    PrincipalSessions,
    SessionError,
    SessionFilter,
    SessionStore,
    StoreContractError,
)
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.adapters.redis import RedisSessionStore
from pyfly_session.auto_configuration import (
    SessionContainer,
    SessionFilterAutoConfiguration,
    SessionStoreAutoConfiguration,
    close_sessions,
    create_container,
    enable_sessions,
)
from pyfly_session.config import SessionProperties, load_config
from pyfly_session.web import SessionCookie
from tests.conftest import Clock, FourVerbStore
from tests.support.cases import for_each
from tests.support.types import Log


def tree(**session: Any) -> dict[str, Any]:
    return {"pyfly": {"session": {"enabled": True, **session}}}


def container_of(**session: Any) -> SessionContainer:
    return create_container(tree(**session))


async def count(request: Request) -> PlainTextResponse:
    session: HttpSession = request.state.session
    session.set_attribute("n", (session.get_attribute("n") or 0) + 1)
    return PlainTextResponse(str(session.get_attribute("n")))


def application() -> Starlette:
    return Starlette(routes=[Route("/", count)])


class TestChoiceByProperty:
    def test_memory_is_the_default_store(self) -> None:
        assert isinstance(container_of().session_store(), InMemorySessionStore)

    @for_each("spelling", ["redis", "Redis", " REDIS "])
    def test_redis_is_chosen_in_any_spelling(self, spelling: str) -> None:
        assert isinstance(container_of(store=spelling).session_store(), RedisSessionStore)

    def test_each_bean_is_built_once(self) -> None:
        container = container_of()
        assert container.session_store() is container.session_store()
        assert container.session_filter() is container.session_filter()

    def test_the_memory_store_builds_no_redis_client(self, monkeypatch: Any) -> None:
        made: list[object] = []
        monkeypatch.setattr(
            "pyfly_session.auto_configuration.redis_clients.create_redis_client", made.append
        )
        container = container_of(redis={"url": "redis://nowhere.invalid:1/0"})
        assert container.session_filter() is not None
        assert made == []

    def test_a_store_of_the_users_builds_neither_redis_nor_memory(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(
            "pyfly_session.auto_configuration.redis_clients.create_redis_client", _explode
        )
        monkeypatch.setattr("pyfly_session.auto_configuration.store.InMemorySessionStore", _explode)
        container = container_of(store="redis")
        container.session_store.override(providers.Object(FourVerbStore()))
        made = container.session_filter()
        assert made is not None
        assert isinstance(made.store, FourVerbStore)

    def test_disabled_sessions_build_no_store(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("pyfly_session.auto_configuration.store.InMemorySessionStore", _explode)
        assert create_container({}).session_filter() is None
        assert container_of(enabled=False).session_filter() is None

    def test_an_unknown_store_falls_back_to_memory_with_one_warning(self, caplog: Log) -> None:
        container = container_of(store="rediss")
        for _ in range(3):
            assert isinstance(container.session_store(), InMemorySessionStore)
        warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert "'rediss'" in warnings[0].getMessage()

    def test_the_first_request_says_again_that_the_store_is_another(self, caplog: Log) -> None:
        app = enable_sessions(application(), container_of(store="rediss"))
        assert caplog.text.count("'rediss'") == 1
        with TestClient(app) as client:
            for _ in range(3):
                client.get("/")
        assert caplog.text.count("'rediss'") == 2

    @pytest.mark.parametrize(
        ("arguments", "variable", "warns"),
        [
            (["uvicorn", "app:app", "--workers", "4"], "", True),
            (["gunicorn", "--workers=2", "app:app"], "", True),
            (["uvicorn", "app:app"], "3", True),
            (["uvicorn", "app:app", "--workers", "1"], "1", False),
            (["uvicorn", "app:app", "--workers"], "", False),
        ],
    )
    def test_one_of_several_workers_is_warned_of_its_memory(
        self, monkeypatch: Any, caplog: Log, arguments: list[str], variable: str, *, warns: bool
    ) -> None:
        monkeypatch.setattr(sys, "argv", arguments)
        monkeypatch.setenv("WEB_CONCURRENCY", variable)
        container = container_of()
        for _ in range(3):
            container.session_store()
        assert caplog.text.count("one of several workers") == int(warns)

    def test_missing_redis_falls_back_to_memory(self, monkeypatch: Any, caplog: Log) -> None:
        monkeypatch.setitem(sys.modules, "redis.asyncio", None)
        assert isinstance(container_of(store="redis").session_store(), InMemorySessionStore)
        assert "pip install 'pyfly-session[redis]'" in caplog.text

    @pytest.mark.parametrize("missing", [True, False])
    def test_fail_fast_turns_fallbacks_to_errors(self, monkeypatch: Any, *, missing: bool) -> None:
        store = "redis" if missing else "rediss"
        if missing:
            monkeypatch.setitem(sys.modules, "redis.asyncio", None)
        container = create_container(tree(store=store, **{"fail-fast": True}))
        with pytest.raises(ConfigurationError, match=r"pyfly\.session\.store") as caught:
            enable_sessions(application(), container)
        assert caught.value.value == store

    def test_a_refused_store_names_the_variable_that_chose_it(self) -> None:
        variables = {"PYFLY_SESSION_STORE": "rediss", "PYFLY_SESSION_FAIL_FAST": "true"}
        container = create_container(load_config("config", "", environ=variables))
        with pytest.raises(ConfigurationError) as caught:
            container.session_store()
        assert caught.value.origin == "environment variable PYFLY_SESSION_STORE"
        assert str(caught.value).endswith("(environment variable PYFLY_SESSION_STORE)")

    def test_properties_reach_the_filter(self) -> None:
        container = create_container(
            tree(
                ttl=60,
                creation="if-required",
                **{"cookie-name": "__Host-sid", "exclude-patterns": ["/health"]},
                cookie={"secure": True, "same-site": "strict"},
            )
        )
        made = container.session_filter()
        assert made is not None
        assert made.resolver == SessionCookie("__Host-sid", secure=True, same_site="strict")
        assert (made.creation, made.exclude_patterns) == ("if-required", ("/health",))

    def test_a_property_set_in_the_container_is_checked_too(self) -> None:
        container = container_of()
        container.config.pyfly.session.ttl.from_value(0)
        with pytest.raises(ConfigurationError, match="at least 1 second"):
            container.session_filter()

    # dependency-injector reads the file without naming an encoding.
    @pytest.mark.filterwarnings("ignore::EncodingWarning")
    def test_yaml_loaded_by_the_container_itself_works(self, tmp_path: Path) -> None:
        path = tmp_path / "app.yaml"
        path.write_text("pyfly:\n  session:\n    enabled: yes\n    ttl: 61\n", "utf-8")
        container = SessionContainer()
        container.config.from_yaml(str(path))
        assert container.session_filter() is not None
        assert container.properties().ttl == 61

    def test_the_auto_configurations_work_on_their_own(self) -> None:
        properties = providers.Object(SessionProperties(enabled=True))
        store = SessionStoreAutoConfiguration(properties=properties).session_store()
        made = SessionFilterAutoConfiguration(
            properties=properties, session_store=providers.Object(store)
        ).session_filter()
        assert made is not None
        assert made.store is store


def by_constructor(store: Any) -> SessionContainer:
    return SessionContainer(session_store=store, config=tree())


def by_override(store: Any) -> SessionContainer:
    container = container_of()
    container.session_store.override(store)
    return container


def by_override_after_first_use(store: Any) -> SessionContainer:
    container = container_of()
    container.session_filter()
    container.session_store.override(providers.Object(store))
    return container


def by_override_providers(store: Any) -> SessionContainer:
    container = container_of()
    container.override_providers(session_store=providers.Object(store))
    return container


def by_nesting(store: Any) -> Any:
    class Application(containers.DeclarativeContainer):
        config = providers.Configuration()
        my_store = providers.Singleton(lambda: store)
        sessions = providers.Container(SessionContainer, config=config, session_store=my_store)

    application_container = Application()
    application_container.config.from_dict(tree())
    return application_container.sessions


def by_copy(store: Any) -> Any:
    @containers.copy(SessionContainer)
    class Mine(SessionContainer):
        session_store = providers.Object(store)

    return Mine(config=tree())


@pytest.mark.parametrize(
    "way",
    [
        by_constructor, by_override, by_override_after_first_use, by_override_providers, by_nesting,
        by_copy,
    ],
)  # fmt: skip
class TestOverridingTheStore:
    def test_an_enabled_application_keeps_its_sessions_there(self, way: Any) -> None:
        store = FourVerbStore()
        client = TestClient(enable_sessions(application(), way(store)))
        assert ([client.get("/").text for _ in range(2)], len(store.entries)) == (["1", "2"], 1)


class TestOverridesInARunningApplication:
    def test_the_former_sessions_are_back_when_the_override_ends(self) -> None:
        container = container_of()
        client = TestClient(enable_sessions(application(), container))
        client.get("/")
        cookies = dict(client.cookies)
        other = FourVerbStore()
        with container.session_store.override(providers.Object(other)):
            assert client.get("/").text == "1"
        assert len(other.entries) == 1
        client.cookies.clear()
        client.cookies.update(cookies)
        assert client.get("/").text == "2"

    def test_the_users_own_provider_behind_the_store_may_be_overridden(self) -> None:
        class Application(containers.DeclarativeContainer):
            config = providers.Configuration()
            my_store = providers.Singleton(FourVerbStore)
            sessions = providers.Container(SessionContainer, config=config, session_store=my_store)

        outer = Application(config=tree())
        client = TestClient(enable_sessions(application(), outer.sessions))
        client.get("/")
        other = FourVerbStore()
        with outer.my_store.override(providers.Object(other)):
            client.get("/")
        assert len(other.entries) == 1

    def test_a_changed_property_holds_from_the_next_request(self) -> None:
        container = container_of()
        client = TestClient(enable_sessions(application(), container))
        assert "Max-Age=1800" in client.get("/").headers["set-cookie"]
        container.config.pyfly.session.ttl.from_value(60)
        response = client.get("/")
        assert "Max-Age=60" in response.headers["set-cookie"]
        assert response.text == "2"

    def test_a_changed_property_of_an_outer_container_holds_from_the_next_request(self) -> None:
        class Application(containers.DeclarativeContainer):
            config = providers.Configuration()
            sessions = providers.Container(SessionContainer, config=config)

        outer = Application(config=tree())
        # In one event loop: another one would have the container asked anyway.
        with TestClient(enable_sessions(application(), outer.sessions)) as client:
            assert "Max-Age=1800" in client.get("/").headers["set-cookie"]
            outer.config.pyfly.session.ttl.from_value(60)
            response = client.get("/")
        assert "Max-Age=60" in response.headers["set-cookie"]
        assert response.text == "2"

    def test_the_filter_itself_may_be_overridden(self) -> None:
        container = container_of()
        client = TestClient(enable_sessions(application(), container))
        client.get("/")
        mine = SessionFilter(InMemorySessionStore(), cookie_name="MINE")
        with container.session_filter.override(providers.Object(mine)):
            assert client.get("/").headers["set-cookie"].startswith("MINE=")

    def test_a_filter_and_a_listener_may_be_added_to_their_lists(self) -> None:
        class Stamp:
            def should_not_filter(self, request: Any) -> bool:
                return False

            async def do_filter(self, request: Any, call_next: Any) -> Any:
                stamped.append(request.url.path)
                return await call_next(request)

        stamped: list[str] = []
        heard: list[object] = []
        container = container_of()
        client = TestClient(enable_sessions(application(), container))
        client.get("/")
        container.web_filters.add_args(providers.Singleton(Stamp))
        container.session_listeners.add_args(providers.Object(heard.append))
        client.cookies.clear()
        client.get("/")
        assert (stamped, len(heard)) == (["/"], 1)

    @for_each("unrelated", ["clock", "property", "resolver"])
    def test_sessions_survive_an_override_of_something_else(self, unrelated: str) -> None:
        container = container_of()
        client = TestClient(enable_sessions(application(), container))
        client.get("/")
        if unrelated == "clock":
            container.clock.override(providers.Object(lambda: time.time() + 1))
        elif unrelated == "property":
            container.config.pyfly.session.creation.from_value("if-required")
            container.config.pyfly.session.ttl.from_value(60)
        else:
            container.session_id_resolver.override(providers.Object(SessionCookie()))
        assert client.get("/").text == "2"

    def test_reset_singletons_starts_with_an_empty_store(self) -> None:
        container = container_of()
        client = TestClient(enable_sessions(application(), container))
        client.get("/")
        container.reset_singletons()
        assert client.get("/").text == "1"

    def test_the_redis_client_may_be_overridden_after_first_use(self, monkeypatch: Any) -> None:
        from fakeredis import FakeAsyncRedis

        container = container_of(store="redis")
        client = TestClient(enable_sessions(application(), container))
        container.session_store()
        with container.redis_client.override(providers.Singleton(FakeAsyncRedis)):
            assert client.get("/").text == "1"

    def test_sessions_switched_off_later_are_off(self) -> None:
        container = container_of()
        client = TestClient(enable_sessions(application(), container))
        container.config.pyfly.session.enabled.from_value(False)
        with pytest.raises(AttributeError):
            client.get("/")


class TestContainer:
    """What dependency-injector's own documentation says of a container holds for this one."""

    def test_reset_override_brings_every_bean_back(self) -> None:
        container = container_of()
        store, clock = FourVerbStore(), Clock()
        container.session_store.override(providers.Object(store))
        container.clock.override(providers.Object(clock))
        assert container.session_filter() is not None
        container.reset_override()
        # The configuration of a container is an override, too.
        container.config.from_dict(tree(ttl=61))
        made = container.session_filter()
        assert made is not None
        assert isinstance(made.store, InMemorySessionStore)
        assert container.properties().ttl == 61

    def test_another_container_may_override_it(self) -> None:
        class Other(containers.DeclarativeContainer):
            session_store = providers.Object(FourVerbStore())
            session_limit = providers.Object(lambda principal: 3)

        container = container_of()
        container.override(Other())
        made = container.session_filter()
        assert made is not None
        assert isinstance(made.store, FourVerbStore)
        container.session_store.reset_last_overriding()
        assert isinstance(container.session_store(), InMemorySessionStore)

    def test_a_copied_container_that_copies_its_store_is_warned_of(self, caplog: Log) -> None:
        @containers.copy(SessionContainer)
        class Mine(SessionContainer):
            session_store = providers.Singleton(FourVerbStore)

        client = TestClient(enable_sessions(application(), Mine(config=tree())))
        assert [client.get("/").text for _ in range(2)] == ["1", "2"]
        assert "another FourVerbStore than the one that the filter uses" in caplog.text
        # The parent's beans were copied, not shared.
        assert isinstance(container_of().session_store(), InMemorySessionStore)

    def test_a_subclass_whose_bean_nobody_would_use_is_refused(self) -> None:
        class Mine(SessionContainer):
            session_store = providers.Singleton(FourVerbStore)

        with pytest.raises(ConfigurationError, match=r"containers\.copy\(SessionContainer\)"):
            enable_sessions(application(), Mine(config=tree()))

    def test_beans_are_injected_by_wiring(self) -> None:
        container = container_of()
        container.wire(modules=[__name__])
        try:
            assert injected() == (container.session_store(), container.session_filter())
            with container.session_store.override(providers.Object(FourVerbStore())):
                store, session_filter = injected()
                assert isinstance(store, FourVerbStore)
                assert session_filter.store is store
        finally:
            container.unwire()

    def test_two_containers_share_nothing(self) -> None:
        one, other = container_of(), container_of(ttl=5)
        assert one.session_store() is not other.session_store()
        assert (one.properties().ttl, other.properties().ttl) == (1800, 5)

    async def test_a_bean_that_has_to_be_awaited_is_refused_by_name(self) -> None:
        async def opened() -> AsyncIterator[FourVerbStore]:
            yield FourVerbStore()

        class Application(containers.DeclarativeContainer):
            config = providers.Configuration()
            my_store = providers.Resource(opened)
            sessions = providers.Container(SessionContainer, config=config, session_store=my_store)

        outer = Application(config=tree())
        await outer.init_resources()  # type: ignore[misc]
        with pytest.raises(ConfigurationError, match="session_store has to be awaited") as caught:
            enable_sessions(application(), outer.sessions)
        assert "container.session_store.override(providers.Object(await ...))" in str(caught.value)
        await outer.shutdown_resources()  # type: ignore[misc]

    @for_each("way", ["override", "constructor"])
    def test_a_factory_of_stores_is_refused(self, way: str) -> None:
        factory = providers.Factory(FourVerbStore)
        container = SessionContainer(config=tree())
        if way == "override":
            container.session_store.override(factory)
        else:
            container = SessionContainer(config=tree(), session_store=factory)
        with pytest.raises(ConfigurationError, match=r"Factory.*use providers\.Singleton"):
            enable_sessions(application(), container)

    def test_a_synchronous_redis_client_is_refused(self) -> None:
        container = container_of(store="redis")
        container.redis_client.override(providers.Singleton(redis.Redis))
        with pytest.raises(ConfigurationError, match=r"asynchronous, got redis.*redis\.asyncio"):
            enable_sessions(application(), container)


@inject
def injected(
    store: Any = Provide[SessionContainer.session_store],
    session_filter: Any = Provide[SessionContainer.session_filter],
) -> tuple[Any, Any]:
    return store, session_filter


def test_what_a_provider_returns_has_a_type() -> None:
    container = container_of()
    store: SessionStore = container.session_store()
    session_filter: SessionFilter | None = container.session_filter()
    properties: SessionProperties = container.properties()
    principals: PrincipalSessions = container.principal_sessions()
    assert session_filter is not None
    assert session_filter.store is store
    assert session_filter.repository.ttl == properties.ttl
    assert session_filter.repository.principals is principals


class TestWhatIsNoStore:
    @for_each(
        ("candidate", "message"),
        [
            (FourVerbStore, "must be an instance, got the class FourVerbStore"),
            (object(), "no method 'get'"),
            (None, "NoneType is not a session store"),
        ],
    )
    def test_it_is_refused_by_name(self, candidate: Any, message: str) -> None:
        container = container_of()
        container.session_store.override(providers.Object(candidate))
        with pytest.raises(StoreContractError, match=message):
            container.session_filter()

    def test_an_unrelated_bean_of_that_shape_does_not_make_the_container_back_off(self) -> None:
        class Application(containers.DeclarativeContainer):
            config = providers.Configuration()
            blob_cache = providers.Singleton(FourVerbStore)
            sessions = providers.Container(SessionContainer, config=config)

        assert isinstance(Application(config=tree()).sessions.session_store(), InMemorySessionStore)


class TestEnableSessions:
    def test_a_missing_configuration_is_told_with_its_place(
        self, tmp_path: Path, monkeypatch: Any, caplog: Log
    ) -> None:
        monkeypatch.chdir(tmp_path)
        enable_sessions(application())
        assert caplog.messages[-1].endswith(f"in {tmp_path / 'config' / 'pyfly.yaml'}")

        enable_sessions(application(), SessionContainer(config={"shop": {}}))
        assert caplog.messages[-1].endswith("enable_sessions(app, enabled=True)")

    def test_the_configuration_directory_is_read(self, tmp_path: Path, monkeypatch: Any) -> None:
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "pyfly.yaml").write_text(
            "pyfly:\n  session:\n    enabled: true\n    cookie-name: FROM_YAML\n", "utf-8"
        )
        monkeypatch.chdir(tmp_path)
        client = TestClient(enable_sessions(application()))
        assert client.get("/").headers["set-cookie"].startswith("FROM_YAML=")

    def test_a_container_without_configuration_gets_it_loaded(self, tmp_path: Path) -> None:
        (tmp_path / "pyfly.yaml").write_text(
            "pyfly: {session: {enabled: true, ttl: 77}}\n", "utf-8"
        )
        container = SessionContainer()
        enable_sessions(application(), container, config=tmp_path)
        assert container.properties().ttl == 77

    @for_each(("config", "level"), [({}, logging.WARNING), (tree(enabled=False), logging.INFO)])
    def test_without_enabled_the_log_says_so_once_and_the_first_use_says_the_same(
        self, config: Mapping[str, Any], level: int, caplog: Log
    ) -> None:
        async def mapping(request: Request) -> PlainTextResponse:
            return PlainTextResponse(str(request.session.get("n")))

        async def asks(request: Request) -> PlainTextResponse:
            return PlainTextResponse("yes" if request.state.session else "no")

        caplog.set_level(logging.INFO, "pyfly_session")
        routes = [Route("/", count), Route("/mapping", mapping), Route("/asks", asks)]
        app = Starlette(routes=routes)
        assert enable_sessions(app, config=config) is app
        [said] = [each for each in caplog.records if each.name.startswith("pyfly_session")]
        assert said.levelno == level
        assert "pyfly.session.enabled" in said.getMessage()
        client = TestClient(app)
        for path in ("/", "/mapping"):
            with pytest.raises(ConfigurationError) as caught:
                client.get(path)
            assert str(caught.value) == said.getMessage()
        assert client.get("/asks").text == "no"

    def test_sessions_that_are_off_leave_another_middleware_s_alone(self) -> None:
        async def mapping(request: Request) -> PlainTextResponse:
            request.session["n"] = request.session.get("n", 0) + 1
            return PlainTextResponse(str(request.session["n"]))

        app = enable_sessions(Starlette(routes=[Route("/", mapping)]), config={})
        app.add_middleware(SessionMiddleware, secret_key="-")
        client = TestClient(app)
        assert [client.get("/").text for _ in range(2)] == ["1", "2"]

    @for_each(
        ("config", "found"),
        [
            ({"enabled": True}, "enabled"),
            ({"session": {"enabled": True}}, "session.enabled"),
            ({"pyfly.session.enabled": True}, "pyfly.session.enabled"),
            ({"pyfly": {"session": None, "enabled": True}}, "pyfly.enabled"),
            ({"pyfyl": {"session": {"enabled": True}}}, "pyfyl"),
        ],
    )
    def test_a_property_in_the_wrong_place_is_found(
        self, config: Mapping[str, Any], found: str, caplog: Log
    ) -> None:
        enable_sessions(application(), config=config)
        assert f"{found} was found, but it belongs below pyfly: session:" in caplog.text

    def test_properties_are_given_by_name(self, tmp_path: Path, monkeypatch: Any) -> None:
        (tmp_path / "pyfly.yaml").write_text(
            "pyfly: {session: {cookie-name: FILE, ttl: 5, cookie: {path: /shop}}}\n", "utf-8"
        )
        monkeypatch.setenv("PYFLY_SESSION_TTL", "7")
        app = enable_sessions(
            application(), config=tmp_path, enabled=True, ttl="30m", cookie_name="SID",
            cookie={"same_site": "strict"},
        )  # fmt: skip
        browser = TestClient(app, base_url="http://shop", root_path="/shop")
        cookie = browser.get("/shop/").headers["set-cookie"]
        assert cookie.startswith("SID=")
        assert cookie.endswith("Max-Age=1800; Path=/shop; SameSite=strict")

    def test_a_wrong_property_by_name_is_told_with_its_place(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            enable_sessions(application(), config={}, enabled=True, ttl="soon", cookie_nane="x")
        first, second = str(caught.value).splitlines()
        assert first.startswith("pyfly.session.ttl must be")
        assert second.startswith("pyfly.session.cookie-nane is not a known property; did you mean")
        for line in (first, second):
            assert line.endswith("(an argument of enable_sessions)")

    @for_each("app", ["app", None, Starlette])
    def test_what_is_no_application_is_refused(self, app: Any) -> None:
        with pytest.raises(TypeError, match="needs an ASGI application, got"):
            enable_sessions(app, config=tree())

    def test_an_application_is_enabled_once(self) -> None:
        app = enable_sessions(application(), config=tree())
        with pytest.raises(SessionError, match=r"app\.state\.session_container"):
            enable_sessions(app, config=tree())

    def test_a_configuration_in_the_container_s_place_is_refused_with_the_remedy(self) -> None:
        with pytest.raises(TypeError, match="config="):
            enable_sessions(application(), tree())


class TestLifespan:
    def test_our_redis_client_is_closed_and_made_anew_after_restart(self, valkey_url: str) -> None:
        container = container_of(store="redis", redis={"url": valkey_url})
        app = enable_sessions(application(), container)
        clients: list[TestClient] = []
        for expected in ("1", "2"):
            with TestClient(app, cookies=_cookies_of(clients)) as client:
                clients.append(client)
                made = container.redis_client()
                assert client.get("/").text == expected
            assert container.redis_client() is not made

    def test_each_event_loop_gets_a_client_of_its_own(self, valkey_url: str) -> None:
        container = container_of(store="redis", redis={"url": valkey_url})
        app = enable_sessions(application(), container)
        with TestClient(app) as one, TestClient(app) as other:
            assert [one.get("/").text for _ in range(2)] == ["1", "2"]
            assert ([other.get("/").text for _ in range(2)], one.get("/").text) == (["1", "2"], "3")

    # Each request has an event loop of its own there, which dies with its connection open.
    @pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestWarning")
    def test_a_test_client_without_lifespan_reaches_redis_every_time(self, valkey_url: str) -> None:
        container = container_of(store="redis", redis={"url": valkey_url})
        client = TestClient(enable_sessions(application(), container))
        assert [client.get("/").text for _ in range(3)] == ["1", "2", "3"]
        del client, container
        gc.collect()

    async def test_a_client_of_the_users_is_left_open(self, valkey: Any) -> None:
        container = container_of(store="redis")
        container.redis_client.override(providers.Object(valkey))
        assert container.session_store() is not None
        await close_sessions(container)
        assert await valkey.ping()

    async def test_closing_waits_for_commits_of_cancelled_requests(self) -> None:
        import asyncio

        container = container_of()
        repository = container.session_repository()
        gate, done = asyncio.Event(), []

        async def work() -> None:
            await gate.wait()
            done.append(True)

        repository.finish_later(work())
        asyncio.get_running_loop().call_soon(gate.set)
        await close_sessions(container)
        assert done == [True]

    async def test_closing_what_was_never_enabled_does_nothing(self) -> None:
        await close_sessions(create_container({}))


def _cookies_of(clients: list[TestClient]) -> dict[str, str]:
    return dict(clients[-1].cookies) if clients else {}


def _explode(*args: object, **kwargs: object) -> None:
    raise AssertionError("this must not be built")
