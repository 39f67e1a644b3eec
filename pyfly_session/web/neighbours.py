"""Applications that are mounted beside one another and have the same session cookie."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from pyfly_session.web.cookies import SessionCookie

_logger = logging.getLogger(__name__)
# Where each filter was met first: the server, the path that it is below, its cookie, its store.
_known: WeakKeyDictionary[Any, tuple[Any, str, tuple[Any, ...], Any]] = WeakKeyDictionary()


def warn_of_neighbour(own: Any, resolver: Any, store: Any, scope: Mapping[str, Any]) -> None:
    """Log that an application beside this one has the same cookie and another store.

    Each would take the other's ids for unknown ones, and replace them.

    Args:
        own: The filter that asks, which is remembered for as long as it lives.
        resolver: How ids come and go with this request.
        store: Where the filter's sessions are.
        scope: That of a request.
    """
    root = scope.get("root_path", "")
    if not root or not isinstance(resolver, SessionCookie):
        return
    server, cookie = scope.get("server"), (resolver.name, resolver.path, resolver.domain)
    for other, (at, beside, same, elsewhere) in list(_known.items()):
        is_other = other is not own and at == server and beside != root
        if is_other and same == cookie and elsewhere is not store:
            _logger.warning(
                "the applications below %s and %s have sessions of their own with the same cookie,"
                " %s with the path %s: unless both stores are one database, each drops the other's"
                " sessions; give each its own pyfly.session.cookie.path, here %s",
                *(beside, root, resolver.name, resolver.path, root),
            )
            break
    _known[own] = server, root, cookie, store
