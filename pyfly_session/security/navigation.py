"""Pages of an application: which requests are for one, and where a login may lead to."""

from __future__ import annotations

import re
from collections.abc import Mapping

_HTML = ("text/html", "application/xhtml+xml")
# Source: RFC 9110, section 12.4.2: a weight of 0 means "not acceptable".
_REFUSED = re.compile(r"(?:^|;)\s*q=0(?:\.0*)?\s*(?:;|$)")
# One slash, then neither a second one nor a backslash, which browsers take for one. Browsers
# also drop tabs and line ends wherever they are, so no control character may be there at all.
_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f-\x9f]*")
# They lead out of the path that they seem to be below.
_DOTS = re.compile(r"[^?#]*/(?:\.|%2e){1,2}(?:[/?#]|$)", re.IGNORECASE)
_LONGEST = 2048


def is_navigation(headers: Mapping[str, str]) -> bool:
    """Return whether a request is for a page that somebody is going to see in a tab of its own.

    Only such a request is worth sending to a login. A script, a picture, a frame, a service worker
    or a prefetch could not show it, and is no place to come back to.

    Source: W3C Fetch Metadata; ``Accept`` alone for clients that send none of it.
    """
    if any("prefetch" in headers.get(name, "") for name in ("sec-purpose", "purpose", "x-moz")):
        return False
    # An Android WebView sends the name of its application in the first one.
    if headers.get("x-requested-with", "").lower() == "xmlhttprequest" or "hx-request" in headers:
        return False
    mode, kind = headers.get("sec-fetch-mode", "navigate"), headers.get("sec-fetch-dest")
    return mode == "navigate" and kind in (None, "document") and accepts_html(headers)


def accepts_html(headers: Mapping[str, str]) -> bool:
    """Return whether a client says that it can show a page."""
    return any(
        kind.strip() in _HTML and not _REFUSED.search(parameters)
        for kind, _, parameters in (
            each.partition(";") for each in headers.get("accept", "").lower().split(",")
        )
    )


def local_target(wanted: object, default: str, root: str = "") -> str:
    """Return the wanted target if it is a path of this application, else the default.

    Args:
        wanted: What a client says.
        default: A path that is known to be good.
        root: The path below which the application is; a target that does not begin with it is
            taken for one below it.
    """
    target = default
    if (
        isinstance(wanted, str)
        and len(wanted.encode(errors="replace")) <= _LONGEST
        and _LOCAL.fullmatch(wanted)
        and not _DOTS.match(wanted)
    ):
        target = wanted
    if not root or target.startswith(tuple(root + end for end in "/?#")) or target == root:
        return target
    return root + target
