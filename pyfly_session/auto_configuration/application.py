"""`enable_sessions`: sessions under an application, what is checked and said, and the end of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from starlette.types import ASGIApp

from pyfly_session.auto_configuration.container import create_container, load_into
from pyfly_session.auto_configuration.oauth2 import login_refusal
from pyfly_session.auto_configuration.overrides import CurrentFilters
from pyfly_session.config import SessionProperties
from pyfly_session.errors import SessionError
from pyfly_session.web.chain import WebFilterChainMiddleware
from pyfly_session.web.openapi import describe_session

_logger = logging.getLogger(__name__)

App = TypeVar("App")


def enable_sessions(
    app: App,
    container: Any = None,
    *,
    config: str | Path | Mapping[str, Any] = "config",
) -> App:
    """Put sessions under an application, and close with it what the container opened.

    The container stays the source of truth: what is overridden in it later, in a test for
    example, holds from the next request on. It is found at ``app.state.session_container``.
    If sessions are not enabled, the application stays as it is, and the log says so.

    Args:
        app: A Starlette or FastAPI application, not yet started, or any ASGI application.
        container: A `SessionContainer`; one is made if there is none. Its configuration is
            loaded from ``config`` unless it has some already.
        config: A directory of YAML files, or the configuration tree itself.

    Returns:
        The application; wrapped, if it is neither Starlette nor FastAPI.

    Raises:
        ConfigurationError: A property is wrong, or ``fail-fast`` forbids a fallback.
        SessionError: The application has sessions already.
    """
    if isinstance(container, Mapping | str | Path):
        raise TypeError(
            "the second argument of enable_sessions is a container; give a configuration by"
            " name: enable_sessions(app, config=...)"
        )
    state = getattr(app, "state", None)
    if getattr(state, "session_container", None) is not None:
        raise SessionError(
            "sessions are enabled for this application already; override what should be"
            " different in its container, app.state.session_container"
        )
    if container is None:
        container = create_container(config)
    elif not container.config():
        load_into(container, config, None)
    else:
        config = {}  # not read: the container brings its own
    check_login(container)
    if container.session_filter() is None:
        say_disabled(container.properties(), config)
        return app

    current_filters = CurrentFilters(container)

    async def close() -> None:
        await close_sessions(container)
        current_filters.forget()

    options: dict[str, Any] = {"filters": current_filters, "on_shutdown": [close]}
    if state is not None:
        state.session_container = container
    describe_session(app, container.session_id_resolver, partial(_ways, container.properties))
    add_middleware = getattr(app, "add_middleware", None)
    if add_middleware is not None:
        add_middleware(WebFilterChainMiddleware, **options)
        return app
    return cast("App", WebFilterChainMiddleware(cast("ASGIApp", app), **options))


def _ways(properties: Callable[[], SessionProperties]) -> tuple[tuple[str, str], ...]:
    """Return how ids travel as the properties have it."""
    now = properties()
    names = {"cookie": now.cookie_name, "header": now.header.name}
    return tuple((way, names[way]) for way in now.resolver)


async def close_sessions(container: Any) -> None:
    """Wait for the commits of cancelled requests and close the clients that we made.

    `enable_sessions` has it called when the application's lifespan ends. The container may
    be used again afterwards.
    """
    session_filter = container.session_filter()
    repository = getattr(session_filter, "repository", None)
    if repository is not None:
        await repository.drain()
    await container.redis_clients().close()
    # Applications that go on ask for filters with a client that is open.
    container.epoch.reset()


def check_login(container: Any) -> None:
    """Refuse, at start, a login that is enabled and could not work.

    Raises:
        ConfigurationError: It has no sessions, or a property of it is wrong.
    """
    oauth2 = container.oauth2_properties()
    if not oauth2.login.enabled:
        return
    refusal = login_refusal(oauth2, container.properties())
    if refusal is not None:
        raise refusal
    container.web_filters()


def say_disabled(properties: SessionProperties, config: object) -> None:
    """Say in the log that there are no sessions, and why."""
    if properties.enabled is None:
        _logger.warning(
            "sessions are off: pyfly.session.enabled is not set; set it to true to have them%s",
            f", in {Path(config, 'pyfly.yaml').absolute()}"
            if isinstance(config, str | Path)
            else "",
        )
    else:
        _logger.info("sessions are off: pyfly.session.enabled is false")
