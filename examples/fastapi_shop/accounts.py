"""Who may log in. A real shop keeps this in a database."""

import hashlib
import hmac
from typing import Annotated

from fastapi import Form

from pyfly_session import SecurityContext


def _hash(password: str) -> bytes:
    # One salt for all will do for two passwords that are in the README.
    return hashlib.scrypt(password.encode(), salt=b"lamps", n=2**14, r=8, p=1)


_PASSWORDS = {"alice": _hash("wonderland"), "bob": _hash("builder")}
_NOBODY = _hash("")


def checked_user(
    name: Annotated[str, Form()], password: Annotated[str, Form()]
) -> SecurityContext | None:
    """Return the user of a login form, or None; takes as long for an unknown name."""
    stored = _PASSWORDS.get(name, _NOBODY)
    if hmac.compare_digest(_hash(password), stored) and name in _PASSWORDS:
        return SecurityContext(user_id=name)
    return None
