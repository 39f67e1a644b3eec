"""The paths that applications import from stay, wherever a file of the package goes."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.project.pages import PAGES, ROOT, blocks_of, name_of
from tests.support.cases import for_each

# What every module offers for ever. A name may be added; none may go.
STABLE: dict[str, set[str]] = {
    "pyfly_session": {
        *("HttpSession", "SecurityContext", "SessionCodec", "SessionFilter", "SessionRepository"),
        *(
            "EncryptedSessionCodec",
            "enable_sessions",
            "login",
            "logout",
            "HashedIdStore",
            "Outcome",
            "PrincipalSession",
        ),
        *("PrincipalSessions", "SessionStore", "WebFilterChainMiddleware", "__version__"),
        *("allow_session_type", "require_store"),
        *("ConfigurationError", "ReservedAttributeError", "SessionConflictError"),
        *("SessionEncodingError", "SessionError", "SessionInvalidatedError"),
        *("SessionReadOnlyError", "SessionStoreError", "SessionStoreUnavailableError"),
        *("SessionTooLargeError", "StoreContractError", "TooManySessionsError"),
        "UnsupportedServerError",
    },
    "pyfly_session.adapters.memory": {"InMemorySessionStore"},
    "pyfly_session.adapters.redis": {"KEY_PREFIX", "RedisSessionStore", "allow_session_type"},
    "pyfly_session.adapters.sql": {"TABLE", "SqlSessionStore", "schema_of", "sessions_table"},
    "pyfly_session.auto_configuration": {
        *("SessionContainer", "SessionFilterAutoConfiguration", "SessionStoreAutoConfiguration"),
        *("close_sessions", "container_report", "create_container", "enable_sessions"),
    },
    "pyfly_session.concurrency": {
        *("ConcurrencyControlPolicy", "SessionConcurrencyController", "SessionRegistration"),
        "SessionRegistry",
    },
    "pyfly_session.config": {
        *("Config", "ConcurrencyProperties", "CookieProperties", "EncryptionProperties"),
        *("HeaderProperties", "MemoryProperties", "ObservabilityProperties"),
        *("PropertyDescription", "RedisProperties", "SessionProperties", "WebSocketProperties"),
        *("bind_properties", "describe_properties", "load_config"),
    },
    "pyfly_session.errors": {
        *("ConfigurationError", "CrossSiteRequestError", "ReservedAttributeError"),
        *("SessionConflictError", "SessionDecodingError", "SessionEncodingError", "SessionError"),
        *("SessionInvalidatedError", "SessionReadOnlyError", "SessionStoreError"),
        *("SessionStoreUnavailableError", "SessionTooLargeError", "SessionUpdateError"),
        *("StoreContractError", "TooManySessionsError", "UnsupportedServerError"),
    },
    "pyfly_session.events": {
        *("SessionCreated", "SessionDestroyed", "SessionEvent", "SessionIdChanged"),
        "SessionListener",
    },
    "pyfly_session.fastapi": {
        *("LoggedIn", "LoginRequired", "Session", "SessionRequired", "Stored", "User"),
        *("Visitor", "current_session", "current_visitor", "describe_session", "local_target"),
    },
    "pyfly_session.ids": {"is_acceptable", "is_record", "mask", "new_id", "record_id"},
    "pyfly_session.management": {"Guard", "Management"},
    "pyfly_session.observability": {
        *("MalformedIdFilter", "ObservedSessionRepository", "Telemetry"),
    },
    "pyfly_session.ports": {
        *("CompareAndSwap", "CreateIfAbsent", "FORWARD_SECONDS", "LoadAndSlide", "Loss", "Moved"),
        *("Rename", "SCAN_HEAD", "SCAN_STEP", "ScanSessions", "Scanned", "SessionStore"),
        "WatchLosses",
    },
    "pyfly_session.scopes": {"SessionScopeFilter", "current_session", "session_scoped"},
    "pyfly_session.security": {
        *("ORIGINAL_TAG", "SECURITY_CONTEXT", "SecurityContext", "SecurityContextFilter"),
        *("context_of", "end_other_sessions", "login", "logout", "why_ended"),
    },
    "pyfly_session.security.oauth2": {
        *("ClientRegistration", "ClientRegistrationRepository", "OAuth2BackChannelLogoutFilter"),
        *("InMemoryClientRegistrationRepository", "OAuth2LoginFilter", "OAuth2LoginHandler"),
        *("OAuth2SessionSecurityFilter", "claims_to_context"),
    },
    "pyfly_session.testing": {"Clock", "SessionStoreContract"},
    "pyfly_session.testing.application": {"ApplicationSessions"},
    "pyfly_session.testing.plugin": {
        *("async_session_client", "logged_in_client", "session_app", "session_client"),
        *("session_clock", "session_config", "session_container", "session_store"),
        *("session_user", "sessions"),
    },
    "pyfly_session.web": {
        *("CallNext", "HIGHEST_PRECEDENCE", "OncePerRequestFilter", "SentResponse"),
        *("SessionCookie", "SessionFilter", "SessionHeader", "SessionIdResolver"),
        *("SessionIdResolvers", "SessionMapping", "WebFilter", "WebFilterChainMiddleware"),
        *("WebSocketRules", "before_head", "route_path"),
    },
}


@for_each("path", STABLE)
def test_a_stable_path_offers_its_names(path: str) -> None:
    """Each name can be imported, those that are loaded when they are asked for included."""
    module = importlib.import_module(path)
    assert [name for name in sorted(STABLE[path]) if not hasattr(module, name)] == []


def test_an_import_of_all_names_needs_no_optional_package() -> None:
    """What needs one is loaded by its name only."""
    code = (
        "import sys; from pyfly_session import *; from pyfly_session.security.oauth2 import *;"
        " print({'authlib', 'cryptography', 'httpx2', 'joserfc'} & set(sys.modules))"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.strip() == "set()"


def _texts() -> Iterator[tuple[str, str]]:
    """Yield the Python that users read, each with its place."""
    for page in PAGES:
        for block in blocks_of(page):
            if block.language == "python":
                yield f"{name_of(page)}:{block.line}", block.text
    for path in sorted((ROOT / "examples").rglob("*.py")):
        yield name_of(path), path.read_text(encoding="utf-8")
    wheel = Path(__file__).parent.parent / "wheel" / "quick_start.py"
    yield name_of(wheel), wheel.read_text(encoding="utf-8")


def _shown() -> Iterator[tuple[str, str, str | None]]:
    """Yield every import of ours that users read: its place, the module, and the name."""
    for place, text in _texts():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                yield from ((place, each.name, None) for each in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield from ((place, node.module, each.name) for each in node.names)


def test_users_are_shown_stable_paths_only() -> None:
    """A reshuffle of the files inside breaks nobody who imports as the documentation does."""
    ours = [each for each in _shown() if each[1].partition(".")[0] == "pyfly_session"]
    assert len(ours) > 100
    assert [
        (place, module, name)
        for place, module, name in ours
        if module not in STABLE or (name is not None and name not in STABLE[module])
    ] == []
