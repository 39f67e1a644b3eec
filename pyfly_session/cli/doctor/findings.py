"""What ``doctor`` finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pyfly_session.cli.common import split_remedy
from pyfly_session.config import Config
from pyfly_session.errors import ConfigurationError

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
