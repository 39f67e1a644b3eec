"""Configuration files, profiles and environment variables, merged into one dictionary."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyfly_session.config.environment import overlay_environment
from pyfly_session.config.masking import show
from pyfly_session.config.mistakes import Mistakes
from pyfly_session.config.oauth2_properties import bind_oauth2_properties
from pyfly_session.config.placeholders import resolve_tree
from pyfly_session.config.session_properties import bind_properties
from pyfly_session.config.yaml import read_yaml
from pyfly_session.errors import ConfigurationError

__all__ = ["Config", "load_config"]

_DIRECTORY = "config"
_PROFILE = re.compile(r"[A-Za-z0-9_-]+")
_ACTIVE = "pyfly.profiles.active"
_ACTIVE_VARIABLE = "PYFLY_PROFILES_ACTIVE"


class Config(dict[str, Any]):
    """A configuration tree that remembers where its values came from.

    An ordinary dict otherwise; copies and pickles keep both attributes, ``dict(config)``
    drops them, and everything that takes a Config takes a plain dict as well.

    Attributes:
        origins: File or environment variable of each dotted key.
        profiles: Active profiles, the strongest last.
    """

    origins: dict[str, str]
    profiles: tuple[str, ...]

    def __init__(
        self,
        tree: Mapping[str, Any] | None = None,
        *,
        origins: Mapping[str, str] | None = None,
        profiles: Sequence[str] = (),
    ) -> None:
        super().__init__(tree or {})
        self.origins = dict(origins or {})
        self.profiles = tuple(profiles)

    def __repr__(self) -> str:
        # Where each value came from; the values themselves may be anybody's secrets.
        return f"Config({dict(self.origins)!r}, profiles={self.profiles!r})"


def load_config(
    directory: str | os.PathLike[str] = _DIRECTORY,
    profiles: str | Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Load ``pyfly.yaml``, the files of the active profiles and the environment.

    Later sources win: the base file, ``pyfly-{profile}.yaml`` in the order of the
    profiles, variables ``PYFLY_SESSION_…`` and ``PYFLY_SECURITY_OAUTH2_…``. Mappings are
    merged key by key, anything else, lists included, is replaced; a section left empty changes
    nothing. Then ``${NAME:default}`` in texts is replaced from the environment.

    Args:
        directory: Where the files are. The default may be missing, another may not; the
            base file may be missing in both.
        profiles: Names, comma-separated or one by one; none at all if empty. When None,
            the variable ``PYFLY_PROFILES_ACTIVE`` counts, or else the base file's
            ``pyfly.profiles.active``.
        environ: The environment; ``os.environ`` when None.

    Returns:
        The tree from its root. Values are not converted: `bind_properties` does that.

    Raises:
        ConfigurationError: A file is missing or unusable, a placeholder has no value,
            or anything below ``pyfly.session`` or about the login is unknown or not allowed.
    """
    config, mistakes = load_with_mistakes(directory, profiles, environ)
    mistakes.raise_all()
    return config


def load_with_mistakes(
    directory: str | os.PathLike[str],
    profiles: str | Sequence[str] | None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Config, Mistakes]:
    """Load a configuration past every mistake in it; return it and the mistakes.

    Raises:
        ConfigurationError: A file is missing or unusable.
    """
    environ = os.environ if environ is None else environ
    tree, origins, active = read_sources(directory, profiles, environ)
    mistakes = Mistakes(origins)
    overlay_environment(tree, environ, origins, mistakes)
    resolved = resolve_tree(tree, environ, origins, errors=mistakes)
    config = Config(resolved, origins=origins, profiles=active)
    _look_through(config, mistakes)
    return config, mistakes


