"""Beans that live as long as a session: one for each visitor, kept in an attribute.

Nothing of this is loaded or run unless an application uses it.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from dependency_injector import providers

from pyfly_session.core.codec import allow_session_type
from pyfly_session.core.metadata import require_free
from pyfly_session.core.session import HttpSession
from pyfly_session.errors import SessionError
from pyfly_session.web.filters import HIGHEST_PRECEDENCE, CallNext, OncePerRequestFilter

T = TypeVar("T")

_logger = logging.getLogger(__name__)
_PLAIN = (dict, list, set)
_current: ContextVar[HttpSession | None] = ContextVar("pyfly_session.current", default=None)


def session_scoped(
    factory: Callable[..., T] | providers.Provider[T], *, attribute: str
) -> providers.Callable[T]:
    """Return a provider of one bean for each session, as Spring's scope ``session`` has them.

    The bean is built when it is first asked for, and is an attribute of the session from then
    on: it is saved with the session, changes in place included, and every request of the
    visitor finds it, whichever process serves it. Within one request it is one object.

    Call the provider within a request, in an application with a `SessionScopeFilter`; or give
    it the session, ``container.cart(request.state.session)``, which needs no filter.

    Args:
        factory: A class, a function without arguments, or a ``Factory`` or ``Callable`` of
            dependency-injector. What it makes is stored: a dataclass, a dict, a list or a set. A
            dataclass that is given here is an allowed session type by that.
        attribute: Name of the session attribute.

    Raises:
        TypeError: The class cannot be stored, or would come back as another one; or the provider
            gives everybody the same object, or one that has to be awaited.
        ReservedAttributeError: The name belongs to the library's metadata.
    """
    require_free(attribute)
    if not attribute:
        raise TypeError("a session-scoped bean needs the name of an attribute, got an empty one")
    provider = factory if isinstance(factory, providers.Provider) else providers.Factory(factory)
    made = getattr(provider, "provides", None)
    _require_maker(provider, made)
    kind: type = object
    if dataclasses.is_dataclass(made) and isinstance(made, type):
        allow_session_type(made)
        kind = made
    elif isinstance(made, type) and made not in _PLAIN:
        raise TypeError(
            f"a session-scoped bean is a dataclass, a dict, a list or a set, got"
            f" {made.__qualname__}; keep its data in a dataclass, and give that to what works on it"
        )
    return providers.Callable(_bean, provider.provider, attribute, providers.Object(kind))


def _require_maker(provider: providers.Provider[Any], made: object) -> None:
    """Refuse what does not make a new object each time, at once."""
    name = type(provider).__name__
    if not isinstance(provider, providers.Factory | providers.Callable):
        raise TypeError(
            f"a session-scoped bean is made anew for each session, and a {name} provider gives"
            " everybody the same object: all visitors would share it; give a Factory"
        )
    if isinstance(provider, providers.Coroutine) or inspect.iscoroutinefunction(made):
        raise TypeError(
            "a session-scoped bean is made without waiting, and a coroutine function has to be"
            " awaited; await what it needs in the handler, and set that"
        )


def current_session() -> HttpSession:
    """Return the session of the request that is running.

    Raises:
        SessionError: There is none, or nobody took note of it.
    """
    session = _current.get()
    if session is None:
        raise SessionError(
            "there is no current session; ask within a request, in an application whose"
            " container.web_filters has a SessionScopeFilter(), on a path that is not excluded;"
            " or give the session to the provider: provider(request.state.session)"
        )
    return session


class SessionScopeFilter(OncePerRequestFilter):
    """Takes note of the request's session, for beans that are asked for without a request.

    Runs just inside of `pyfly_session.SessionFilter`. Threads that Starlette starts for
    functions that are no coroutines know the session too.
    """

    __pyfly_order__ = HIGHEST_PRECEDENCE + 151

    async def do_filter(self, request: Any, call_next: CallNext) -> Any:
        """Run the rest of the chain with the session as the current one."""
        token = _current.set(getattr(request.state, "session", None))
        try:
            return await call_next(request)
        finally:
            _current.reset(token)


def _bean(
    factory: Callable[[], Any], attribute: str, kind: type, session: HttpSession | None = None
) -> Any:
    session = current_session() if session is None else session
    bean = session.get_attribute(attribute)
    if bean is not None:
        if isinstance(bean, kind):
            return bean
        _logger.warning(
            "the session attribute %r holds a %s instead of a %s, and is made anew",
            attribute,
            type(bean).__qualname__,
            kind.__qualname__,
        )
    bean = factory()
    session.set_attribute(attribute, bean)
    return bean
