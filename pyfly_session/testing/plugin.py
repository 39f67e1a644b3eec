"""Fixtures for the tests of an application, loaded by one line in its ``conftest.py``::

    pytest_plugins = ["pyfly_session.testing.plugin"]

Override `session_app` to say which application; the others follow. There is no entry point:
every project that has this package installed would import it in each run of pytest, and
before the coverage of its own modules is measured.

PYTEST_DONT_REWRITE: nothing is asserted here, so that it may have been imported before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
from dependency_injector import providers
from starlette.testclient import TestClient

from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration import create_container, enable_sessions
from pyfly_session.ports import SessionStore
from pyfly_session.security.context import SecurityContext
from pyfly_session.testing.application import ApplicationSessions
from pyfly_session.testing.clock import Clock
from pyfly_session.web.chain import WebFilterChainMiddleware


@pytest.fixture
def session_app() -> Any:
    """Return the application under test, with sessions or without. To be overridden."""
    pytest.fail(
        "which application is to be tested? Define a fixture session_app that returns it,"
        " in conftest.py for example",
        pytrace=False,
    )


@pytest.fixture
def session_config() -> Mapping[str, Any]:
    """Return what is different in the tests: a tree, merged onto the application's."""
    return {}


@pytest.fixture
def session_clock() -> Clock:
    """Return the clock of the sessions; it stands still until a test moves it."""
    return Clock()


@pytest.fixture
def session_user() -> SecurityContext:
    """Return whom `logged_in_client` is logged in as."""
    return SecurityContext(user_id="alice")


@pytest.fixture
def session_container(session_app: Any) -> Any:
    """Return the container of the application's sessions; a new one if it has none.

    Override it if the application is neither Starlette nor FastAPI and has sessions already.
    """
    found = _container_of(session_app)
    return create_container({"pyfly": {"session": {"enabled": True}}}) if found is None else found


@pytest.fixture
def session_store(session_container: Any, session_clock: Clock) -> SessionStore:
    """Return the store of the tests: an empty memory store, whatever the properties say."""
    codec = session_container.session_codec()
    return InMemorySessionStore(codec=codec, clock=session_clock)


@pytest.fixture
def sessions(
    session_app: Any,
    session_container: Any,
    session_config: Mapping[str, Any],
    session_store: SessionStore,
    session_clock: Clock,
) -> Iterator[ApplicationSessions]:
    """Return the sessions of the application; afterwards its container is as it was."""
    container = session_container
    with ExitStack() as overrides:
        if session_config:
            tree = providers.merge_dicts(container.config(), dict(session_config))
            overrides.enter_context(container.config.override(tree))
        overrides.enter_context(container.clock.override(providers.Object(session_clock)))
        overrides.enter_context(container.session_store.override(providers.Object(session_store)))
        if container.session_filter() is None:
            pytest.fail(
                "pyfly.session.enabled is not true in these tests; define a fixture"
                " session_config that returns {'pyfly': {'session': {'enabled': True}}}",
                pytrace=False,
            )
        app = session_app
        if _container_of(app) is None and not isinstance(app, WebFilterChainMiddleware):
            app = enable_sessions(app, container)
        yield ApplicationSessions(app, container, session_clock)


@pytest.fixture
def session_client(sessions: ApplicationSessions) -> Iterator[TestClient]:
    """Return a browser that nobody knows yet, while the application's lifespan runs."""
    with TestClient(sessions.app, base_url=sessions.base_url) as client:
        yield client


@pytest.fixture
def logged_in_client(
    session_client: TestClient, sessions: ApplicationSessions, session_user: SecurityContext
) -> TestClient:
    """Return `session_client`, logged in as `session_user`."""
    sessions.log_in(session_client, session_user)
    return session_client


@pytest.fixture
def async_session_client(sessions: ApplicationSessions) -> httpx2.AsyncClient:
    """Return a browser for coroutines; the application's lifespan does not run."""
    # No coroutine itself, so that any plugin for coroutine tests can run the test. The client
    # keeps nothing open that had to be closed.
    transport = httpx2.ASGITransport(sessions.app)
    return httpx2.AsyncClient(transport=transport, base_url=sessions.base_url)


def _container_of(app: Any) -> Any:
    """Return the container that an application was enabled with, be it wrapped, or None."""
    while app is not None:
        container = getattr(getattr(app, "state", None), "session_container", None)
        if container is not None:
            return container
        app = getattr(app, "app", None)
    return None
