"""How configured values appear in messages: short, on one line, without credentials."""

import re
from collections.abc import Mapping

# A value that is not a secret itself but may hold one.
_URL = "url"
_MASK = "***"
_LONGEST = 80
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
_PARAMETER = re.compile(r"[?&]([^=&?]*)=")


def mask_url(url: str) -> str:
    """Return ``url`` with its credentials replaced by ``***``.

    Hidden are the password, a user without a password (it may be a misplaced one) and
    everything from a query parameter such as ``password=`` on. Works on malformed URLs
    too, where it rather hides too much. Text without credentials comes back unchanged.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    prefix, suffix = scheme + separator, ""
    secret = (each for each in _PARAMETER.finditer(rest) if names_secret(each[1]))
    if parameter := next(secret, None):
        rest, value = rest[: parameter.end()], rest[parameter.end() :]
        if "@" in value and "@" not in rest:
            # Either the parameter's value or an unescaped password contains the "@".
            return prefix + _MASK
        suffix = _MASK
    credentials, at, host = rest.rpartition("@")
    if at:
        user, colon, _ = credentials.partition(":")
        rest = f"{user}:{_MASK}@{host}" if colon else f"{_MASK}@{host}"
    return prefix + rest + suffix


def names_secret(name: str) -> bool:
    """Tell whether a key of the application's own is named like that of a secret."""
    if _SECRET_NAME.search(name):
        return True
    words = " ".join(_WORD.findall(name)).lower()
    return _SECRET_WORDS.search(words) is not None and _ABOUT.search(words) is None


def masked(value: object, *, secret: bool | str | None = None) -> object:
    """Return ``value`` fit for an exception's attribute or a ``repr``.

    Args:
        value: Any configured value.
        secret: ``"url"`` for a URL that may hold a password, another true value for a
            text that is a secret altogether, None for ordinary values.
    """
    if isinstance(value, str) and secret in (None, _URL):
        return mask_url(value)
    return _MASK if secret and value is not None else value


def show(value: object, *, secret: bool | str | None = None) -> str:
    """Return ``value`` as an error message quotes it, in the spelling of YAML."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    if secret == _URL and isinstance(value, str) and "://" not in value:
        return "text without a scheme" if value.strip() else "an empty text"
    value = masked(value, secret=secret)
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() if abs(value) >= 10**_LONGEST:
            return f"a number of more than {_LONGEST} digits"
        case str():
            text = repr(value)
            return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…'"
        case int() | float():
            return str(value)
        case _:
            return f"a value of type {type(value).__name__}"


def show_key(key: object) -> str:
    """Return a configured key for a message; a strange one is quoted and cut."""
    text = str(key)
    return text if text.isprintable() and len(text) <= _LONGEST else show(text)


def one_line(text: str) -> str:
    """Return a text without what could end the line, turn it around or drive a terminal."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)
