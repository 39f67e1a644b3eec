"""What ``doctor`` finds, and every mistake of a configuration at once."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pyfly_session.cli.common import split_remedy
from pyfly_session.config import Config, bind_properties
from pyfly_session.config.environment import overlay_environment
from pyfly_session.config.loader import read_sources
from pyfly_session.config.masking import show_key
from pyfly_session.config.oauth2_properties import bind_oauth2_properties
from pyfly_session.config.placeholders import resolve_tree
from pyfly_session.errors import ConfigurationError

T = TypeVar("T")
Level = Literal["ok", "hint", "warning", "error"]

# What belongs below ``pyfly``, and what tells it from a section that is the application's own.
_BELOW_PYFLY = {"session": None, "security": "oauth2", "profiles": "active"}


_SERVER = "docs/how-to/use-redis.md"
_TOPOLOGY = "docs/how-to/run-on-cluster-and-sentinel.md"
PAGES = {
    "configuration": "docs/reference/properties.md",
    "sessions": "docs/reference/properties.md",
    "store": "docs/how-to/choose-a-store.md",
    "cookie": "docs/explanation/security.md",
    "lifetime": "docs/how-to/session-lifetime.md",
    "encryption": "docs/how-to/encrypt-sessions.md",
    "transport": "docs/how-to/deploy.md",
    "login": "docs/how-to/oauth2-login.md",
    "start": "docs/how-to/override-a-bean.md",
    "table": "docs/how-to/use-sql.md",
    **dict.fromkeys(("connection", "version", "clock", "memory", "persistence"), _SERVER),
    **dict.fromkeys(("scripting", "replication", "cluster"), _TOPOLOGY),
}
"""The page of the docs about each thing that is looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: ``ok``; ``hint`` for what could be better; ``warning`` for what will hurt some
            day; ``error`` for what does not work or is not safe.
        check: What was looked at.
        message: What was found.
        remedy: What to do about it, or None.
        key: The property it is about, or None.
        origin: Where that property was set, or None.
        server: The server it is about, or None.
    """

    level: Level
    check: str
    message: str
    remedy: str | None = None
    key: str | None = None
    origin: str | None = None
    server: str | None = None

    @property
    def page(self) -> str:
        """The page of the docs about it."""
        return PAGES[self.check]


def of_error(check: str, error: ConfigurationError, remedy: str | None = None) -> Finding:
    """Return the finding of a configuration that is refused; its message may say what to do."""
    place = f" ({error.origin})" if error.origin else ""
    problem, told = split_remedy(str(error).removesuffix(place))
    return Finding("error", check, problem + place, remedy or told, error.key, error.origin)


def files_read(directory: str, config: Config) -> list[str]:
    """Return the files that a configuration was read from, the strongest last."""
    base = Path(directory) / "pyfly.yaml"
    others = (base.with_name(f"pyfly-{each}.yaml") for each in config.profiles)
    # Those of the profiles were there, or there would be no configuration.
    return [each.as_posix() for each in ([base] if base.exists() else []) + [*others]]


def misplaced(config: Config) -> Iterator[tuple[str, str]]:
    """Yield each key at the top of a file that would be read below ``pyfly``, and the file."""
    for name, inner in _BELOW_PYFLY.items():
        value = config.get(name)
        if isinstance(value, dict) and (inner is None or inner in value):
            yield name, config.origins.get(name, "the configuration")
    for key, origin in config.origins.items():
        if key.startswith("session.") and key in config:
            yield key, origin


def load_all(
    directory: str, profiles: str | None, environ: Mapping[str, str]
) -> tuple[Config | None, list[ConfigurationError]]:
    """Load a configuration as `pyfly_session.config.load_config` does, past every mistake.

    Returns:
        The configuration if there is no mistake in it, and the mistakes.
    """
    errors: list[ConfigurationError] = []
    try:
        tree, origins, active = read_sources(directory, profiles, environ)
    except ConfigurationError as error:
        return None, [error]
    variables = dict(environ)

    def overlaid() -> Any:
        merged, places = copy.deepcopy(tree), dict(origins)
        overlay_environment(merged, variables, places)
        return merged, places

    def forget_variable(key: str) -> bool:
        return variables.pop(key, None) is not None

    found = _past_errors(overlaid, forget_variable, errors)
    if found is None:
        return None, errors
    merged, places = found

    def forget_value(key: str) -> bool:
        return _prune(merged, key) or _prune(merged, key.rpartition(".")[0])

    resolved = _past_errors(lambda: resolve_tree(merged, environ, places), forget_value, errors)
    if resolved is None:
        return None, errors
    merged = config = Config(resolved, origins=places, profiles=active)
    _past_errors(lambda: bind_properties(config), forget_value, errors)
    _past_errors(lambda: bind_oauth2_properties(config), forget_value, errors)
    return (None if errors else config), errors


def _past_errors(
    step: Callable[[], T], forget: Callable[[str], bool], errors: list[ConfigurationError]
) -> T | None:
    """Repeat a step without what it refused, until it succeeds or nothing can be left out."""
    while True:
        try:
            return step()
        except ConfigurationError as error:
            errors.append(error)
            if not (error.key and forget(error.key)):
                return None


def _prune(tree: object, key: str, path: str = "") -> bool:
    """Remove what stands at a key, as messages spell it; False if there is nothing."""
    key = re.sub(r"(\[\d+\])+$", "", key)
    if isinstance(tree, dict):
        for name in list(tree):
            here = f"{path}.{show_key(name)}" if path else show_key(name)
            if here == key:
                del tree[name]
                return True
            if key.startswith(f"{here}.") and _prune(tree[name], key, here):
                return True
    return False
