"""`Stored` and `Change`: what the store holds of a session, and what one request did to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyfly_session.core.attributes import REMOVED, Delta, Update, laid_over
from pyfly_session.core.codec import Parts, Raw, SessionCodec, report_lost_attribute
from pyfly_session.core.metadata import (
    METADATA_NAMES,
    RESERVED_NAMES,
    SECURITY_CONTEXT,
    Owner,
    owner_of,
    user_in,
)
from pyfly_session.errors import SessionDecodingError

_NOTHING: dict[str, Any] = {}


class Stored:
    """What the store is known to hold of a session.

    Attributes:
        id: Under which id.
        payload: The stored bytes.
        fragments: The payload taken apart, None until somebody wants it.
    """

    __slots__ = ("fragments", "id", "payload")

    def __init__(self, session_id: str, payload: bytes) -> None:
        self.id = session_id
        self.payload = payload
        self.fragments: Mapping[str, Raw] | None = None

    def taken_apart(self, codec: SessionCodec) -> Mapping[str, Raw]:
        """Return the fragments; none of a value that another program has put there meanwhile."""
        if self.fragments is not None:
            return self.fragments
        try:
            self.fragments = codec.split(self.payload)
        except SessionDecodingError as error:
            report_lost_attribute("*", error)
            self.fragments = _NOTHING
        return self.fragments

    def owner(self, codec: SessionCodec) -> Owner | None:
        """Return whose it is, None for nobody's."""
        return owner_of(self.taken_apart(codec), codec)


class Change:
    """What one request did to a session since its last commit.

    Attributes:
        delta: The attributes that were set or removed.
        metadata: What was set or removed of the metadata.
        updates: The attributes that were changed by functions.
        noted: The metadata before it was encoded.
        clears: Nothing of the attributes that are stored stays.
        new_id: The id that the session is to have from now on, None for the one it has.
        principal: Who logged in by this change, or None.
        is_plain: Nothing but attributes has changed.
        is_empty: Not even those.
        ends: The session is to end.
    """

    # Most changes have none of these.
    noted: Mapping[str, Any] = _NOTHING
    clears = is_empty = ends = False
    is_plain = True
    new_id: str | None = None
    principal: str | None = None

    def __init__(
        self, delta: Delta, metadata: Delta, updates: Mapping[str, Update] = _NOTHING
    ) -> None:
        self.delta = delta
        self.metadata = metadata
        self.updates = updates

    def note_login(self, seen: Parts, codec: SessionCodec) -> None:
        """Take note of whom the attribute of the original names, if that is another user now."""
        part = self.delta.get(SECURITY_CONTEXT, self.updates.get(SECURITY_CONTEXT))
        if self.principal is not None or part is REMOVED:
            return
        raw = part.fragment if isinstance(part, Update) else codec.write(SECURITY_CONTEXT, part)
        user, (principal, before) = user_in(raw), owner_of(seen, codec) or (None, None)
        if user not in (None, principal, before) and (user or principal is None):
            self.principal, self.is_plain = user, False

    def applied_to(self, parts: Parts, codec: SessionCodec) -> dict[str, Any]:
        """Return the parts of a session with this change laid over them.

        Raises:
            SessionUpdateError: A function failed on what another request had stored.
        """
        if self.clears:
            parts = {name: part for name, part in parts.items() if name in RESERVED_NAMES}
        if self.updates:
            updated = {
                name: each.encoded(parts, name, codec) for name, each in self.updates.items()
            }
            parts = {**parts, **updated}
        result = laid_over(parts, {**self.metadata, **self.delta})
        if self.is_plain:
            return result
        # The metadata in front, where a store can find it without decoding the rest.
        first = {name: result[name] for name in METADATA_NAMES if name in result}
        return {**first, **result}
