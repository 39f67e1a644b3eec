"""What a session's commit needs to know; `pyfly_session.core.session` is what applications see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyfly_session import ids
from pyfly_session.core.attributes import Attributes, Delta
from pyfly_session.core.codec import Raw, SessionCodec
from pyfly_session.core.metadata import CREATED_AT
from pyfly_session.errors import SessionInvalidatedError, SessionReadOnlyError

_NONE: frozenset[str] = frozenset()
_NOWHERE: Mapping[str, str] = {}


class SessionState:
    """The inside of an `HttpSession`: what is stored, what changed, what is still allowed."""

    __slots__ = (
        "_accessed", "_attributes", "_codec", "_displaced", "_fragments", "_given_id",
        "_invalidated", "_is_new", "_last_accessed", "_metadata", "_metadata_changed", "_noted",
        "_payload", "_previous_id", "_rotating", "_rotation_refusal", "_stored_id", "_transient",
        "_write_refusal",
    )  # fmt: skip

    def _start(
        self,
        session_id: str | None,
        codec: SessionCodec,
        fragments: Mapping[str, Raw],
        metadata: dict[str, Any],
        now: float,
    ) -> None:
        self._given_id = session_id
        self._previous_id: str | None = None
        self._codec = codec
        self._attributes = Attributes(codec, fragments)
        self._metadata = metadata
        self._metadata_changed: frozenset[str] = _NONE
        self._last_accessed = now
        self._is_new = self._invalidated = self._accessed = self._transient = False
        self._rotating = False
        self._write_refusal: str | None = None
        self._rotation_refusal: str | None = None
        # Whose the session was before, and under which id it is noted for whose it will be.
        self._displaced: frozenset[str] = _NONE
        self._noted: Mapping[str, str] = _NOWHERE
        # The id and bytes that the store is known to hold; None for a session never stored.
        self._stored_id: str | None = None
        self._payload: bytes | None = None
        # Those bytes taken apart, if that was done.
        self._fragments: Mapping[str, Raw] | None = fragments
        if CREATED_AT not in metadata:
            # Written with the next commit, or the absolute lifetime would start anew every time.
            metadata[CREATED_AT] = now
            self._metadata_changed = frozenset({CREATED_AT})

    @property
    def _id(self) -> str:
        if self._given_id is None:
            # Not before somebody wants it: most visitors without a cookie get no session.
            self._given_id = ids.new_id()
        return self._given_id

    @property
    def untouched(self) -> bool:
        """True if nothing can have happened to the session since its last commit."""
        attributes = self._attributes
        return not (
            attributes._assigned
            or attributes._watched
            or self._metadata_changed
            or self._rotating
            or self._invalidated
        )

    @property
    def stored(self) -> bool:
        """True if the store is known to have an entry of this session, under whatever id."""
        return self._stored_id is not None

    @property
    def rotated(self) -> bool:
        """True if `rotate_id` was called and the store still has the entry under a former id."""
        return self._rotating and self._stored_id is not None

    @property
    def pending(self) -> bool:
        """True if something was done to the session since its last commit."""
        if self.stored and (self._invalidated or self._rotating or self._metadata_changed):
            return True
        return self._attributes.changed

    def make_transient(self) -> None:
        """Take note that nothing of this session is going to be saved."""
        self._transient = True

    def seal(self, *, writes: str | None = None, rotation: str | None = None) -> None:
        """Refuse further writes, or a further change of id, with these messages."""
        self._write_refusal = writes
        self._rotation_refusal = rotation

    def changes(self) -> Delta:
        """Encode what this request changed since the last commit.

        Raises:
            SessionEncodingError: A value cannot be stored.
        """
        delta = self._attributes.changes()
        for name in self._metadata_changed:
            delta[name] = self._encoded(name)
        return delta

    def committed(
        self,
        session_id: str,
        payload: bytes,
        delta: Delta,
        fragments: Mapping[str, Raw] | None = None,
        *,
        alone: bool = False,
    ) -> None:
        """Take note that the store now holds ``payload``, this request's ``delta`` included.

        Args:
            session_id: The id that it has there.
            payload: What is stored.
            delta: What this request changed of it.
            fragments: The payload, taken apart, if somebody has it at hand.
            alone: Nothing in it was written by others since this request saw the session.
        """
        if self._metadata_changed:
            self._metadata_changed = frozenset(
                name
                for name in self._metadata_changed
                if name not in delta or delta[name] != self._encoded(name)
            )
        alone = alone and self._attributes._seen is self._fragments
        self._attributes.committed(delta, fragments if alone else None)
        self._stored_id = session_id
        self._payload, self._fragments = payload, fragments
        self._rotating = False

    def _note(self, name: str, value: Any) -> None:
        self._metadata.pop(name, None)
        if value is not None:
            self._metadata[name] = value
        self._metadata_changed |= {name}

    def _encoded(self, name: str) -> bytes | None:
        value = self._metadata.get(name)
        return None if value is None else self._codec.encode(name, value)

    def _require_valid(self) -> None:
        self._accessed = True
        if self._invalidated:
            raise SessionInvalidatedError

    def _require_writable(self) -> None:
        self._require_valid()
        if self._write_refusal is not None:
            raise SessionReadOnlyError(self._write_refusal)
