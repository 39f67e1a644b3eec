"""Ids of sessions and of records: making them, checking them, and masking them for logs."""

from __future__ import annotations

import hashlib
import re
import secrets

# Wide enough for ids of the original (uuid4().hex) and of stores that sign theirs; anything
# else, a colon above all, could name a foreign key in the backend.
ACCEPTABLE = r"[A-Za-z0-9._~-]{1,128}"
"""A regular expression for what may be looked up in a store at all."""

_is_acceptable = re.compile(ACCEPTABLE).fullmatch


def new_id() -> str:
    """Return a new id: 128 bits from the system's CSPRNG as 32 lowercase hex characters.

    Source: OWASP ASVS 5, requirement 7.2.3 (a UUID of version 4 carries only 122 bits).
    """
    return secrets.token_hex(16)


def is_acceptable(candidate: str) -> bool:
    """Tell whether a client-supplied value may be looked up in a store at all."""
    return _is_acceptable(candidate) is not None


RECORD = ":"
"""What the id of a record has, and that of a session has not: `is_acceptable` refuses it."""


def record_id(kind: str, key: str) -> str:
    """Return the id of a record: what the library stores beside sessions, and about them.

    The list of the sessions that a user has is one, under ``principal:…``. A store keeps
    records as it keeps sessions. No client can send such an id: `is_acceptable` refuses it.

    Args:
        kind: What the record is about, a short word of lowercase letters.
        key: Which record of that kind, out of the characters of a session's id.
    """
    return f"{kind}{RECORD}{key}"


def is_record(entry_id: str) -> bool:
    """Return whether an id is that of a record, and not of a session: it contains a colon."""
    return RECORD in entry_id


def mask(session_id: str) -> str:
    """Return a short one-way hash of an id, fit for a log line.

    The same id gives the same mask, so that lines can be correlated; the id cannot be
    won back from it.
    """
    return "#" + hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
