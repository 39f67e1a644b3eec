"""One YAML file to plain dicts and lists, stricter than ``yaml.safe_load``.

The same scalars as there; in addition repeated keys are refused, dotted keys of this
package are expanded, and a small file cannot become a large or endless tree.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from pyfly_session.config.masking import show, show_key
from pyfly_session.errors import ConfigurationError

_INT = "tag:yaml.org,2002:int"
# To YAML 1.1 the first is octal, the second sexagesimal; nobody means that by a property of ours.
_ODD_INT = re.compile(r"[+-]?(?:0[0-9_]+|[0-9_]+(?::[0-9]+)+)")
_MERGE = "tag:yaml.org,2002:merge"
_PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_EXPANDED = ("pyfly.session", "pyfly.profiles")
# Aliases multiply: a kilobyte can stand for a billion values, or contain itself.
_MOST_VALUES = 100_000
_DEEPEST = 64


def read_yaml(path: Path) -> dict[Any, Any]:
    """Read a file that holds one mapping; an empty file is an empty mapping.

    A dotted key such as ``pyfly.session.ttl`` means the same as nested keys, as long as
    it leads to ``pyfly.session`` or ``pyfly.profiles``; all others stay as they are.

    Raises:
        ConfigurationError: The file cannot be read, is not YAML, holds something else
            than a mapping, or gives a key twice. Names file and line, and quotes
            nothing from the file, which may hold passwords.
    """
    name = path.as_posix()
    try:
        loader = yaml.SafeLoader(path.read_bytes())
        try:
            node = loader.get_single_node()
            return _Tree(loader, name).root(node)
        finally:
            loader.dispose()
    except OSError as error:
        raise ConfigurationError(
            f"the file cannot be read: {error.strerror}", origin=name
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigurationError(
            f"the file is not valid YAML: {error.problem or error.context}",
            origin=f"{name}, line {mark.line + 1}" if mark else name,
        ) from None
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", "unreadable characters")
        raise ConfigurationError(f"the file is not valid YAML: {reason}", origin=name) from None
    except RecursionError:
        raise ConfigurationError("the file is nested too deeply", origin=name) from None


class _Tree:
    """Builds the values of one file and keeps count of them."""

    def __init__(self, loader: yaml.SafeLoader, name: str) -> None:
        self._loader = loader
        self._name = name
        self._values = 0

    def root(self, node: yaml.Node | None) -> dict[Any, Any]:
        tree = None if node is None else self._value(node, ())
        if tree is None:
            return {}
        if not isinstance(tree, dict):
            raise self._error(f"the file must hold a mapping, got {show(tree)}", node)
        return tree

    def _value(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise self._error(f"the file stands for more than {_MOST_VALUES} values", node)
        if len(path) > _DEEPEST:
            raise self._error("the file is nested too deeply or contains itself", node)
        if isinstance(node, yaml.ScalarNode):
            if path[:1] == ("pyfly",) and node.tag == _INT and _ODD_INT.fullmatch(node.value):
                return node.value
            return self._scalar(node)
        if node.tag not in _PLAIN:
            raise self._error(f"the tag {show_key(node.tag)} is not supported", node)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(child, (*path, str(n))) for n, child in enumerate(node.value)]
        return self._mapping(node, path)

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            value = self._loader.construct_object(node)
        except yaml.YAMLError:
            raise
        except (ValueError, LookupError, AttributeError, TypeError):
            # What PyYAML lets through for a month 13 or an explicit tag that does not fit.
            problem = f"the value is not a {node.tag.rpartition(':')[2]}; quote it if it is text"
            raise self._error(problem, node) from None
        if isinstance(value, list | dict | set):
            raise self._error(f"the tag {show_key(node.tag)} is not supported", node)
        return value

    def _mapping(self, node: yaml.Node, path: tuple[str, ...]) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        literal: set[Hashable] = set()
        merged: list[dict[Any, Any]] = []
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged += self._merged(value_node, path)
                continue
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else []
            if isinstance(key, list):
                raise self._error("a key must be a text or a number", key_node)
            segments = _segments(key, path)
            full = ".".join((*path, show_key(key)))
            if key in literal:
                raise self._duplicate(full, key_node)
            literal.add(key)
            value = self._value(value_node, (*path, *map(str, segments)))
            for segment in reversed(segments[1:]):
                value = {segment: value}
            self._put(result, segments[0], value, full, key_node)
        for source in merged:
            for key, value in source.items():
                result.setdefault(key, value)
        return result

    def _merged(self, node: yaml.Node, path: tuple[str, ...]) -> list[dict[Any, Any]]:
        sources = self._value(node, path)
        sources = sources if isinstance(sources, list) else [sources]
        if not all(isinstance(source, dict) for source in sources):
            raise self._error("<< must be followed by a mapping or a list of mappings", node)
        return sources

    def _put(
        self, target: dict[Any, Any], key: object, value: Any, full: str, node: yaml.Node
    ) -> None:
        present = target.get(key)
        if present is None:
            target[key] = value
        elif isinstance(present, dict) and isinstance(value, dict):
            for name, child in value.items():
                self._put(present, name, child, full, node)
        elif value is not None:
            raise self._duplicate(full, node)

    def _duplicate(self, key: str, node: yaml.Node) -> ConfigurationError:
        return self._error(f"{key} is given twice; remove one of the two", node, key)

    def _error(
        self, problem: str, node: yaml.Node | None, key: str | None = None
    ) -> ConfigurationError:
        where = f", line {node.start_mark.line + 1}" if node else ""
        return ConfigurationError(problem, key=key, origin=self._name + where)


def _segments(key: Hashable, path: tuple[str, ...]) -> tuple[Any, ...]:
    """Split a dotted key that leads into this package's own part of the tree."""
    if isinstance(key, str) and "." in key:
        full = ".".join((*path, key)) + "."
        if any(full.startswith(f"{root}.") for root in _EXPANDED):
            return tuple(key.split("."))
    return (key,)
