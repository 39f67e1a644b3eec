"""Which attributes of an application are shown to no operator, by their names.

They are the application's own, and declared nowhere. A property says of itself that it is secret.
"""

import re

_SECRET_NAME = re.compile(r"password|passwd|passphrase|secret|token", re.IGNORECASE)
# These count as words alone: a keyboard is no key.
_SECRET_WORDS = re.compile(
    r"\b(?:keys?|pwd|jwts?|t?otp|authorization|credentials?|cookies?|[cx]srf\w*|code ?verifier"
    r"|\w*sess(?:ion)? ?ids?"
    r"|(?:access|api|auth|encryption|host|master|private|session|signing|ssh)keys?)\b"
)
# What a name that ends so tells about the secret is none itself.
_ABOUT = re.compile(
    r" (?:consent|count|domain|enabled|length|names?|path|prefix|size|ttl|types?)$"
    r"|^authorization (?:endpoint|ur[il])$"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def names_secret(name: str) -> bool:
    """Return whether a name is like that of a secret."""
    if _SECRET_NAME.search(name):
        return True
    words = " ".join(_WORD.findall(name)).lower()
    return _SECRET_WORDS.search(words) is not None and _ABOUT.search(words) is None