def check_tree(config: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    """Refuse a tree that has anything wrong in it, and tell all of it at once."""
    mistakes = Mistakes(origins)
    _look_through(config, mistakes)
    mistakes.raise_all()


def _look_through(config: Mapping[str, Any], mistakes: Mistakes) -> None:
    bind_properties(config, mistakes.origins, mistakes)
    bind_oauth2_properties(config, mistakes.origins, mistakes)


def read_sources(
    directory: str | os.PathLike[str],
    profiles: str | Sequence[str] | None,
    environ: Mapping[str, str],
) -> tuple[dict[str, Any], dict[str, str], tuple[str, ...]]:
    """Return what the files hold, merged and otherwise as it is, its origins and the profiles.

    Raises:
        ConfigurationError: A file is missing or unusable.
    """
    folder = Path(directory)
    if not folder.is_dir() and folder != Path(_DIRECTORY):
        raise ConfigurationError(
            f"the configuration directory {folder.as_posix()} does not exist"
            f" (seen from {Path.cwd()})"
        )
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    base = folder / "pyfly.yaml"
    if _exists(base):
        overlay(tree, read_yaml(base), base.as_posix(), origins)
    active = _active_profiles(profiles, environ, tree, origins)
    for profile in active:
        _overlay_profile(tree, folder, profile, origins)
    return tree, origins, active


def _exists(path: Path) -> bool:
    misnamed = path.with_suffix(".yml")
    if not path.exists() and misnamed.exists():
        raise ConfigurationError(
            f"{misnamed.as_posix()} would be ignored; rename it to {path.name}"
        )
    return path.exists()


def overlay(
    target: dict[str, Any],
    source: Mapping[str, Any],
    origin: str,
    origins: dict[str, str],
    section: str = "",
) -> None:
    """Merge a tree onto another, key by key, and note where each value came from."""
    for key, value in source.items():
        dotted = f"{section}.{key}" if section else str(key)
        present = target.get(key)
        if isinstance(present, dict) and value is None:
            continue
        if isinstance(present, dict) and not isinstance(value, dict):
            for stale in [known for known in origins if known.startswith(f"{dotted}.")]:
                del origins[stale]
        origins[dotted] = origin
        if isinstance(value, dict):
            target[key] = present if isinstance(present, dict) else {}
            overlay(target[key], value, origin, origins, dotted)
        else:
            target[key] = value


def _overlay_profile(
    tree: dict[str, Any], folder: Path, profile: str, origins: dict[str, str]
) -> None:
    path = folder / f"pyfly-{profile}.yaml"
    if not _exists(path):
        others = sorted(file.stem.removeprefix("pyfly-") for file in folder.glob("pyfly-*.yaml"))
        raise ConfigurationError(
            f"the profile {profile} has no file {path.as_posix()};"
            f" profiles in {folder.resolve()}: {', '.join(others) or 'none'}",
            key=_ACTIVE,
            value=profile,
        )
    source = read_yaml(path)
    if _at(source, _ACTIVE) is not None:
        raise ConfigurationError(
            f"{_ACTIVE} works in the base file only; a profile cannot activate others",
            key=_ACTIVE,
            origin=path.as_posix(),
        )
    overlay(tree, source, path.as_posix(), origins)


def _active_profiles(
    argument: str | Sequence[str] | None,
    environ: Mapping[str, str],
    tree: dict[str, Any],
    origins: Mapping[str, str],
) -> tuple[str, ...]:
    chosen: Any
    if argument is not None:
        chosen, origin = argument, None
    elif environ.get(_ACTIVE_VARIABLE, "").strip():
        chosen, origin = environ[_ACTIVE_VARIABLE], f"environment variable {_ACTIVE_VARIABLE}"
    else:
        chosen = resolve_tree(_at(tree, _ACTIVE), environ, origins, _ACTIVE)
        origin = origins.get(_ACTIVE)
    if isinstance(chosen, bool | int | float):
        raise ConfigurationError(
            f"{_ACTIVE} must be names of profiles, got {show(chosen)}: YAML takes such a word for a"
            " value of another kind; quote it",
            key=_ACTIVE,
            value=chosen,
            origin=origin,
        )
    names = chosen.split(",") if isinstance(chosen, str) else chosen or ()
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(
            f"{_ACTIVE} must be names of profiles, got {show(chosen)}", key=_ACTIVE, origin=origin
        )
    # Each once, in the order of their first mention.
    profiles = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    for profile in profiles:
        if not _PROFILE.fullmatch(profile):
            raise ConfigurationError(
                f"the name of a profile consists of letters, digits, - and _, got {show(profile)}",
                key=_ACTIVE,
                value=profile,
                origin=origin,
            )
    return profiles


def _at(tree: object, key: str) -> Any:
    """Return what a tree holds at a dotted key, None where there is nothing."""
    for segment in key.split("."):
        tree = tree.get(segment) if isinstance(tree, Mapping) else None
    return tree
