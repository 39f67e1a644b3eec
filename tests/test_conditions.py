"""The conditions report explains every choice, and builds nothing to do so."""

from __future__ import annotations

from typing import Any

import pytest
from dependency_injector import containers, providers

from pyfly_session import ConfigurationError
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration import SessionContainer, create_container
from pyfly_session.conditions import Condition, conditions, container_report
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
        session_store = providers.Singleton(InMemorySessionStore)  # type: ignore[assignment]

    assert "backs off" in explained(Mine())["session_store"].reason


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

    monkeypatch.setattr("pyfly_session.redis_clients.create_redis_client", explode)
    container = container_of(enabled=True, store="redis")
    container.session_store.override(providers.Callable(explode))
    assert "session_store" in container_report(container)


def test_a_wrong_property_is_an_error_and_no_report() -> None:
    with pytest.raises(ConfigurationError, match=r"pyfly\.session\.ttl"):
        conditions(container_of(ttl=0))
