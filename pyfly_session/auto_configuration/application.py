"""`enable_sessions`: sessions under an application, what is checked and said, and the end of it."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from dependency_injector import providers
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from pyfly_session.auto_configuration.container import SessionContainer, load_into
from pyfly_session.auto_configuration.oauth2 import login_refusal
from pyfly_session.auto_configuration.overrides import CurrentFilters, ready
from pyfly_session.auto_configuration.web import resolver_of
from pyfly_session.config import SessionProperties
from pyfly_session.config.binding import layout
from pyfly_session.config.loader import check_tree, overlay
from pyfly_session.config.masking import show_key
from pyfly_session.config.mistakes import kebab
from pyfly_session.config.session_properties import PREFIX
from pyfly_session.errors import ConfigurationError, SessionError
from pyfly_session.web.chain import WebFilterChainMiddleware
from pyfly_session.web.openapi import describe_session
from pyfly_session.web.session_filter import SessionFilter

_logger = logging.getLogger(__name__)

App = TypeVar("App")


def enable_sessions(
    app: App,
    container: Any = None,
    *,
    config: str | Path | Mapping[str, Any] = "config",
    **properties: Any,
) -> App:
    """Put sessions under an application, and close with it what the container opened.

    ``enable_sessions(app, enabled=True, ttl="30m")`` needs no files. Where sessions are not
    enabled, the first use of ``request.state.session`` or ``request.session`` raises what the log
    has said: what to set, and where that was looked for.

    The container stays the source of truth: what is overridden in it later, in a test for
    example, holds from the next request on. It is found at ``app.state.session_container``.

    Args:
        app: A Starlette or FastAPI application, not yet started, or any ASGI application.
        container: A `SessionContainer`; one is made if there is none. Its configuration is
            loaded from ``config`` unless it has some already.
        config: A directory of YAML files, or the configuration tree itself.
        **properties: Properties below ``pyfly.session`` by name, ``cookie_name="SID"`` or
            ``redis={"url": ...}`` for example; they win over files and variables.

    Returns:
        The application; wrapped, if it is neither Starlette nor FastAPI.

    Raises:
        ConfigurationError: A property is wrong, or ``fail-fast`` forbids a fallback.
        SessionError: The application has sessions already.
    """
    if not callable(app) or isinstance(app, type):
        raise TypeError(
            f"enable_sessions needs an ASGI application, got {app!r}; give the object, such as"
            " Starlette() or FastAPI()"
        )
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
        container = SessionContainer()
    if not container.config():
        load_into(container, config, None)
    else:
        config = {}  # not read: the container brings its own
    if properties:
        set_properties(container, properties)
    if check_beans(container) is None:
        said = say_disabled(container, config)
        return _wrapped(app, SessionsOff, message=said)
    # What was said at the start is easily overlooked: the first request says it again.
    container.store_warnings().clear()

    current_filters = CurrentFilters(container)

    async def close() -> None:
        await close_sessions(container)
        current_filters.forget()

    options: dict[str, Any] = {"filters": current_filters, "on_shutdown": [close]}
    if state is not None:
        state.session_container = container
    describe_session(
        app,
        container.session_id_resolver,
        lambda: getattr(resolver_of(container.properties()), "ways", ()),
    )
    return _wrapped(app, WebFilterChainMiddleware, **options)


def _wrapped(app: App, middleware: Any, **options: Any) -> App:
    if isinstance(app, Starlette):
        app.add_middleware(middleware, **options)
        return app
    # Others may have an add_middleware as well, for middleware of another kind.
    return cast("App", middleware(app, **options))


async def close_sessions(container: Any) -> None:
    """Wait for the commits of cancelled requests and close the clients that we made.

    `enable_sessions` has it called when the application's lifespan ends. The container may
    be used again afterwards.
    """
    session_filter = container.session_filter()
    repository = getattr(session_filter, "repository", None)
    if repository is not None:
        await repository.drain()
    await close_clients(container)
    # Applications that go on ask for filters with a client that is open.
    container.epoch.reset()


async def close_clients(container: Any) -> None:
    """Close the connections to servers that a container has opened in the running loop."""
    await container.redis_clients().close()
    await container.sql_engines().close()


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


def require_one_store(container: Any) -> None:
    """Refuse a provider that gives another store with each call: each would be empty.

    Raises:
        ConfigurationError: It does.
    """
    provider = container.session_store.last_overriding or container.session_store
    if isinstance(provider, providers.Factory):
        raise ConfigurationError(
            "the bean session_store is a Factory, which makes another store for each request, and"
            " sessions are gone with the next one; use providers.Singleton"
        )


def require_own_store(container: Any, session_filter: object) -> None:
    """Refuse a subclass whose store the inherited beans do not use, as that library has it.

    Raises:
        ConfigurationError: They use that of `SessionContainer`.
    """
    beans = (container.session_filter, container.session_repository)
    if not isinstance(session_filter, SessionFilter) or any(bean.overridden for bean in beans):
        return
    used, offered = session_filter.store, container.session_store()
    if used is offered:
        return
    if type(used) is type(offered):
        # A copied container copies its singletons too.
        _logger.warning(
            "container.session_store() is another %s than the one that the filter uses; override"
            " session_store in a SessionContainer instead of copying the class",
            type(used).__name__,
        )
        return
    raise ConfigurationError(
        f"the container's session_store is a {type(offered).__name__}, but the beans it inherited"
        f" use the {type(used).__name__} of SessionContainer; override session_store in a"
        " SessionContainer, or put @containers.copy(SessionContainer) above the class"
    )


def check_beans(container: Any) -> SessionFilter | None:
    """Refuse a configuration or a bean that could not work; return the filter.

    Raises:
        ConfigurationError: Something is wrong with it.
    """
    check_tree(container.config(), container.config_origins())
    require_one_store(container)
    check_login(container)
    session_filter: SessionFilter | None = ready(container, "session_filter")
    require_own_store(container, session_filter)
    return session_filter


def set_properties(container: Any, properties: Mapping[str, Any]) -> None:
    """Set properties below ``pyfly.session`` by their Python names, over what is there."""
    tree: dict[str, Any] = {}
    origins = dict(container.config_origins())
    given = {"pyfly": {"session": _kebab(properties)}}
    overlay(tree, given, "an argument of enable_sessions", origins)
    container.config_origins.override(providers.Object(origins))
    container.config.from_dict(tree)


def _kebab(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {kebab(str(name)): _kebab(child) for name, child in value.items()}


def say_disabled(container: Any, config: object) -> str:
    """Say in the log that there are no sessions, why, and how to have them; return it."""
    if container.properties().enabled is not None:
        origin = container.config_origins().get(f"{PREFIX}.enabled")
        said = f"sessions are off: pyfly.session.enabled is false{f' ({origin})' if origin else ''}"
        _logger.info(said)
        return said
    said = "sessions are off: pyfly.session.enabled is not set; "
    found = misplaced(container.config() or {})
    if found:
        said += f"{found} was found, but it belongs below pyfly: session:; "
    said += (
        "set it to true, in the environment variable PYFLY_SESSION_ENABLED or as"
        " enable_sessions(app, enabled=True)"
    )
    if isinstance(config, str | Path):
        said += f", or in {Path(config, 'pyfly.yaml').absolute()}"
    _logger.warning(said)
    return said


def misplaced(tree: Mapping[str, Any]) -> str | None:
    """Return the key in a tree without ``pyfly.session.enabled`` that was meant to be it."""
    own = layout(SessionProperties)
    for path, section in (("", tree), ("pyfly.", tree.get("pyfly"))):
        for name, value in section.items() if isinstance(section, Mapping) else ():
            written = f"{path}{show_key(name)}"
            if written != "pyfly" and difflib.get_close_matches(written, ("pyfly",), 1, 0.75):
                return written
            if written.startswith(f"{PREFIX}.") or (path and name in own):
                return written
            if name == "session" and not path and isinstance(value, Mapping) and own.keys() & value:
                return f"session.{next(iter(own.keys() & value))}"
            if name == "enabled":
                return written
    return None


class SessionsOff:
    """ASGI middleware of an application whose sessions are not enabled: says so at first use.

    Args:
        app: The application.
        message: What to say.
    """

    def __init__(self, app: ASGIApp, message: str) -> None:
        self._app = app
        self._nothing = _NoSession(message)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; what other middleware calls a session stays."""
        if scope["type"] in ("http", "websocket"):
            scope.setdefault("state", {}).setdefault("session", self._nothing)
            scope.setdefault("session", self._nothing)
        await self._app(scope, receive, send)


class _NoSession:
    """Stands where a session would be; whatever one does with it raises."""

    def __init__(self, message: str) -> None:
        object.__setattr__(self, "_message", message)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise ConfigurationError(object.__getattribute__(self, "_message"), key=f"{PREFIX}.enabled")

    __getattr__ = __setattr__ = __delattr__ = _refuse
    __getitem__ = __setitem__ = __delitem__ = __contains__ = __iter__ = __len__ = _refuse
    __eq__ = __hash__ = _refuse

    def __bool__(self) -> bool:
        """Return False: there is no session."""
        return False
