"""The conditions report explains every choice, and builds nothing to do so."""

from typing import Any

import pytest
from dependency_injector import containers, providers

from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration import SessionContainer, create_container
from pyfly_session.auto_configuration.conditions import Condition, conditions, container_report
from pyfly_session.auto_configuration.container import PLUMBING
from pyfly_session.config import Config
from tests.conftest import FourVerbStore


def explained(container: Any) -> dict[str, Condition]:
    return {each.bean: each for each in conditions(container)}


def container_of(**session: Any) -> SessionContainer:
    return create_container({"pyfly": {"session": session}})


def test_defaults_are_called_defaults() -> None:
    rows = explained(SessionContainer())
    assert rows["session_filter"].choice == "none"
    assert rows["session_filter"].reason == "pyfly.session.enabled is not set (default)"
    assert rows["session_store"].choice == "InMemorySessionStore"
    assert rows["session_store"].reason.endswith("(default)")
    assert rows["redis_client"].choice == "none"


def test_a_property_is_named_with_the_file_that_set_it() -> None:
    rows = explained(create_container(profiles="prod"))
    assert rows["session_filter"].choice == "SessionFilter"
    assert rows["session_filter"].reason.endswith("(config/pyfly.yaml)")
    assert rows["session_store"].choice == "RedisSessionStore"
    assert rows["session_store"].reason.endswith("(config/pyfly-prod.yaml)")
    assert rows["redis_client"].choice == "Redis"


def test_a_property_set_in_code_is_not_called_a_default() -> None:
    rows = explained(container_of(enabled=False, store="redis"))
    assert rows["session_filter"].reason == "pyfly.session.enabled is false"
    assert rows["session_store"].reason == "pyfly.session.store is redis"


def test_a_fallback_tells_the_cause_and_the_remedy() -> None:
    row = explained(container_of(store="rediss"))["session_store"]
    assert row.choice == "InMemorySessionStore"
    assert "'rediss'" in row.reason
    assert "fell back to memory" in row.reason


def test_fail_fast_is_reported_as_no_store() -> None:
    row = explained(container_of(store="rediss", **{"fail-fast": True}))["session_store"]
    assert row.choice == "none"
    assert "fail-fast" in row.reason


def test_a_bean_of_the_application_is_named() -> None:
    container = container_of(enabled=True)
    container.session_store.override(providers.Singleton(FourVerbStore))
    container.session_filter.override(providers.Object(object()))
    rows = explained(container)
    assert rows["session_store"].choice == "FourVerbStore"
    assert "backs off" in rows["session_store"].reason
    assert rows["session_filter"].choice == "object"
    assert "of the application is in use" in rows["redis_client"].reason


def test_a_bean_given_by_a_copied_container_is_named() -> None:
    @containers.copy(SessionContainer)
    class Mine(SessionContainer):
        session_store = providers.Singleton(InMemorySessionStore)

    assert "backs off" in explained(Mine())["session_store"].reason


def test_the_topology_decides_which_client_there_is() -> None:
    cluster = container_of(store="redis", redis={"cluster": {"nodes": ["a:1", "b:2"]}})
    assert explained(cluster)["redis_client"] == Condition(
        "redis_client", "RedisCluster", "pyfly.session.redis.cluster.nodes is a:1, b:2",
        "pyfly.session.redis.cluster.nodes",
    )  # fmt: skip
    sentinel = {"master": "mymaster", "nodes": ["a:1"]}
    row = explained(container_of(store="redis", redis={"sentinel": sentinel}))["redis_client"]
    assert row.reason == "pyfly.session.redis.sentinel.master is mymaster"


def test_the_way_of_ids_is_explained() -> None:
    rows = explained(SessionContainer())
    assert rows["session_id_resolver"].choice == "SessionCookie"
    assert rows["session_id_resolver"].reason == "pyfly.session.resolver is cookie (default)"
    row = explained(container_of(resolver=["header", "cookie"]))["session_id_resolver"]
    assert row.choice == "SessionIdResolvers"
    assert row.reason == "pyfly.session.resolver is header, cookie"


def test_the_limit_of_sessions_is_explained() -> None:
    row = explained(SessionContainer())["session_concurrency_controller"]
    assert (row.choice, row.origin) == ("none", "default")
    limits = {"enabled": True, "max-sessions": 2, "strategy": "reject-new"}
    row = explained(container_of(concurrency=limits))["session_concurrency_controller"]
    assert row.choice == "SessionConcurrencyController"
    assert row.reason.endswith("concurrency.enabled is true: 2 for each user, then reject-new")
    container = container_of(concurrency={"enabled": True})
    container.session_limit.override(providers.Object(test_nothing_is_built))
    rows = explained(container)
    assert rows["session_concurrency_controller"].reason.endswith("without a limit for all")
    assert rows["session_limit"].choice == "test_nothing_is_built"


