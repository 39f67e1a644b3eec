"""Environment variables ``PYFLY_SESSION_…`` and ``PYFLY_SECURITY_OAUTH2_…`` as properties."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyfly_session.config import oauth2_properties as oauth2
from pyfly_session.config.masking import show_key
from pyfly_session.config.placeholders import Verbatim
from pyfly_session.config.session_properties import PREFIX, describe_properties, variable_of
from pyfly_session.errors import ConfigurationError

# Kubernetes and Docker announce a service named pyfly-session in variables like these.
_SERVICE_VARIABLE = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_|$)")
# Comparing names takes quadratic time.
_LONGEST_NAME = 96

Path = tuple[str, ...]


def overlay_environment(
    tree: dict[str, Any],
    environ: Mapping[str, str],
    origins: dict[str, str],
    errors: list[ConfigurationError],
) -> None:
    """Set the properties that variables name, in place, and note where they came from.

    A variable is the key in upper case with ``_`` for everything that is no letter or digit.
    It can name any known property and any key that the tree already holds below
    ``pyfly.session`` or ``pyfly.security.oauth2``. A registration that the tree does not hold
    is made by its ``…_CLIENT_ID``, if its id is one word. Variables that a container platform
    sets for a service of such a name are passed over.

    Errors are added of variables that name nothing, or two properties.
    """
    for names in (_session_names(tree), _oauth2_names(tree, environ)):
        for name in sorted(environ):
            if not name.startswith(names.prefix) or names.passes_over(name):
                continue
            try:
                path = names.path_of(name)
            except ConfigurationError as error:
                errors.append(error)
                continue
            if _put(tree, path, Verbatim(environ[name])):
                origins[".".join(path)] = f"environment variable {name}"


@dataclass(frozen=True)
class _Names:
    """The variables below one prefix.

    Attributes:
        prefix: What all of them begin with.
        paths: Where each leads; two ways for one that is ambiguous.
        known: Those to propose.
        listed: What to name where there is nothing to propose.
        registrations: Ids of the registrations by their part of a variable.
        foreign: Beginnings of variables that belong to somebody else, unless ``paths`` has them.
    """

    prefix: str
    paths: Mapping[str, set[Path]]
    known: tuple[str, ...]
    listed: tuple[str, ...]
    registrations: Mapping[str, str] = field(default_factory=dict)
    foreign: tuple[str, ...] = ()

    def passes_over(self, name: str) -> bool:
        if name in self.paths:
            return False
        return name.startswith(self.foreign) or _SERVICE_VARIABLE.search(name) is not None

    def path_of(self, name: str) -> Path:
        paths = self.paths.get(name)
        if paths is None:
            raise ConfigurationError(
                f"the environment variable {show_key(name)} names no known property;"
                f" {self._proposal(name)}",
                key=name,
            )
        if len(paths) > 1:
            meant = " and ".join(".".join(each) for each in sorted(paths))
            raise ConfigurationError(
                f"the environment variable {name} names both {meant}; set them in a file, with"
                " placeholders such as ${NAME} for what should come from the environment",
                key=name,
            )
        (path,) = paths
        return path

    def _proposal(self, name: str) -> str:
        stem, known, listed = self.prefix, self.known, self.listed
        if name.startswith(_REGISTRATION):
            rest = name.removeprefix(_REGISTRATION)
            ids = [each for each in self.registrations if rest.startswith(f"{each}_")]
            if not ids:
                return self._proposed_registration(rest)
            stem = f"{_REGISTRATION}{max(ids, key=len)}_"
            known = listed = tuple(each for each in known if each.startswith(stem))
        # Without what they share, which would make every name look like every other.
        close = difflib.get_close_matches(
            name.removeprefix(stem)[:_LONGEST_NAME], [each.removeprefix(stem) for each in known], 1
        )
        return f"did you mean {stem}{close[0]}?" if close else f"known are {', '.join(listed)}"

    def _proposed_registration(self, rest: str) -> str:
        leaf = max((each for each in _LEAVES if rest.endswith(f"_{each}")), key=len, default="")
        given = rest.removesuffix(f"_{leaf}")[:_LONGEST_NAME]
        close = difflib.get_close_matches(given, self.registrations, 1, cutoff=0.75)
        if leaf and close:
            return f"did you mean {_REGISTRATION}{close[0]}_{leaf}?"
        return (
            f"the registrations are {', '.join(self.registrations.values()) or 'none'}; add one in"
            f" a file, or, if its id is one word, by {_REGISTRATION}<ID>_CLIENT_ID"
        )


_SESSION_KEYS = tuple(tuple(each.key.split(".")) for each in describe_properties())
_OAUTH2 = tuple(oauth2.PREFIX.split("."))
_OAUTH2_KEYS = tuple(tuple(key.split(".")) for key in oauth2.PLAIN_KEYS)
_REGISTRATIONS = (*_OAUTH2, "client", "registrations")
_REGISTRATION = f"{variable_of(*_REGISTRATIONS)}_"
_LEAVES = {variable_of(name): name for name in oauth2.REGISTRATION_KEYS}
_ONE_WORD = re.compile(f"{_REGISTRATION}([A-Z0-9]+)_CLIENT_ID")


def _session_names(tree: dict[str, Any]) -> _Names:
    known = {variable_of(*path): {path} for path in _SESSION_KEYS}
    found = {variable_of(*path): {path} for path in _paths(tree, tuple(PREFIX.split(".")))}
    return _Names("PYFLY_SESSION_", found | known, tuple(known), tuple(known))


def _oauth2_names(tree: dict[str, Any], environ: Mapping[str, str]) -> _Names:
    ids = list(_section(tree, _REGISTRATIONS))
    named = {variable_of(each) for each in ids}
    new = (match[1] for name in sorted(environ) if (match := _ONE_WORD.fullmatch(name)))
    ids += [each.lower() for each in new if each not in named]
    known: dict[str, set[Path]] = {variable_of(*path): {path} for path in _OAUTH2_KEYS}
    for each in ids:
        for leaf in _LEAVES.values():
            path = (*_REGISTRATIONS, each, leaf)
            known.setdefault(variable_of(*path), set()).add(path)
    found = {variable_of(*path): {path} for path in _paths(tree, _OAUTH2)}
    return _Names(
        f"{variable_of(oauth2.PREFIX)}_",
        found | known,
        tuple(known),
        (*map(variable_of, oauth2.PLAIN_KEYS), f"{_REGISTRATION}<ID>_…"),
        registrations={variable_of(each): each for each in ids},
        foreign=tuple(f"{variable_of(oauth2.PREFIX, each)}_" for each in oauth2.FOREIGN_SECTIONS),
    )


def _section(tree: object, path: Path) -> Iterator[str]:
    """Yield the names at one place of the tree, as far as they are texts."""
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    yield from (name for name in tree if isinstance(name, str)) if isinstance(tree, dict) else ()


def _put(tree: dict[str, Any], path: Path, value: str) -> bool:
    """Set one value; refuse where a section is no section, which binding reports better."""
    *sections, name = path
    for section in sections:
        if tree.get(section) is None:
            tree[section] = {}
        tree = tree[section]
        if not isinstance(tree, dict):
            return False
    tree[name] = value
    return True


def _paths(value: object, wanted: Path, path: Path = ()) -> Iterator[Path]:
    """Yield the ways to the plain values below ``wanted``."""
    if isinstance(value, dict):
        for name, child in value.items():
            if isinstance(name, str):
                yield from _paths(child, wanted, (*path, name))
    elif path[: len(wanted)] == wanted and len(path) > len(wanted):
        yield path
