"""`Stored` and `Change`: what the store holds of a session, and what one request did to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyfly_session.core.attributes import Delta, Update
from pyfly_session.core.codec import Raw, SessionCodec, report_lost_attribute
from pyfly_session.core.metadata import METADATA_NAMES, RESERVED_NAMES
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

    def __init__(
        self, session_id: str, payload: bytes, fragments: Mapping[str, Raw] | None = None
    ) -> None:
        self.id = session_id
        self.payload = payload
        self.fragments = fragments

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


class Change:
    """What one request did to a session since its last commit.

    Attributes:
        delta: The attributes that were set or removed, encoded.
        metadata: What was set or removed of the metadata, encoded.
        updates: The attributes that were changed by functions.
        noted: The metadata before it was encoded.
        clears: Nothing of the attributes that are stored stays.
        payload: The whole session, if it is a new one that was encoded in one call; else None.
        fragments: The same taken apart.
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
    payload: bytes | None = None
    fragments: dict[str, Raw] = _NOTHING
    new_id: str | None = None
    principal: str | None = None

    def __init__(
        self, delta: Delta, metadata: Delta, updates: Mapping[str, Update] = _NOTHING
    ) -> None:
        self.delta = delta
        self.metadata = metadata
        self.updates = updates

    def applied_to(self, fragments: Mapping[str, Raw], codec: SessionCodec) -> dict[str, Raw]:
        """Return a session's fragments with this change laid over them.

        Raises:
            SessionUpdateError: A function failed on what another request had stored.
        """
        result = dict(fragments)
        if self.clears:
            result = {name: part for name, part in fragments.items() if name in RESERVED_NAMES}
        for name, update in self.updates.items():
            result[name] = Raw(update.encoded(result, name, codec))
        for delta in (self.metadata, self.delta):
            for name, fragment in delta.items():
                if fragment is None:
                    result.pop(name, None)
                else:
                    result[name] = Raw(fragment)
        if self.is_plain:
            return result
        # The metadata in front, where a store can find it without decoding the rest.
        first = {name: result[name] for name in METADATA_NAMES if name in result}
        return {**first, **result}