LOGIN_BEANS = {
    "client_registration_repository": "InMemoryClientRegistrationRepository",
    "security_context_mapper": "qualified_context",
    "oauth2_login_handler": "OAuth2LoginHandler",
    "oauth2_session_security_filter": "SecurityContextFilter",
    "oauth2_login_filter": "OAuth2LoginFilter",
}


def login_container(*, same_site: str = "lax") -> SessionContainer:
    files = {
        "pyfly": {
            "session": {"enabled": True, "cookie": {"same-site": same_site}},
            "security": {
                "oauth2": {
                    "client": {
                        "enabled": True,
                        "registrations": {
                            "green": {
                                "client-id": "shop",
                                "client-secret": "hunter2",
                                "issuer-uri": "https://green.test",
                            }
                        },
                    },
                    "login": {"enabled": True},
                }
            },
        }
    }
    registrations = "pyfly.security.oauth2.client.registrations.green"
    origins = {"pyfly.security.oauth2.login.enabled": "a.yaml", registrations: "b.yaml"}
    return create_container(Config(files, origins=origins))


def test_every_bean_of_the_login_is_explained() -> None:
    container = login_container()
    rows = explained(container)
    assert {bean: rows[bean].choice for bean in LOGIN_BEANS} == LOGIN_BEANS
    row = rows["oauth2_login_filter"]
    assert row.reason == "pyfly.security.oauth2.login.enabled is true (a.yaml)"
    assert (row.key, row.origin) == ("pyfly.security.oauth2.login.enabled", "a.yaml")
    row = rows["oauth2_back_channel_logout_filter"]
    assert (row.choice, row.origin) == ("none", "default")
    assert row.reason.startswith("pyfly.security.oauth2.login.back-channel-logout is false")
    reason = rows["client_registration_repository"].reason
    assert reason == "pyfly.security.oauth2.client.enabled is true, with green (b.yaml)"
    assert "hunter2" not in container_report(container)


def test_a_login_that_is_off_is_explained() -> None:
    rows = explained(SessionContainer())
    for bean in LOGIN_BEANS:
        if "login" in bean or "filter" in bean:
            assert rows[bean].choice == "none"
            reason = "pyfly.security.oauth2.login.enabled is false (default)"
            assert rows[bean].reason == reason
    reason = rows["client_registration_repository"].reason
    assert reason == "pyfly.security.oauth2.client.enabled is false, so it is empty (default)"


def test_a_login_that_could_not_work_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    row = explained(login_container(same_site="strict"))["oauth2_session_security_filter"]
    assert (row.choice, row.key) == ("none", "pyfly.session.cookie.same-site")
    monkeypatch.setattr("pyfly_session.auto_configuration.conditions.find_spec", lambda name: None)
    rows = explained(login_container())
    assert rows["oauth2_login_handler"].choice == "none"
    assert "pip install 'pyfly-session[oauth2]'" in rows["oauth2_login_handler"].reason
    assert rows["oauth2_session_security_filter"].choice != "none"


def test_beans_of_the_application_for_the_login_are_named() -> None:
    def my_mapper() -> None: ...

    container = login_container()
    container.security_context_mapper.override(providers.Object(my_mapper))
    container.client_registration_repository.override(providers.Object(FourVerbStore()))
    rows = explained(container)
    assert rows["security_context_mapper"].choice == "my_mapper"
    assert "provided by the application" in rows["security_context_mapper"].reason
    assert rows["client_registration_repository"].choice == "FourVerbStore"


def test_listeners_of_the_application_are_counted() -> None:
    container = SessionContainer()
    assert explained(container)["session_listeners"].choice == "none"
    container.session_listeners.add_args(providers.Object(print))
    assert explained(container)["session_listeners"].choice == "List of 1"


def test_every_bean_of_the_container_has_its_row() -> None:
    # The last is of the library's own, once a container was copied.
    given = {"clock", "config", "oauth2_properties", "properties", "web_filters", "__self__"}
    explained_beans = set(explained(SessionContainer()))
    unexplained = set(SessionContainer.providers) - explained_beans - PLUMBING - given
    assert not unexplained, "tell of them in auto_configuration.conditions, or in PLUMBING"


def test_a_client_of_the_application_is_named() -> None:
    container = container_of(store="redis")
    container.redis_client.override(providers.List())
    assert explained(container)["redis_client"].choice == "List"


def test_credentials_are_masked() -> None:
    container = container_of(store="redis", redis={"url": "redis://:hunter2@localhost:6379/0"})
    report = container_report(container)
    assert "hunter2" not in report
    assert "localhost:6379" in report


def test_nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*args: object) -> None:
        raise AssertionError("built")

    monkeypatch.setattr(
        "pyfly_session.auto_configuration.redis_clients.create_redis_client", explode
    )
    container = container_of(enabled=True, store="redis")
    container.session_store.override(providers.Callable(explode))
    assert "session_store" in container_report(container)
