"""What a commit stores: a request's changes laid over what the store holds by now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyfly_session.attributes import Delta
from pyfly_session.codec import SessionCodec
from pyfly_session.errors import SessionDecodingError, SessionTooLargeError
from pyfly_session.metadata import LAST_ACCESSED, MAX_INACTIVE_INTERVAL, take_metadata
from pyfly_session.session import HttpSession


class Merger:
    """Puts encoded sessions together, fragment by fragment, and keeps them from growing too large.

    Args:
        codec: Splits and joins the sessions.
        max_size: Largest size of an encoded session in bytes, or None.
    """

    def __init__(self, codec: SessionCodec, max_size: int | None) -> None:
        self._codec = codec
        self._max_size = max_size

    def merged(self, current: bytes, delta: Delta) -> bytes:
        """Return ``current`` with the delta applied; None in the delta removes a name.

        Raises:
            SessionTooLargeError: It would be too large.
        """
        fragments = self._fragments(current)
        for name, fragment in delta.items():
            if fragment is None:
                fragments.pop(name, None)
            else:
                fragments[name] = fragment
        return self.joined(fragments, current)

    def joined(self, fragments: Mapping[str, Any], current: bytes = b"") -> bytes:
        """Encode the whole; what was too large before may stay so, but not grow."""
        join, limit = self._codec.join, self._max_size
        payload = join(fragments)
        if limit is None or len(payload) <= limit:
            return payload
        # The time of the write has as many digits as it happens to have.
        former = {**self._fragments(current), LAST_ACCESSED: fragments[LAST_ACCESSED]}
        if current and len(payload) <= len(join(former)):
            return payload
        sizes = {name: len(bytes(part)) for name, part in fragments.items()}
        largest = max(sizes, key=sizes.__getitem__)
        raise SessionTooLargeError(len(payload), limit, largest, sizes[largest])

    def adopt_idle_time(self, session: HttpSession, found: bytes) -> None:
        """Take over the idle time that another request gave the session meanwhile."""
        if MAX_INACTIVE_INTERVAL in session._metadata_changed:
            return
        try:
            metadata = take_metadata(self._codec.split(found), self._codec)
        except SessionDecodingError:
            return
        session._metadata.pop(MAX_INACTIVE_INTERVAL, None)
        if MAX_INACTIVE_INTERVAL in metadata:
            session._metadata[MAX_INACTIVE_INTERVAL] = metadata[MAX_INACTIVE_INTERVAL]

    def _fragments(self, current: bytes) -> dict[str, Any]:
        try:
            return dict(self._codec.split(current))
        except SessionDecodingError:
            # Somebody overwrote the session with something that is none; nothing to keep.
            return {}
