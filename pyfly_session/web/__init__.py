"""Sessions over HTTP and WebSocket: filters, their chain and the session cookie."""

from pyfly_session.web.chain import SentResponse, WebFilterChainMiddleware
from pyfly_session.web.cookies import SessionCookie
from pyfly_session.web.filters import (
    HIGHEST_PRECEDENCE,
    CallNext,
    OncePerRequestFilter,
    WebFilter,
    before_head,
)
from pyfly_session.web.paths import route_path
from pyfly_session.web.request_session import SessionMapping
from pyfly_session.web.session_filter import SessionFilter
from pyfly_session.web.session_id_resolver import (
    SessionHeader,
    SessionIdResolver,
    SessionIdResolvers,
)
from pyfly_session.web.websocket import WebSocketRules

__all__ = [
    "SessionFilter",
    "SessionCookie",
    "SessionHeader",
    "SessionIdResolver",
    "SessionIdResolvers",
    "SessionMapping",
    "WebSocketRules",
    "WebFilterChainMiddleware",
    "OncePerRequestFilter",
    "WebFilter",
    "CallNext",
    "SentResponse",
    "before_head",
    "route_path",
    "HIGHEST_PRECEDENCE",
]
