"""How configured values appear in messages: short, on one line, without credentials."""

import re
from collections.abc import Callable, Mapping

# A value that is not a secret itself but may hold one.
_URL = "url"
_MASK = "***"
_LONGEST = 80
_PARAMETER = re.compile(r"[?&;]([^=&?]*)=")
# What tells of a connection how it is made, and opens nothing; every other parameter is masked.
_HARMLESS = frozenset({
    "application_name", "cache", "charset", "connect_timeout", "db", "driver",
    "health_check_interval", "host", "max_connections", "mode", "port", "protocol",
    "retry_on_timeout", "socket_connect_timeout", "socket_keepalive", "socket_timeout", "ssl",
    "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile",
    "ssl_min_version", "sslmode", "sslrootcert", "target_session_attrs", "timeout", "uri",
})  # fmt: skip


def is_unknown(parameter: str) -> bool:
    """Return whether a parameter of a URL is not known to be harmless, so that it is masked."""
    return parameter.lower() not in _HARMLESS


def mask_url(url: str, hides: Callable[[str], bool] = is_unknown) -> str:
    """Return ``url`` with its credentials replaced by ``***``.

    Hidden are the password, a user without a password (it may be a misplaced one) and
    everything from the first query parameter on that is to be hidden. Works on malformed URLs
    too, where it rather hides too much. Text without credentials comes back unchanged.

    Args:
        url: The URL, or any text.
        hides: Whether a query parameter of this name is hidden.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    prefix, suffix = scheme + separator, ""
    secret = (each for each in _PARAMETER.finditer(rest) if hides(each[1]))
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
