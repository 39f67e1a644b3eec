"""What a commit found and did."""

from __future__ import annotations

import enum


class Outcome(enum.Enum):
    """What a commit found and did."""

    UNSAVED = "a new session that nothing asked to store"
    UNTOUCHED = "nothing to store; the session lives"
    STORED = "created, updated or given its new id; the session lives under its id"
    MOVED = "the changes went to the id that another request gave the session"
    ENDED = "invalidated by this request; its entry is gone"
    GONE = "ended or expired meanwhile; nothing was stored"
