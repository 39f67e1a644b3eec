"""``${NAME}`` and ``${NAME:default}`` in the texts of a parsed configuration tree."""

import re
from collections.abc import Mapping
from typing import Any

from pyfly_session.config.mistakes import origin_of
from pyfly_session.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPENING = re.compile(r"\$?\$\{")
_TOKEN = re.compile(r"\$?\$\{|\}")
_DEEPEST = 8


class Verbatim(str):
    """A text that is taken as it is, because it did not come from a file."""

    __slots__ = ()


def resolve_tree(
    value: Any,
    environ: Mapping[str, str],
    origins: Mapping[str, str],
    key: str = "",
    errors: list[ConfigurationError] | None = None,
) -> Any:
    """Return a copy of a tree with the placeholders of its texts replaced.

    What replaces one is never read again, neither as YAML nor as a placeholder, so a
    variable changes the text that names it and nothing else. ``$${`` stands for ``${``.

    Args:
        value: A tree of dicts, lists and scalars without cycles.
        environ: The variables.
        origins: The file of each dotted key, for messages.
        key: Dotted key of ``value``.
        errors: Gets what is wrong, instead of having it raised; the key is left out then.

    Raises:
        ConfigurationError: A variable is unset and has no default, or a placeholder is
            malformed.
    """
    if isinstance(value, dict):
        prefix = f"{key}." if key else ""
        resolved = {}
        for name, child in value.items():
            try:
                resolved[name] = resolve_tree(child, environ, origins, f"{prefix}{name}", errors)
            except ConfigurationError as error:
                if errors is None:
                    raise
                errors.append(error)
        return resolved
    if isinstance(value, list):
        return [
            resolve_tree(child, environ, origins, f"{key}[{index}]", errors)
            for index, child in enumerate(value)
        ]
    if isinstance(value, Verbatim):
        return str(value)
    if isinstance(value, str):
        return _Text(key, origin_of(origins, key.partition("[")[0]), environ).resolve(value)
    return value


class _Text:
    """Resolves one text; knows where it stands for the sake of errors."""

    def __init__(self, key: str, origin: str | None, environ: Mapping[str, str]) -> None:
        self._key = key
        self._origin = origin
        self._environ = environ

    def resolve(self, text: str, depth: int = 0) -> str:
        parts, position = [], 0
        while opening := _OPENING.search(text, position):
            parts.append(text[position : opening.start()])
            position = opening.end()
            if opening[0] == "$${":
                parts.append("${")
                continue
            closing = self._closing(text, position)
            parts.append(self._value(text[position:closing], depth))
            position = closing + 1
        return "".join(parts) + text[position:]

    def _closing(self, text: str, position: int) -> int:
        depth = 1
        for token in _TOKEN.finditer(text, position):
            depth += {"${": 1, "}": -1}.get(token[0], 0)
            if depth == 0:
                return token.start()
        raise self._error("holds a '${' without its '}'; close it, or write $${ for the text ${")

    def _value(self, body: str, depth: int) -> str:
        name, colon, default = body.partition(":")
        name = name.strip()
        if not _NAME.fullmatch(name):
            raise self._error(
                "holds a placeholder without a variable's name; it looks like ${NAME} or"
                " ${NAME:default}, and $${ stands for the text ${"
            )
        if name in self._environ:
            return self._environ[name]
        if not colon:
            raise self._error(
                f"needs the environment variable {name}, which is not set; set it, or give"
                f" a default as in ${{{name}:default}}"
            )
        if default.startswith("-") and default != "-1" and self._key.startswith("pyfly."):
            # No property of ours takes another negative number.
            raise self._error(
                f"has a placeholder as shells write it; write ${{{name}:{default[1:]}}}"
            )
        if depth == _DEEPEST:
            raise self._error(f"nests placeholders more than {_DEEPEST} deep")
        return self.resolve(default, depth + 1)

    def _error(self, problem: str) -> ConfigurationError:
        return ConfigurationError(f"{self._key} {problem}", key=self._key, origin=self._origin)
