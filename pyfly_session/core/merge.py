"""What a commit stores: a request's changes laid over what the store holds by now."""

from __future__ import annotations

from collections.abc import Mapping

from pyfly_session.core.attributes import Delta, applied
from pyfly_session.core.codec import Raw, SessionCodec
from pyfly_session.core.metadata import LAST_ACCESSED, MAX_INACTIVE_INTERVAL, read_metadata
from pyfly_session.core.session import HttpSession
from pyfly_session.errors import SessionDecodingError, SessionTooLargeError


class Merger:
    """Puts encoded sessions together, fragment by fragment, and keeps them from growing too large.

    Args:
        codec: Splits and joins the sessions.
        max_size: Largest size of an encoded session in bytes, or None.
    """

    def __init__(self, codec: SessionCodec, max_size: int | None) -> None:
        self._codec = codec
        self._max_size = max_size

    def merged(
        self, current: bytes, delta: Delta, fragments: Mapping[str, Raw] | None = None
    ) -> tuple[bytes, dict[str, Raw]]:
        """Apply the delta to a stored session; None in the delta removes a name.

        Args:
            current: What is stored, empty for a new session.
            delta: What to change.
            fragments: ``current`` taken apart, if that was done before.

        Returns:
            The new stored form, and its fragments.

        Raises:
            SessionTooLargeError: It would be too large; what was before may stay so, but not
                grow.
        """
        merged = applied(delta, self._fragments(current) if fragments is None else fragments)
        payload = self._codec.assemble(merged)
        if self._max_size is not None and len(payload) > self._max_size:
            self._require_no_growth(payload, merged, current, self._max_size)
        return payload, merged

    def _require_no_growth(
        self, payload: bytes, fragments: dict[str, Raw], current: bytes, limit: int
    ) -> None:
        # The time of the write has as many digits as it happens to have.
        former = {**self._fragments(current), LAST_ACCESSED: fragments[LAST_ACCESSED]}
        if current and len(payload) <= len(self._codec.assemble(former)):
            return
        sizes = {name: len(bytes(part)) for name, part in fragments.items()}
        largest = max(sizes, key=sizes.__getitem__)
        raise SessionTooLargeError(len(payload), limit, largest, sizes[largest])

    def adopt_idle_time(self, session: HttpSession, found: bytes) -> None:
        """Take over the idle time that another request gave the session meanwhile."""
        if MAX_INACTIVE_INTERVAL in session._metadata_changed:
            return
        try:
            metadata = read_metadata(self._codec.split(found), self._codec)
        except SessionDecodingError:
            return
        session._metadata.pop(MAX_INACTIVE_INTERVAL, None)
        if MAX_INACTIVE_INTERVAL in metadata:
            session._metadata[MAX_INACTIVE_INTERVAL] = metadata[MAX_INACTIVE_INTERVAL]

    def _fragments(self, current: bytes) -> dict[str, Raw]:
        if not current:
            return {}
        try:
            return self._codec.split(current)
        except SessionDecodingError:
            # Somebody overwrote the session with something that is none; nothing to keep.
            return {}
