"""Environment variables ``PYFLY_SESSION_…`` as properties."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pyfly_session._masking import show_key
from pyfly_session._placeholders import Verbatim
from pyfly_session.errors import ConfigurationError
from pyfly_session.properties import PREFIX, describe_properties, variable_name

_VARIABLE_PREFIX = "PYFLY_SESSION_"
# Kubernetes and Docker announce a service named pyfly-session in variables like these.
_SERVICE_VARIABLE = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_|$)")


def overlay_environment(
    tree: dict[str, Any], environ: Mapping[str, str], origins: dict[str, str]
) -> None:
    """Set the properties that variables name, in place, and note where they came from.

    A variable is the key in upper case with ``_`` for dots and dashes. It can name any
    known property and any key that the tree already holds below ``pyfly.session``.
    Variables that a container platform sets for a service of that name are passed over.

    Raises:
        ConfigurationError: A variable names nothing.
    """
    known = {each.environment_variable: each.key for each in describe_properties()}
    keys = {variable_name(key): key for key in _keys(tree, PREFIX)} | known
    for name in sorted(environ):
        if not name.startswith(_VARIABLE_PREFIX):
            continue
        if name not in keys:
            if _SERVICE_VARIABLE.search(name):
                continue
            raise _unknown(name, tuple(known))
        if _put(tree, keys[name], Verbatim(environ[name])):
            origins[keys[name]] = f"environment variable {name}"


def _unknown(name: str, known: tuple[str, ...]) -> ConfigurationError:
    # Without the prefix, which would make every name look like every other.
    names = [each.removeprefix(_VARIABLE_PREFIX) for each in known]
    close = difflib.get_close_matches(name.removeprefix(_VARIABLE_PREFIX)[:64], names, 1)
    proposal = (
        f"did you mean {_VARIABLE_PREFIX}{close[0]}?" if close else f"known are {', '.join(known)}"
    )
    return ConfigurationError(
        f"the environment variable {show_key(name)} names no known property; {proposal}", key=name
    )


def _put(tree: dict[str, Any], key: str, value: str) -> bool:
    """Set one value; refuse where a section is no section, which binding reports better."""
    *sections, name = key.split(".")
    for section in sections:
        if tree.get(section) is None:
            tree[section] = {}
        tree = tree[section]
        if not isinstance(tree, dict):
            return False
    tree[name] = value
    return True


def _keys(value: object, wanted: str, path: str = "") -> Iterator[str]:
    """Yield the dotted keys of the plain values below ``wanted``."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from _keys(child, wanted, f"{path}.{name}" if path else str(name))
    elif path.startswith(f"{wanted}."):
        yield path
