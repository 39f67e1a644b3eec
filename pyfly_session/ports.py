"""What a session store must do, and the small things it may do besides.

`SessionStore` is all that a custom store must have. The other protocols are capabilities:
each is one or two methods, looked up once, and each has a fallback for a store without it
(`pyfly_session.core.store_capabilities` says what that fallback cannot promise). A
capability speaks *encoded sessions*: the bytes of one JSON object, which a store keeps and
compares without looking inside.

Every ``ttl`` is a whole number of seconds, at least 1 where nothing else is said. A session
whose time is over is absent, at the exact moment: absent for every method, whether the backend
has cleaned up or not. A failing backend raises `pyfly_session.SessionStoreError` from the
driver's error. Any method may be called from several tasks at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable


@runtime_checkable
class SessionStore(Protocol):
    """Keeps session dictionaries by id. All that a custom store must implement.

    The id of a session has 1 to 128 characters out of letters, digits, ``.``, ``_``, ``~``
    and ``-``. The library also stores *records*: which sessions a user has, for example, or
    why a session was ended. The id of a record has a colon as well, up to 160 characters in
    all, and is made by `pyfly_session.ids.record_id`; no client can send one, so a visitor
    never reaches a record. A store keeps a record as it keeps a session: every method takes
    ids of both kinds. Only `Rename.rename` is never called for a record.
    `ScanSessions.scan_sessions`, by which operators see who is logged in, gives none.
    """

    async def get(self, session_id: str) -> dict[str, Any] | None:
        """Return the session's dictionary, or None if it is absent or unreadable.

        Does not count as an access. The caller owns the result: changing it must not
        change what is stored.
        """
        ...

    async def save(self, session_id: str, data: dict[str, Any], ttl: int) -> None:
        """Store the dictionary, replacing what was there, to live for ``ttl`` seconds.

        Its keys are str; its values are whatever `pyfly_session.SessionCodec` can encode,
        ``datetime`` and allowlisted dataclasses included.
        """
        ...

    async def delete(self, session_id: str) -> None:
        """Remove the session. Removing an absent session does nothing."""
        ...

    async def exists(self, session_id: str) -> bool:
        """Tell whether the session is stored and alive. Does not count as an access."""
        ...


@dataclass(frozen=True, slots=True)
class Moved:
    """The session was given another id while somebody still worked under the former one.

    Attributes:
        new_id: The id under which it is stored now.
    """

    new_id: str


@runtime_checkable
class LoadAndSlide(Protocol):
    """Capability: read and extend in one step."""

    async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
        """Return the encoded session and let it live at least ``ttl`` seconds from now.

        A session that lives longer is not cut short, so 0 leaves each as it is: the request does
        not count as an access. An absent session is never brought back.
        A store whose writes are dear may leave it at a little less, and has to say how little.

        Returns:
            The bytes that are stored under this id, or None if the session is absent. A store
            with `Rename` returns `Moved` for `FORWARD_SECONDS` after the id was changed. That
            is no access: the session under the new id does not live longer for it.
        """
        ...


@runtime_checkable
class CreateIfAbsent(Protocol):
    """Capability: create distinct from update."""

    async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
        """Store a new session; return False, and change nothing, if the id is taken."""
        ...


@runtime_checkable
class CompareAndSwap(Protocol):
    """Capability: replace a session only if it still is what the caller read."""

    async def compare_and_swap(
        self, session_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Replace ``expected`` by ``value``, atomically; never creates.

        A store with an attribute ``keeps_life`` that is True takes 0 as ``ttl``, too: the session
        then lives on as long as it would have.

        Returns:
            What is stored now: ``value`` if it was replaced, another writer's bytes if
            they were not ``expected``, `Moved` if the id was changed meanwhile, None if
            the session is absent.
        """
        ...


@runtime_checkable
class Rename(Protocol):
    """Capability: give a session another id, and remember the way for a while."""

    async def rename(
        self, session_id: str, new_id: str, expected: bytes, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Store ``value`` under ``new_id`` and end ``session_id``, if that still is ``expected``.

        A session that already is ``value`` is moved as well. ``new_id`` is fresh and known to
        nobody yet, unless the caller tries again after an interruption; if the session is
        there already, the answer is `Moved` to it. The former id is absent from then on.
        `load_and_slide`, `compare_and_swap`, `rename` and `delete_moved` tell latecomers
        where the session went, for `FORWARD_SECONDS`, and leave it alone there.

        Returns:
            As `CompareAndSwap.compare_and_swap`. Unless it is ``value``, nothing was stored
            under ``new_id`` by this call.
        """
        ...

    async def delete_moved(self, session_id: str) -> str | None:
        """Remove the session, and return the id it was moved to, if it was.

        A logout that races a change of id would end the former id only.
        """
        ...


Loss = Callable[[str, bytes, str], None]
"""Told the id of a session, its encoded form, and why the store removed it by itself."""


@runtime_checkable
class WatchLosses(Protocol):
    """Capability: tell which sessions the store removed without being asked."""

    def watch_losses(self, notice: Loss) -> None:
        """Have it called from now on, instead of what was called before.

        ``notice`` returns at once, does not raise and does not call the store. It is called
        within a method of the store, with the reason ``expired`` or ``dropped``.
        """
        ...


SCAN_HEAD = 1024
"""The bytes at the front of a session that `ScanSessions` gives; metadata stands there."""
SCAN_STEP = 500
"""The most sessions that `ScanSessions` gives in one step."""


class Scanned(NamedTuple):
    """What a scan tells of one stored session.

    Attributes:
        session_id: Its id.
        head: Its encoded form, or the first `SCAN_HEAD` bytes of it.
        size: The length of its encoded form, in bytes.
        seconds_left: When it ends if nobody uses it, in seconds from now.
    """

    session_id: str
    head: bytes
    size: int
    seconds_left: float


@runtime_checkable
class ScanSessions(Protocol):
    """Capability: look at every session, for the operators' overview."""

    def scan_sessions(self) -> AsyncIterator[Sequence[Scanned]]:
        """Yield the stored sessions, in any order, in steps of at most `SCAN_STEP`.

        An async generator. It keeps its own cursor and may be left at any step. A step is short,
        for the backend and for the event loop, however many sessions there are; it may be empty.
        A session that is there from the beginning to the end is given at least once, whatever
        happens to others meanwhile. Records are left out, and so are ids that were replaced. To
        be looked at is no access.
        """
        ...


# Longer than any request that may still write under a former id.
FORWARD_SECONDS = 300
