"""Where a browser is sent for a login, and after it: to pages of this application only."""

from __future__ import annotations

import re

AUTHORIZATION = "/oauth2/authorization/"
"""Begins the path that leads to a provider; the registration's id ends it."""

# One slash, then neither a second one nor a backslash, which browsers take for one. Browsers
# also drop tabs and line ends wherever they are, so no control character may be there at all.
_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f-\x9f]*")
_LONGEST = 2048


def local_target(wanted: object, default: str) -> str:
    """Return the wanted target if it is a path of this application, else the default."""
    if isinstance(wanted, str) and len(wanted) <= _LONGEST and _LOCAL.fullmatch(wanted):
        return wanted
    return default
