"""What a commit stores: the changes of requests laid over what the store holds by now.

Two requests may meet on one session, and one of them may log somebody in. `verdict` decides
whether what the other did may go into that session; see ``docs/explanation/identity.md``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from pyfly_session import ids
from pyfly_session.core.change import Change, Stored
from pyfly_session.core.codec import Parts, Raw, SessionCodec
from pyfly_session.core.metadata import (
    AUTHENTICATED_AT,
    CREATED_AT,
    LAST_ACCESSED,
    LOGGED_IN_FROM,
    PRINCIPAL,
    RESERVED_NAMES,
    SECURITY_CONTEXT,
    VERSION,
    encode_time,
    owner_of,
    read_metadata,
)
from pyfly_session.core.session import HttpSession
from pyfly_session.errors import SessionDecodingError, SessionTooLargeError

_WITH_EVERY_WRITE = {CREATED_AT, LAST_ACCESSED, VERSION}


class Outcome(enum.Enum):
    """What a commit found and did."""

    UNSAVED = "a new session that nothing asked to store"
    UNTOUCHED = "nothing to store; the session lives"
    STORED = "created, updated or given its new id; the session lives under its id"
    FORKED = "stored as a session of its own, for another request had changed the id"
    MOVED = "the changes went to the id that another request gave the session"
    DROPPED = "the session is another user's by now; the changes were dropped"
    ENDED = "invalidated by this request, or by another at the same time; its entry is gone"
    GONE = "ended or expired meanwhile; nothing was stored"


class Verdict(enum.Enum):
    """Where the changes of a request go."""

    MERGE = "into the session, as the store holds it by now"
    DROP = "nowhere: the session is another user's by now"
    FORK = "into a session of its own"


def verdict(session: HttpSession, change: Change, current: Stored, codec: SessionCodec) -> Verdict:
    """Return where a change goes that meets what others have stored since it was loaded.

    Args:
        session: As the request sees it.
        change: What the request did to it.
        current: What the store holds now, perhaps under another id.
        codec: Takes the stored form apart.
    """
    loaded, seen = session.stored, session.seen
    if loaded is None or seen is None or current is seen:
        logs_in_late = change.principal is not None and session.moved
        return Verdict.FORK if logs_in_late else Verdict.MERGE
    before, now = seen.owner(codec), current.owner(codec)
    if change.principal is None:
        if before == now:
            return Verdict.MERGE
        if before is not None:
            return Verdict.DROP
        # What an anonymous visitor does while logging in, to a cart for example, is kept; but not
        # that nobody is logged in.
        says_who = SECURITY_CONTEXT in change.delta or SECURITY_CONTEXT in change.updates
        touches_more = change.clears or not change.metadata.keys() <= _WITH_EVERY_WRITE
        return Verdict.DROP if says_who or touches_more else Verdict.MERGE
    is_theirs = before == now or (now is not None and change.principal in now)
    if is_theirs and current.id == loaded.id and not session.moved:
        return Verdict.MERGE
    # Whoever gave the session another id meanwhile may not get this login, unless they logged the
    # same user in: a button was pressed twice.
    is_second = is_login_of(current.taken_apart(codec), codec, change.principal, loaded.id)
    return Verdict.FORK if is_second is None else Verdict.MERGE


def is_login_of(
    fragments: Mapping[str, Raw], codec: SessionCodec, principal: str, former_id: str
) -> float | None:
    """Return the Unix time of the login of a principal that replaced an id; None if it did not.

    Args:
        fragments: Those of the session that the id has led to.
        codec: Decodes them.
        principal: Who logged in.
        former_id: The id.
    """
    try:
        found = read_metadata(fragments, codec, PRINCIPAL, LOGGED_IN_FROM, AUTHENTICATED_AT)
    except SessionDecodingError:
        return None
    if found.get(PRINCIPAL) != principal or found.get(LOGGED_IN_FROM) != ids.mask(former_id):
        return None
    at: float | None = found.get(AUTHENTICATED_AT)
    return at


def forked(session: HttpSession, change: Change, codec: SessionCodec, now: float) -> dict[str, Any]:
    """Return the parts of a session of its own that a change is to become."""
    loaded: Mapping[str, Raw] = {} if session.seen is None else session.seen.taken_apart(codec)
    if owner_of(loaded, codec) is not None:
        # What somebody who was logged in had stays with the session that went on.
        loaded = {}
    kept = {name: part for name, part in loaded.items() if name not in RESERVED_NAMES}
    times = {CREATED_AT: Raw(encode_time(now)), LAST_ACCESSED: Raw(encode_time(now))}
    return change.applied_to({**times, **kept}, codec)


def assembled(
    parts: Parts, current: Parts | None, codec: SessionCodec, max_size: int | None
) -> bytes:
    """Return the stored form of a session.

    Args:
        parts: What is to be stored.
        current: What is stored now, empty for a new session.
        codec: Puts the parts together.
        max_size: Largest size of an encoded session in bytes, or None.

    Raises:
        SessionTooLargeError: It would be too large; what was before may stay so, but not grow.
    """
    payload = codec.join(parts)
    if max_size is not None and len(payload) > max_size:
        # The time of the write has as many digits as it happens to have.
        former = {**(current or {}), LAST_ACCESSED: parts[LAST_ACCESSED]}
        if not current or len(payload) > len(codec.join(former)):
            sizes = {name: len(codec.write(name, part)) for name, part in parts.items()}
            largest = max(sizes, key=sizes.__getitem__)
            raise SessionTooLargeError(len(payload), max_size, largest, sizes[largest])
    return payload
