"""What every site does, whoever keeps its sessions: the same data, the same few actions."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, MutableMapping
from typing import Any

Session = MutableMapping[str, Any]

SIZES = {"small": 200, "medium": 4_096, "large": 61_440}
USER = "user-00001"
NOBODY = "nobody----"
"""What a request is told whose session is not there. Every answer has ten characters."""
WIDTH = len(USER)
MARK = "mark-"
NO_COOKIE = "session=" + "0" * 32
"""What a browser sends to a site that gave it no cookie, for requests of the same length."""


def session_data(size: str) -> dict[str, Any]:
    """Return a session of about so many bytes as JSON; no two are the same."""
    data: dict[str, Any] = {
        "user": USER,
        "name": "Ada Lovelace",
        "roles": ["customer", "editor"],
        "language": "en-GB",
        "csrf": secrets.token_hex(16),
        "theme": "dark",
        "count": 0,
        "greeted": True,
    }
    if size == "small":
        return data
    # The rest is spread over some attributes, as what grows in a session usually is.
    names = ("basket", "wishes", "seen", "searches")
    item = {"sku": "4006381-33393", "title": "Pencil, soft, yellow", "amount": 3, "price": 1.95}
    count = (SIZES[size] - 200) // (len(json.dumps(item)) + 2)
    for index, name in enumerate(names):
        data[name] = [{**item, "amount": n} for n in range(index, count, len(names))]
    return data


def read(session: Session) -> str:
    """Read one attribute."""
    return str(session.get("user", NOBODY))


def write(session: Session) -> str:
    """Increment a counter."""
    session["count"] = count = session.get("count", 0) + 1
    return f"{count:>{WIDTH}}"


def marks(session: Session) -> str:
    """Count the marks that `mark` has left."""
    return f"{sum(name.startswith(MARK) for name in session):>{WIDTH}}"


def logout(session: Session) -> str:
    """Empty the session, the way out where a library has no other."""
    session.clear()
    return USER


def fail(session: Session) -> str:
    """Write, and raise."""
    write(session)
    raise ValueError("the handler's own error")


def seed(size: str) -> Callable[[Session], str]:
    """Return an action that fills a session with data of a size."""

    def fill(session: Session) -> str:
        session.update(session_data(size))
        return USER

    return fill


def mark(session: Session, name: str) -> str:
    """Set an attribute of its own, after `Gate` let this request go on."""
    session[MARK + name] = 1
    return USER


ACTIONS: dict[str, Callable[[Session], str]] = {
    "read": read,
    "write": write,
    "new": seed("small"),
    **{f"seed-{size}": seed(size) for size in SIZES},
    "marks": marks,
    "logout": logout,
    "fail": fail,
}
"""The actions by their path. ``untouched`` and ``mark`` are besides, for they need no session
and a pause."""


class Gate:
    """Holds requests that have loaded their session, until all that should meet have.

    Attributes:
        closed: Whether requests wait.
        held: How many are waiting.
    """

    def __init__(self) -> None:
        self.closed = False
        self.held = 0

    def close(self) -> None:
        """Hold whoever comes."""
        self.held, self.closed = 0, True

    def open(self) -> None:
        """Let everybody go on."""
        self.closed = False

    async def wait(self) -> None:
        """Wait until it is open."""
        self.held += 1
        while self.closed:  # noqa: ASYNC110 - an event would belong to one loop
            await asyncio.sleep(0)


gate = Gate()
swaps = 0
"""How often a store that counts was asked to compare and swap."""
